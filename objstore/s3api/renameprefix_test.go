package s3api

import "testing"

func TestRenameOfPrefixIsHeldToDeniesBelowIt(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "audit/2024/k", "x")
	d.put("bucket", "open/k", "x")
	admin := d.user("admin", `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	rename := func(u *door, from, to string) reply {
		return u.do("PUT", "/bucket/"+to+"?renameObject", "", "x-amz-rename-source", from)
	}
	for _, action := range []string{"s3:DeleteObject", "s3:GetObject", "s3:PutObject", "coffer:RenamePrefix", "*"} {
		d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"`+action+`","Resource":"arn:aws:s3:::bucket/audit/2024/*"}`)
		for name, u := range map[string]*door{"root": d, "admin": admin} {
			what := name + ", denied " + action
			if action != "s3:PutObject" {
				rename(u, "audit/", "away/").want(t, what, 403, "AccessDenied", "")
			}
			if action == "s3:PutObject" || action == "*" {
				rename(u, "open/", "audit/2024/new/").want(t, what, 403, "AccessDenied", "")
				d.do("DELETE", "/bucket?policy", "").ok(t, "policy", 204)
				rename(d, "audit/", "elsewhere/").ok(t, "away", 200)
				d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"`+action+`","Resource":"arn:aws:s3:::bucket/audit/2024/*"}`)
				rename(u, "open/", "audit/").want(t, what, 403, "AccessDenied", "")
				d.do("DELETE", "/bucket?policy", "").ok(t, "policy", 204)
				rename(d, "elsewhere/", "audit/").ok(t, "back", 200)
				d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"`+action+`","Resource":"arn:aws:s3:::bucket/audit/2024/*"}`)
			}
			rename(u, "open/", "other/").ok(t, what, 200)
			rename(u, "other/", "open/").ok(t, what, 200)
		}
	}
	// Those of a user.
	d.do("DELETE", "/bucket?policy", "").ok(t, "policy", 204)
	u := d.user("user", `{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/keep":"yes"}}}`)
	rename(u, "open/", "other/").want(t, "a condition that objects meet", 403, "AccessDenied", "")
	u = d.user("secure", `{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)
	rename(u, "open/", "other/").ok(t, "a condition that is not met", 200)
}
