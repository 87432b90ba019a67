package s3api

import (
	"strings"
	"testing"
)

// Who may delete nothing has no keys read for him: the memory that they take would be
// anybody's, on as many connections as there are.
func TestKeysToDeleteAreReadForWhoMayDeleteSome(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	no := "no document"
	d.anonymous("POST", "/bucket?delete", no, "Content-MD5", md5Base64(no)).want(t, "not looked at", 403, "AccessDenied", "Access Denied")
	body := `<Delete><Object><Key>k</Key></Object><Object><Key>pub/k</Key></Object></Delete>`
	ask := func() reply { return d.anonymous("POST", "/bucket?delete", body, "Content-MD5", md5Base64(body)) }
	ask().want(t, "no policy", 403, "AccessDenied", "Access Denied")
	d.do("DELETE", "/bucket?publicAccessBlock", "").ok(t, "unblock", 204)
	ask().want(t, "still none", 403, "AccessDenied", "Access Denied")
	d.policy("bucket", `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}`)
	ask().want(t, "reads alone", 403, "AccessDenied", "Access Denied")
	d.policy("bucket", `{"Effect":"Allow","Principal":"*","Action":"s3:Delete*","Resource":"arn:aws:s3:::bucket/pub/*"}`)
	if a := ask(); a.status != 200 || strings.Count(a.body, "<Deleted>") != 1 || !strings.Contains(a.body, "<Error><Key>k</Key><Code>AccessDenied</Code>") {
		t.Errorf("some keys: %v", a)
	}
	d.anonymous("POST", "/no-such-bucket?delete", body, "Content-MD5", md5Base64(body)).want(t, "no bucket", 404, "NoSuchBucket", "")
}
