package s3api

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keys, signatures and credentials are in no log at any level, whatever a request
// with them ends in.
func TestLogsHoldNoSecrets(t *testing.T) {
	d := openKeyDoor(t)
	r := &rows{keyDoor: d}
	d.bucket("bucket")
	d.put("bucket", "plain", "plain")
	d.do("PUT", "/bucket/ssec", "customer", customer("a")...).ok(t, "put", 200)
	r.upload = element(d.do("POST", "/bucket/plainupload?uploads", "").body, "UploadId")
	r.customers = element(d.do("POST", "/bucket/customers?uploads", "", customer("a")...).body, "UploadId")

	raw := strings.Repeat("s3cr3t-k3y-0123.", 2)
	short := "s3cr3t-sh0rt"
	secrets := []string{testSecret}
	for _, key := range []string{raw, short} {
		sum := md5.Sum([]byte(key))
		secrets = append(secrets, key, hex.EncodeToString([]byte(key)), url.QueryEscape(key),
			base64.StdEncoding.EncodeToString([]byte(key)), base64.URLEncoding.EncodeToString([]byte(key)),
			base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:]))
	}
	var signatures []string
	send := func(headers []string) {
		for _, list := range [][]operation{writes, parts, reads, sources, {list, getPlain, headPlain, copyPlain, partPlain}} {
			for _, op := range list {
				op.do(r, headers)
			}
		}
	}
	key, from := customerOf(ssecPrefix, raw), customerOf(sourcePrefix, raw)
	for _, h := range [][]string{
		key, from, join(key, from), join(key, under("AES256", "")), with(key, "algorithm", "KMS"), without(key, "algorithm"), without(key, "md5"),
		with(key, "md5", md5Text("other")), customerOf(ssecPrefix, short), customerOf(sourcePrefix, short), without(key, "customer-key"),
	} {
		send(h)
	}
	// Keys where they do not belong: in the query of a URL, in the metadata.
	d.do("GET", "/bucket/ssec?"+ssecPrefix+"key="+url.QueryEscape(key[3]), "")
	for i, bad := range []func(string) string{
		func(s string) string { return s },
		func(s string) string { return s[:len(s)-4] + "0000" },
		func(s string) string { return strings.Replace(s, "Signature=", "Signature=x", 1) },
	} {
		req := d.request("PUT", "/bucket/signed", "x", key...)
		auth := req.Header.Get("Authorization")
		_, signature, _ := strings.Cut(auth, "Signature=")
		signatures = append(signatures, signature, bad(signature))
		req.Header.Set("Authorization", bad(auth))
		a := d.send(req)
		if (a.status == 200) != (i == 0) {
			t.Error(a)
		}
	}
	for _, expires := range []string{"60", "1", "no"} {
		link := d.link("GET", "/bucket/ssec", 60, key[:2]...)
		u, err := url.Parse(link)
		d.must(err)
		signatures = append(signatures, u.Query().Get("X-Amz-Signature"))
		d.follow("GET", strings.Replace(link, "Expires=60", "Expires="+expires, 1), "", key...)
	}
	d.server.Close() // what is logged when a connection ends
	log := d.log.String()
	if strings.Count(log, "msg=s3") < 100 {
		t.Fatalf("the log has %d bytes: it is no use to search it", len(log))
	}
	for _, s := range append(secrets, signatures...) {
		if s != "" && strings.Contains(log, s) {
			at := strings.Index(log, s)
			t.Errorf("%q is in the log: %s", s, log[max(at-300, 0):min(at+100, len(log))])
		}
	}
}

// A listing needs no key and reads no data, so damage of one object or a locked
// key never fails it.
func TestListingsPassDamagedAndLockedObjects(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	body := strings.Repeat("x", 200_000)
	for name, h := range map[string][]string{"s3": nil, "kms": under("aws:kms", "one"), "dsse": under("aws:kms:dsse", "one"), "ssec": customer("a")} {
		d.do("PUT", "/bucket/"+name, body, h...).ok(t, name, 200)
	}
	d.must(damage(filepath.Join(d.dir, "data")))
	for name, h := range map[string][]string{"s3": nil, "kms": nil, "dsse": nil, "ssec": customer("a")} {
		a := d.do("GET", "/bucket/"+name, "", h...)
		if a.status != 500 || a.fields["Code"] != "InternalError" || strings.Contains(a.body, "xxxx") {
			t.Errorf("damaged %s: %d %.200s", name, a.status, a.body)
		}
		d.do("HEAD", "/bucket/"+name, "", h...).ok(t, "HEAD of "+name, 200)
		to := asSource(h)
		if name == "dsse" {
			to = under("aws:kms:dsse", "two") // anything else is encrypted anew
		}
		d.do("PUT", "/bucket/copy-"+name, "", join([]string{"x-amz-copy-source", "/bucket/" + name}, to)...).ok(t, "a copy moves no data: "+name, 200)
	}
	d.do("PUT", "/bucket/copy-of-damage", "", under("aws:kms:dsse", "two", "x-amz-copy-source", "/bucket/s3")...).want(t, "encrypted anew", 500, "InternalError", "")
	d.change(d.keys.Disable, "one")
	for _, target := range []string{"/bucket?list-type=2", "/bucket", "/bucket?list-type=2&prefix=k", "/bucket?uploads"} {
		d.do("GET", target, "").ok(t, target, 200)
	}
	if a := d.do("GET", "/bucket?list-type=2", ""); strings.Count(a.body, "<Size>200000</Size>") != 8 {
		t.Error(a)
	}
}

// asSource turns the headers of a customer's key into those of a copy's source.
func asSource(h []string) []string {
	var out []string
	for i := 0; i < len(h); i += 2 {
		out = append(out, strings.Replace(h[i], ssecPrefix, sourcePrefix, 1), h[i+1])
	}
	return out
}

// damage changes bytes all over the data segments, behind their first block.
func damage(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || len(b) < 8<<10 {
			continue
		}
		w, err := os.OpenFile(f, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		for at := 4096 + 100; at < len(b); at += 1000 {
			if _, err := w.WriteAt([]byte{b[at] ^ 1}, int64(at)); err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}
