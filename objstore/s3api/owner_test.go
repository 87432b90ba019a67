package s3api

import "testing"

func TestOwnerIsNamedByCanonicalID(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	owner := element(d.do("GET", "/", "").body, "ID")
	u := d.user("user", "readwrite")
	for id, status := range map[string]int{owner: 403, "0" + owner[1:]: 200} {
		d.policy("bucket", `{"Effect":"Deny","Principal":{"CanonicalUser":"`+id+`"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}`)
		d.do("GET", "/bucket/k", "").ok(t, "root, "+id, status)
		u.do("GET", "/bucket/k", "").ok(t, "a user, "+id, status)
	}
}
