package s3api

import (
	"encoding/base64"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// What AWS answers to encryption that is asked for badly: by status, code, text
// and elements, for every operation that takes the headers.

// rows are one operation with the objects and uploads that it needs.
type rows struct {
	*keyDoor
	upload, customers string // uploads under way, of SSE-S3 and under the key a
}

// operation sends one with headers. The answer of HEAD has no document.
type operation struct {
	name string
	do   func(r *rows, headers []string) reply
	head bool
}

func plainOp(name, method, target string, more ...string) operation {
	return operation{name, func(r *rows, h []string) reply {
		target := strings.NewReplacer("UPLOAD", r.upload, "CUSTOMERS", r.customers).Replace(target)
		body := ""
		if method == "PUT" && len(more) == 0 {
			body = "body"
		}
		return r.do(method, target, body, join(h, more)...)
	}, method == "HEAD"}
}

var (
	put       = plainOp("PutObject", "PUT", "/bucket/new")
	copyTo    = plainOp("CopyObject", "PUT", "/bucket/new", "x-amz-copy-source", "/bucket/plain")
	create    = plainOp("CreateMultipartUpload", "POST", "/bucket/new?uploads")
	part      = plainOp("UploadPart", "PUT", "/bucket/customers?partNumber=1&uploadId=CUSTOMERS")
	partCopy  = plainOp("UploadPartCopy", "PUT", "/bucket/customers?partNumber=1&uploadId=CUSTOMERS", "x-amz-copy-source", "/bucket/plain")
	list      = plainOp("ListParts", "GET", "/bucket/customers?uploadId=CUSTOMERS")
	complete  = plainOp("CompleteMultipartUpload", "POST", "/bucket/customers?uploadId=CUSTOMERS")
	get       = plainOp("GetObject", "GET", "/bucket/ssec")
	getRange  = plainOp("GetObject of a range", "GET", "/bucket/ssec", "Range", "bytes=1-2")
	getPart   = plainOp("GetObject of a part", "GET", "/bucket/ssec?partNumber=1")
	head      = plainOp("HeadObject", "HEAD", "/bucket/ssec")
	attrs     = plainOp("GetObjectAttributes", "GET", "/bucket/ssec?attributes", "x-amz-object-attributes", "ETag")
	copyFrom  = plainOp("CopyObject from", "PUT", "/bucket/new", "x-amz-copy-source", "/bucket/ssec")
	copyOver  = plainOp("CopyObject in place", "PUT", "/bucket/ssec", "x-amz-copy-source", "/bucket/ssec")
	partFrom  = plainOp("UploadPartCopy from", "PUT", "/bucket/plainupload?partNumber=1&uploadId=UPLOAD", "x-amz-copy-source", "/bucket/ssec")
	formOp    = operation{"PostObject", (*rows).form, false}
	getPlain  = plainOp("GetObject of SSE-S3", "GET", "/bucket/plain")
	headPlain = plainOp("HeadObject of SSE-S3", "HEAD", "/bucket/plain")
	attrPlain = plainOp("GetObjectAttributes of SSE-S3", "GET", "/bucket/plain?attributes", "x-amz-object-attributes", "ETag")
	copyPlain = plainOp("CopyObject from SSE-S3", "PUT", "/bucket/new", "x-amz-copy-source", "/bucket/plain")
	partS3    = plainOp("UploadPartCopy from SSE-S3", "PUT", "/bucket/plainupload?partNumber=1&uploadId=UPLOAD", "x-amz-copy-source", "/bucket/plain")
	getKMS    = plainOp("GetObject of SSE-KMS", "GET", "/bucket/kms")
	headKMS   = plainOp("HeadObject of SSE-KMS", "HEAD", "/bucket/kms")
	attrKMS   = plainOp("GetObjectAttributes of SSE-KMS", "GET", "/bucket/kms?attributes", "x-amz-object-attributes", "ETag")
	copyKMS   = plainOp("CopyObject from SSE-KMS", "PUT", "/bucket/new", "x-amz-copy-source", "/bucket/kms")
	partKMS   = plainOp("UploadPartCopy from SSE-KMS", "PUT", "/bucket/plainupload?partNumber=1&uploadId=UPLOAD", "x-amz-copy-source", "/bucket/kms")
	getDSSE   = plainOp("GetObject of DSSE-KMS", "GET", "/bucket/dsse")
	headDSSE  = plainOp("HeadObject of DSSE-KMS", "HEAD", "/bucket/dsse")
	partPlain = plainOp("UploadPart without SSE-C", "PUT", "/bucket/plainupload?partNumber=1&uploadId=UPLOAD")

	writes  = []operation{put, copyTo, create, formOp}
	parts   = []operation{part, partCopy}
	reads   = []operation{get, getRange, getPart, head, attrs}
	sources = []operation{copyFrom, copyOver, partFrom}
	others  = []operation{list, complete} // which work without a key
)

// form is POST Object with the headers for fields.
func (r *rows) form(headers []string) reply {
	var fields [][2]string
	var list conditions
	for i := 0; i < len(headers); i += 2 {
		fields = append(fields, [2]string{headers[i], headers[i+1]})
		list = append(list, []string{"starts-with", "$" + headers[i], ""})
	}
	f := presign("bucket", "new", fields, list)
	f.file = "body"
	return r.post("bucket", f)
}

func without(h []string, name string) []string {
	var left []string
	for i := 0; i < len(h); i += 2 {
		if !strings.HasSuffix(strings.ToLower(h[i]), name) {
			left = append(left, h[i:i+2]...)
		}
	}
	return left
}

func with(h []string, name, value string) []string {
	left := append([]string(nil), h...)
	for i := 0; i < len(h); i += 2 {
		if strings.HasSuffix(strings.ToLower(h[i]), name) {
			left[i+1] = value
		}
	}
	return left
}

func TestBadEncryptionIsAnsweredAsAWSDoes(t *testing.T) {
	d := openKeyDoor(t)
	r := &rows{keyDoor: d}
	d.bucket("bucket")
	d.put("bucket", "plain", "plain")
	d.do("PUT", "/bucket/ssec", "customer", customer("a")...).ok(t, "put", 200)
	d.do("PUT", "/bucket/kms", "kms", under("aws:kms", "one")...).ok(t, "put", 200)
	d.do("PUT", "/bucket/dsse", "dsse", under("aws:kms:dsse", "one")...).ok(t, "put", 200)
	r.upload = element(d.do("POST", "/bucket/plainupload?uploads", "").body, "UploadId")
	r.customers = element(d.do("POST", "/bucket/customers?uploads", "", customer("a")...).body, "UploadId")

	const argument, request = "InvalidArgument", "InvalidRequest"
	const subject = "Requests specifying Server Side Encryption with Customer provided keys must "
	const stored = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
	const initiated = "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
	const originally = "The provided encryption parameters did not match the ones used originally."
	const incompatible = "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
	const algorithm = "The Encryption request you specified is not valid. Supported value: AES256."
	name := []string{"ArgumentName", "x-amz-server-side-encryption"}
	a, from := customer("a"), sourceOf("a")
	short := base64.StdEncoding.EncodeToString([]byte("too short"))
	// What a client makes of a key that it encodes twice (recorded).
	twice := customerOf(ssecPrefix, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", 32))))
	all := slices.Concat(writes, parts, reads, others)

	for _, row := range []struct {
		what    string
		ops     []operation
		headers []string
		status  int
		code    string
		message string
		fields  []string
	}{
		{"both", writes, join(a, under("AES256", "")), 400, argument, incompatible, join(name, []string{"ArgumentValue", "AES256"})},
		{"both, KMS", writes, join(a, under("aws:kms", "one")), 400, argument, incompatible, join(name, []string{"ArgumentValue", "aws:kms"})},
		{"both, another algorithm", writes, join(with(a, "algorithm", "KMS"), under("AES256", "")), 400, argument, incompatible, join(name, []string{"ArgumentValue", "AES256"})},
		{"another algorithm", all, with(a, "algorithm", "KMS"), 400, "InvalidEncryptionAlgorithmError", algorithm, join(name, []string{"ArgumentValue", "KMS"})},
		{"another algorithm of the source", sources, with(from, "algorithm", "KMS"), 400, "InvalidEncryptionAlgorithmError", algorithm, join(name, []string{"ArgumentValue", "KMS"})},
		{"no algorithm", all, without(a, "algorithm"), 400, argument, subject + "provide a valid encryption algorithm.", name},
		{"no key", all, without(a, "customer-key"), 400, argument, subject + "provide an appropriate secret key.", name},
		{"no MD5", all, without(a, "md5"), 400, argument, subject + "provide the client calculated MD5 of the secret key.", name},
		{"another MD5", all, with(a, "md5", md5Text("other")), 400, argument, "The calculated MD5 hash of the key did not match the hash that was provided.", name},
		{"an MD5 that is none", all, with(a, "md5", "!"), 400, argument, "The calculated MD5 hash of the key did not match the hash that was provided.", name},
		{"a short key", append(writes, parts...), with(with(a, "customer-key", short), "md5", md5Text("too short")), 400, argument, "The secret key was invalid for the specified algorithm.", name},
		{"a key encoded twice", append(writes, parts...), twice, 400, argument, "The secret key was invalid for the specified algorithm.", name},
		{"a key that is no base64", all, with(a, "customer-key", "!!!"), 400, argument, "The secret key was invalid for the specified algorithm.", name},
		{"a short key", reads, with(with(a, "customer-key", short), "md5", md5Text("too short")), 403, "AccessDenied", subject + "provide the correct secret key.", nil},
		{"a key encoded twice", reads, twice, 403, "AccessDenied", subject + "provide the correct secret key.", nil},
		{"no key at all", reads, nil, 400, request, stored, nil},
		{"another key", reads, customer("b"), 403, "AccessDenied", subject + "provide the correct secret key.", nil},
		{"no algorithm of the source", sources, without(from, "algorithm"), 400, argument, subject + "provide a valid encryption algorithm.", name},
		{"no key of the source", sources, without(from, "customer-key"), 400, argument, subject + "provide an appropriate secret key.", name},
		{"no MD5 of the source", sources, without(from, "md5"), 400, argument, subject + "provide the client calculated MD5 of the secret key.", name},
		{"another MD5 of the source", sources, with(from, "md5", md5Text("other")), 400, argument, "The calculated MD5 hash of the key did not match the hash that was provided.", name},
		{"a short key of the source", sources, with(with(from, "customer-key", short), "md5", md5Text("too short")), 400, argument, "The secret key was invalid for the specified algorithm.", name},
		{"a key of the source that is no base64", sources, with(from, "customer-key", "!!!"), 400, argument, "The secret key was invalid for the specified algorithm.", name},
		{"a key for SSE-KMS", []operation{getKMS, headKMS, attrKMS, getDSSE, headDSSE}, a, 400, request, "The encryption parameters are not applicable to this object.", nil},
		{"a key for a source without SSE-C", []operation{partS3, copyKMS, partKMS}, from, 400, request, "The encryption parameters are not applicable to this object.", nil},
		{"a copied part with a key", []operation{partS3, partKMS}, a, 400, request, initiated, nil},
		{"a key for SSE-S3", []operation{getPlain, headPlain, attrPlain}, a, 400, request, "The encryption parameters are not applicable to this object.", nil},
		{"a key for a source of SSE-S3", []operation{copyPlain}, from, 400, request, "The encryption parameters are not applicable to this object.", nil},
		{"no key of the source", []operation{copyFrom, partFrom}, nil, 400, request, stored, nil},
		{"no key of the source, a key of the target", []operation{copyFrom}, a, 400, request, stored, nil},
		{"another key of the source", []operation{copyFrom, partFrom}, sourceOf("b"), 403, "AccessDenied", subject + "provide the correct secret key.", nil},
		{"another key of the source, in place", []operation{copyOver}, join(sourceOf("b"), customer("b")), 400, request, originally, nil},
		{"a part without a key", parts, nil, 400, request, initiated, nil},
		{"a part with a key", []operation{partPlain}, a, 400, request, initiated, nil},
		{"a part with another key", parts, customer("b"), 400, request, originally, nil},

		{"an unknown method", writes, under("AES128", ""), 400, argument, "The encryption method specified is not supported", join(name, []string{"ArgumentValue", "AES128"})},
		{"a key id without SSE-KMS", writes, under("AES256", "one"), 400, argument, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms", join(name, []string{"ArgumentValue", "AES256"})},
		{"a key id alone", writes, under("aws:kms", "one")[2:], 400, argument, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms", join(name, []string{"ArgumentValue", ""})},
		{"no such key", writes, under("aws:kms", "fake-key-id"), 400, "KMS.NotFoundException", "Invalid keyId 'fake-key-id'", nil},
		{"no such UUID", writes, under("aws:kms", "134f2428-cec1-4b25-a1ae-9048164dba47"), 400, "KMS.NotFoundException", "Key '" + keyARN("134f2428-cec1-4b25-a1ae-9048164dba47") + "' does not exist", nil},
		{"no such ARN", writes, under("aws:kms", keyARN("nobody")), 400, "KMS.NotFoundException", "Key '" + keyARN("nobody") + "' does not exist", nil},
		{"another region", writes, under("aws:kms", strings.Replace(keyARN("one"), "us-east-1", "us-west-2", 1)), 400, "KMS.NotFoundException", "Invalid arn us-west-2", nil},
		{"no such alias", writes, under("aws:kms", "alias/nobody"), 400, "KMS.NotFoundException", "", nil},
		{"the store's own key", writes, under("aws:kms", "sse-s3"), 400, "KMS.NotFoundException", "", nil},
		{"no such key of DSSE-KMS", writes, under("aws:kms:dsse", "fake-key-id"), 400, "KMS.NotFoundException", "Invalid keyId 'fake-key-id'", nil},
		{"SSE of a read", []operation{getPlain, headPlain, attrPlain, get, head}, under("AES256", ""), 400, argument, "", nil},
		{"SSE of a read of SSE-KMS", []operation{getKMS, headKMS, attrKMS, getDSSE, headDSSE}, under("aws:kms", ""), 400, argument, "", nil},
		{"a key id of a read", []operation{getPlain, headPlain, attrPlain, getKMS, headKMS}, under("aws:kms", "one")[2:], 400, argument, "", nil},
	} {
		for _, op := range row.ops {
			what := op.name + ": " + row.what
			got := op.do(r, row.headers)
			if op.head {
				if got.status != row.status || got.body != "" {
					t.Errorf("%s: %d, want %d", what, got.status, row.status)
				}
				continue
			}
			if op.name == formOp.name && got.fields["Code"] == "" {
				t.Errorf("%s: %v", what, got)
			}
			got.want(t, what, row.status, row.code, row.message, row.fields...)
		}
	}
	// Nothing was changed by any of it.
	d.do("GET", "/bucket/new", "").want(t, "new", 404, "NoSuchKey", "")
	if got := d.do("GET", "/bucket/ssec", "", a...); got.body != "customer" {
		t.Error(got)
	}
	for _, c := range [][2]string{{"plainupload", r.upload}, {"customers", r.customers}} {
		if got := d.do("GET", "/bucket/"+c[0]+"?uploadId="+c[1], ""); strings.Contains(got.body, "<Part>") {
			t.Error(got)
		}
	}
}

// Without TLS everything works but encryption with keys.
func TestEncryptionWithKeysNeedsTLS(t *testing.T) {
	d := openKeyDoor(t)
	r := &rows{keyDoor: d}
	d.bucket("bucket")
	d.bucket("kms")
	d.put("bucket", "plain", "plain")
	d.do("PUT", "/bucket/ssec", "customer", customer("a")...).ok(t, "put", 200)
	d.do("PUT", "/bucket/kms", "kms", under("aws:kms", "one")...).ok(t, "put", 200)
	d.do("PUT", "/kms?encryption", encryptionXML("aws:kms", "one", "")).ok(t, "default", 200)
	r.upload = element(d.do("POST", "/bucket/plainupload?uploads", "").body, "UploadId")
	r.customers = element(d.do("POST", "/bucket/customers?uploads", "", customer("a")...).body, "UploadId")
	kmsUpload := element(d.do("POST", "/bucket/up?uploads", "", under("aws:kms", "one")...).body, "UploadId")
	plain := httptest.NewServer(d.server.Config.Handler)
	defer plain.Close()
	d.server.URL = plain.URL
	const message = "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection. The key that was sent must be taken for compromised."
	for _, op := range []operation{put, copyTo, create, formOp, part, partCopy, list, get, getRange, attrs} {
		op.do(r, customer("a")).want(t, op.name, 400, "InvalidRequest", message)
	}
	for _, op := range []operation{copyFrom, partFrom} {
		op.do(r, sourceOf("a")).want(t, op.name, 400, "InvalidRequest", message)
	}
	const kms = "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection."
	for _, op := range []operation{put, copyTo, create, formOp} {
		op.do(r, under("aws:kms", "one")).want(t, op.name, 400, "InvalidArgument", kms, "ArgumentName", "x-amz-server-side-encryption")
	}
	d.do("GET", "/bucket/kms", "").want(t, "get", 400, "InvalidArgument", kms, "ArgumentName", "x-amz-server-side-encryption")
	d.do("PUT", "/kms/k", "x").want(t, "put by default", 400, "InvalidArgument", kms, "ArgumentName", "x-amz-server-side-encryption")
	d.do("PUT", "/bucket/up?partNumber=1&uploadId="+kmsUpload, "x").want(t, "part", 400, "InvalidArgument", kms, "ArgumentName", "x-amz-server-side-encryption")
	if d.get("bucket", "plain") != "plain" {
		t.Error("without keys")
	}
	d.do("PUT", "/bucket/k", "x", under("AES256", "")...).ok(t, "SSE-S3", 200)
}
