package s3api

import (
	"net/http/httptest"
	"testing"
	"time"
)

// plain is the same door without TLS.
func (d *door) plain() *door {
	d.t.Helper()
	p := *d
	p.server = httptest.NewServer(d.server.Config.Handler)
	d.t.Cleanup(p.server.Close)
	return &p
}

const (
	needsTLS    = "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection."
	compromised = "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection. The key that was sent must be taken for compromised."
)

// TestObjectsUnderExternalKeysNeedTLS: without it they are neither sent nor
// taken, and what takes none of their bytes along works.
func TestObjectsUnderExternalKeysNeedTLS(t *testing.T) {
	d := openKeyDoor(t)
	p := d.plain()
	d.bucket("bucket")
	d.bucket("default")
	rule := `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>one</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	d.do("PUT", "/default?encryption", rule).ok(t, "bucket default", 200)
	p.do("PUT", "/bucket/open", "text").ok(t, "put", 200)
	for _, mode := range []string{"aws:kms", "aws:kms:dsse"} {
		d.do("PUT", "/bucket/"+mode, "text", under(mode, "one")...).ok(t, "put", 200)
		created := d.do("POST", "/bucket/parts?uploads", "", under(mode, "one")...)
		created.ok(t, "create upload", 200)
		parts := "/bucket/parts?partNumber=1&uploadId=" + element(created.body, "UploadId")
		for what, a := range map[string]reply{
			"get":         p.do("GET", "/bucket/"+mode, ""),
			"get a range": p.do("GET", "/bucket/"+mode, "", "Range", "bytes=1-2"),
			"put":         p.do("PUT", "/bucket/new", "text", under(mode, "one")...),
			"put, no key": p.do("PUT", "/bucket/new", "text", under(mode, "")...),
			"copy to it":  p.do("PUT", "/bucket/new", "", under(mode, "one", "x-amz-copy-source", "/bucket/open")...),
			"upload":      p.do("POST", "/bucket/new?uploads", "", under(mode, "one")...),
			"part":        p.do("PUT", parts, "text"),
			"copied part": p.do("PUT", parts, "", "x-amz-copy-source", "/bucket/open"),
			"append":      p.do("PUT", "/bucket/"+mode, "more", "x-amz-write-offset-bytes", "4"),
		} {
			a.want(t, mode+" "+what, 400, "InvalidArgument", needsTLS, "ArgumentName", "x-amz-server-side-encryption")
		}
		a := p.do("HEAD", "/bucket/"+mode, "")
		sealed(t, "head", a, mode, "one", "")
		p.do("HEAD", "/bucket/"+mode, "", "Range", "bytes=1-2").ok(t, "head of a range", 206)
		p.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "/bucket/"+mode, "x-amz-server-side-encryption", "AES256").ok(t, "copy from it", 200)
		if got := p.do("GET", "/bucket/copy", ""); got.body != "text" {
			t.Errorf("%s: the copy holds %q", mode, got.body)
		}
		d.do("GET", "/bucket/"+mode, "").ok(t, "get with TLS", 200)
		p.do("DELETE", "/bucket/"+mode, "").ok(t, "delete", 204)
	}
	// The bucket's default counts where the request says nothing.
	for what, a := range map[string]reply{
		"put":    p.do("PUT", "/default/new", "text"),
		"copy":   p.do("PUT", "/default/new", "", "x-amz-copy-source", "/bucket/open"),
		"upload": p.do("POST", "/default/new?uploads", ""),
	} {
		a.want(t, "default "+what, 400, "InvalidArgument", needsTLS, "ArgumentName", "x-amz-server-side-encryption")
	}
	p.do("PUT", "/default/new", "text", "x-amz-server-side-encryption", "AES256").ok(t, "put past the default", 200)
	p.do("GET", "/default/new", "").ok(t, "get past the default", 200)
	p.do("HEAD", "/bucket/new", "").ok(t, "nothing was made", 404)
}

// TestObjectsUnderExternalKeysNeedVersion4: nobody else is given them, or may
// leave any.
func TestObjectsUnderExternalKeysNeedVersion4(t *testing.T) {
	const need = "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4."
	d := openKeyDoor(t)
	d.bucket("bucket")
	d.open("bucket")
	d.do("PUT", "/bucket?policy", statements(`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}`)).ok(t, "public", 204)
	d.put("bucket", "plain", "text")
	soon := time.Now().Add(time.Hour)
	for _, mode := range []string{"aws:kms", "aws:kms:dsse"} {
		d.do("PUT", "/bucket/k", "text", under(mode, "one")...).ok(t, "put", 200)
		created := d.do("POST", "/bucket/parts?uploads", "", under(mode, "one")...)
		created.ok(t, "create upload", 200)
		part := "partNumber=1&uploadId=" + element(created.body, "UploadId")
		get := d.presign2("", "/bucket/k", "", "GET\n\n\n", "/bucket/k", soon)
		head := d.presign2("", "/bucket/k", "", "HEAD\n\n\n", "/bucket/k", soon)
		sse := "x-amz-server-side-encryption"
		put := d.presign2("", "/bucket/new", "", "PUT\n\n\n", sse+":"+mode+"\n/bucket/new", soon)
		upload := d.presign2("", "/bucket/parts", part, "PUT\n\n\n", "/bucket/parts?"+part, soon)
		from := d.presign2("", "/bucket/new", "", "PUT\n\n\n", "x-amz-copy-source:/bucket/k\n/bucket/new", soon)
		for what, a := range map[string]reply{
			"get":            d.use("GET", get, ""),
			"put":            d.use("PUT", put, "text", sse, mode),
			"part":           d.use("PUT", upload, "text"),
			"copy from it":   d.use("PUT", from, "", "x-amz-copy-source", "/bucket/k"),
			"get of nobody":  d.anonymous("GET", "/bucket/k", ""),
			"put of nobody":  d.anonymous("PUT", "/bucket/new", "text", sse, mode),
			"part of nobody": d.anonymous("PUT", "/bucket/parts?"+part, "text"),
		} {
			a.want(t, mode+" "+what, 400, "InvalidArgument", need, "ArgumentName", "Authorization", "ArgumentValue", "null")
		}
		d.use("HEAD", head, "").ok(t, "head", 400)
		d.use("HEAD", head, "", "Range", "bytes=1-2").ok(t, "head of a range", 400)
		d.anonymous("HEAD", "/bucket/k", "").ok(t, "head of nobody", 400)
		d.do("GET", "/bucket/k", "").ok(t, "get by version 4", 200)
		d.anonymous("DELETE", "/bucket/k", "").ok(t, "delete", 204)
	}
	rule := `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	d.do("PUT", "/bucket?encryption", rule).ok(t, "bucket default", 200)
	d.anonymous("PUT", "/bucket/new", "text").want(t, "default", 400, "InvalidArgument", need, "ArgumentName", "Authorization", "ArgumentValue", "null")
	d.use("GET", d.presign2("", "/bucket/plain", "", "GET\n\n\n", "/bucket/plain", soon), "").ok(t, "another mode", 200)
	d.do("HEAD", "/bucket/new", "").ok(t, "nothing was made", 404)
}

// TestCustomersKeysNeedTLS: one that comes without is declared compromised,
// whatever it came for, and changes nothing.
func TestCustomersKeysNeedTLS(t *testing.T) {
	d := openDoor(t)
	p := d.plain()
	d.bucket("bucket")
	d.do("PUT", "/bucket/k", "text", customer("a")...).ok(t, "put", 200)
	d.do("PUT", "/bucket/open", "text").ok(t, "put", 200)
	a := d.do("POST", "/bucket/parts?uploads", "", customer("a")...)
	a.ok(t, "upload", 200)
	parts := "/bucket/parts?uploadId=" + element(a.body, "UploadId")
	for what, a := range map[string]reply{
		"put":           p.do("PUT", "/bucket/new", "text", customer("a")...),
		"get":           p.do("GET", "/bucket/k", "", customer("a")...),
		"wrong key":     p.do("GET", "/bucket/k", "", customer("b")...),
		"plain object":  p.do("GET", "/bucket/open", "", customer("a")...),
		"no object":     p.do("GET", "/bucket/none", "", customer("a")...),
		"half a key":    p.do("GET", "/bucket/k", "", customer("a")[:4]...),
		"attributes":    p.do("GET", "/bucket/k?attributes", "", append(customer("a"), "x-amz-object-attributes", "ETag")...),
		"copy to it":    p.do("PUT", "/bucket/new", "", append(customer("a"), "x-amz-copy-source", "/bucket/open")...),
		"copy from it":  p.do("PUT", "/bucket/new", "", append(sourceOf("a"), "x-amz-copy-source", "/bucket/k")...),
		"upload":        p.do("POST", "/bucket/new?uploads", "", customer("a")...),
		"part":          p.do("PUT", parts+"&partNumber=1", "text", customer("a")...),
		"list of parts": p.do("GET", parts, "", customer("a")...),
	} {
		a.want(t, what, 400, "InvalidRequest", compromised)
	}
	p.do("HEAD", "/bucket/k", "", customer("a")...).ok(t, "head", 400)
	p.do("GET", "/bucket/k", "").want(t, "without the key", 400, "InvalidRequest",
		"The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	p.do("HEAD", "/bucket/new", "").ok(t, "nothing was made", 404)
	d.do("GET", "/bucket/k", "", customer("a")...).ok(t, "get with TLS", 200)
}
