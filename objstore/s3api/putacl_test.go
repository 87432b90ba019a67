package s3api

import (
	"fmt"
	"strings"
	"testing"
)

// An ACL that gives nothing away is taken, for clients that carry it from the
// source of a copy to the copy. What else is refused with is what AWS answers,
// to bad ones wherever ACLs are disabled or not.
func TestACLsThatSayWhatHoldsAreTaken(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	current := d.do("GET", "/bucket/k?acl", "")
	_, owner, _ := strings.Cut(current.body, "<ID>")
	owner, _, _ = strings.Cut(owner, "</ID>")
	if len(owner) != 64 {
		t.Fatal(current)
	}
	grant := func(kind, who, permission string) string {
		return fmt.Sprintf(`<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="%s">%s</Grantee><Permission>%s</Permission></Grant>`, kind, who, permission)
	}
	id := "<ID>" + owner + "</ID>"
	other := "<ID>" + strings.Repeat("ab", 32) + "</ID>"
	doc := func(own string, grants ...string) string {
		return `<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + own + "<AccessControlList>" + strings.Join(grants, "") + "</AccessControlList></AccessControlPolicy>"
	}
	own := "<Owner>" + id + "</Owner>"
	public := "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>"
	for _, target := range []string{"/bucket?acl", "/bucket/k?acl"} {
		put := func(body string, headers ...string) reply { return d.do("PUT", target, body, headers...) }
		put(current.body).ok(t, "the ACL that it has", 200)
		put(doc(own, grant("CanonicalUser", id, "FULL_CONTROL"), grant("CanonicalUser", id, "READ"))).ok(t, "owner", 200)
		put("", "x-amz-acl", "private").ok(t, "private", 200)
		put("", "x-amz-acl", "bucket-owner-full-control").ok(t, "canned", 200)
		put("", "x-amz-grant-full-control", `id="`+owner+`"`).ok(t, "grant", 200)
		for what, a := range map[string]reply{
			"public":           put(doc(own, grant("CanonicalUser", id, "FULL_CONTROL"), grant("Group", public, "READ"))),
			"somebody else":    put(doc(own, grant("CanonicalUser", other, "FULL_CONTROL"))),
			"another owner":    put(doc("<Owner>"+other+"</Owner>", grant("CanonicalUser", id, "FULL_CONTROL"))),
			"less":             put(doc(own, grant("CanonicalUser", id, "READ"))),
			"nobody":           put(doc(own)),
			"canned":           put("", "x-amz-acl", "public-read"),
			"grant":            put("", "x-amz-grant-read", `uri="http://acs.amazonaws.com/groups/global/AllUsers"`),
			"grant of less":    put("", "x-amz-grant-read", `id="`+owner+`"`),
			"grant to several": put("", "x-amz-grant-full-control", `id="`+owner+`", emailAddress="a@example.org"`),
		} {
			a.want(t, target+": "+what, 400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
		}
		const badXML = "The XML you provided was not well-formed or did not validate against our published schema"
		for what, body := range map[string]string{
			"no owner": doc("", grant("CanonicalUser", id, "FULL_CONTROL")), "permission": doc(own, grant("CanonicalUser", id, "WRONG")),
			"type": doc(own, grant("BadType", "<ID>wrong-id</ID>", "FULL_CONTROL")), "nothing": "<AccessControlPolicy/>", "no XML": "<x",
		} {
			put(body).want(t, target+": "+what, 400, "MalformedACLError", badXML)
		}
		put(doc("<Owner><ID>wrong-id</ID></Owner>", grant("CanonicalUser", id, "FULL_CONTROL"))).want(t, "owner", 400, "InvalidArgument", "Invalid id", "ArgumentName", "CanonicalUser/ID", "ArgumentValue", "wrong-id")
		put(doc(own, grant("CanonicalUser", "<ID>wrong-id</ID>", "FULL_CONTROL"))).want(t, "grantee", 400, "InvalidArgument", "Invalid id", "ArgumentName", "CanonicalUser/ID", "ArgumentValue", "wrong-id")
		put(doc(own, grant("Group", "<URI>http://example.org/</URI>", "FULL_CONTROL"))).want(t, "group", 400, "InvalidArgument", "Invalid group uri", "ArgumentName", "Group/URI", "ArgumentValue", "http://example.org/")
		put("", "x-amz-grant-write", `uri="http://example.org/"`).want(t, "group", 400, "InvalidArgument", "Invalid group uri", "ArgumentName", "uri", "ArgumentValue", "http://example.org/")
		put("", "x-amz-grant-write", `fakekey="1234"`).want(t, "grant", 400, "InvalidArgument", "Argument format not recognized", "ArgumentName", "x-amz-grant-write", "ArgumentValue", `fakekey="1234"`)
		put("", "x-amz-grant-write", `id="wrong-id"`).want(t, "grant", 400, "InvalidArgument", "Invalid id", "ArgumentName", "id", "ArgumentValue", "wrong-id")
		put("", "x-amz-acl", "fake-acl").want(t, "canned", 400, "InvalidArgument", "", "ArgumentName", "x-amz-acl", "ArgumentValue", "fake-acl")
		put("").want(t, "nothing", 400, "MissingSecurityHeader", "Your request was missing a required header", "MissingHeaderName", "x-amz-acl")
		put("", "x-amz-acl", "private", "x-amz-grant-read", `id="x"`).want(t, "both", 400, "InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
		put(current.body, "x-amz-acl", "private").want(t, "both", 400, "UnexpectedContent", "This request does not support content")
	}
	d.do("PUT", "/none?acl", "", "x-amz-acl", "private").want(t, "bucket", 404, "NoSuchBucket", "")
	d.do("PUT", "/bucket/none?acl", "", "x-amz-acl", "private").want(t, "key", 404, "NoSuchKey", "")
}

// ACLs that give nothing beyond the owner are taken whatever a bucket's ownership
// says, and change nothing that is told.
func TestACLsUnderEveryOwnership(t *testing.T) {
	d := openDoor(t)
	for i, ownership := range []string{"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter", ""} {
		bucket := fmt.Sprintf("/bucket%d", i)
		headers := []string{"x-amz-object-ownership", ownership}
		if ownership == "" { // none is said
			headers = nil
		}
		d.do("PUT", bucket, "", headers...).ok(t, "create", 200)
		if ownership == "" {
			d.do("DELETE", bucket+"?ownershipControls", "").ok(t, "no ownership", 204)
		}
		d.do("PUT", bucket+"/k", "x").ok(t, "put", 200)
		targets := []string{bucket + "?acl", bucket + "/k?acl"}
		before := []string{d.do("GET", targets[0], "").body, d.do("GET", targets[1], "").body}
		if before[0] != before[1] || strings.Count(before[0], "<Grant>") != 1 || !strings.Contains(before[0], "<Permission>FULL_CONTROL</Permission>") {
			t.Fatal(before)
		}
		for _, canned := range []string{"private", "bucket-owner-full-control", "bucket-owner-read"} {
			for j, target := range targets {
				d.do("PUT", target, "", "x-amz-acl", canned).ok(t, ownership+" "+canned, 200)
				if a := d.do("GET", target, ""); a.status != 200 || a.body != before[j] {
					t.Errorf("%s %s: %v, was %s", ownership, canned, a, before[j])
				}
			}
			d.do("PUT", bucket+"/k", "x", "x-amz-acl", canned).ok(t, ownership+" put "+canned, 200)
			d.do("PUT", bucket+"/copy", "", "x-amz-copy-source", bucket+"/k", "x-amz-acl", canned).ok(t, ownership+" copy "+canned, 200)
			d.do("POST", bucket+"/k?uploads", "", "x-amz-acl", canned).ok(t, ownership+" upload "+canned, 200)
			for _, target := range []string{targets[1], bucket + "/copy?acl"} {
				if a := d.do("GET", target, ""); a.body != before[1] {
					t.Errorf("%s %s: %v", ownership, canned, a)
				}
			}
		}
		for _, canned := range []string{"public-read", "public-read-write", "authenticated-read"} {
			for _, target := range append(targets, bucket+"/new") {
				d.do("PUT", target, "", "x-amz-acl", canned).want(t, ownership+" "+canned, 400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
			}
		}
		d.do("HEAD", bucket+"/new", "").ok(t, "nothing was made", 404)
	}
}

// A new bucket has no ACL that gives anything away, and says why as S3 does.
func TestNewBucketTakesNoACL(t *testing.T) {
	d := openDoor(t)
	const (
		everybody = `uri="http://acs.amazonaws.com/groups/global/AllUsers"`
		enforced  = "InvalidBucketAclWithObjectOwnership"
		blocked   = "InvalidBucketAclWithBlockPublicAccessError"
		disabled  = "AccessControlListNotSupported"
	)
	for _, c := range []struct {
		name, value, ownership, code string
	}{
		{"x-amz-acl", "public-read", "", enforced}, {"x-amz-acl", "log-delivery-write", "BucketOwnerEnforced", enforced},
		{"x-amz-grant-read", everybody, "", enforced}, {"x-amz-grant-full-control", everybody, "BucketOwnerEnforced", enforced},
		{"x-amz-acl", "public-read", "ObjectWriter", blocked}, {"x-amz-acl", "authenticated-read", "BucketOwnerPreferred", blocked},
		{"x-amz-acl", "log-delivery-write", "ObjectWriter", disabled}, {"x-amz-grant-read", everybody, "ObjectWriter", disabled},
		{"x-amz-acl", "wrong", "", "InvalidArgument"}, {"x-amz-grant-read", "wrong", "", "InvalidArgument"},
	} {
		headers := []string{c.name, c.value}
		if c.ownership != "" {
			headers = append(headers, "x-amz-object-ownership", c.ownership)
		}
		if a := d.do("PUT", "/bucket", "", headers...); a.status != 400 || a.fields["Code"] != c.code {
			t.Errorf("%s: %s, owner %q: %v, want %s", c.name, c.value, c.ownership, a, c.code)
		}
	}
	d.do("HEAD", "/bucket", "").ok(t, "refused", 404)
	d.do("PUT", "/bucket", "", "x-amz-acl", "private", "x-amz-grant-read", everybody).want(t, "both", 400, "InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
	for _, h := range [][2]string{{"x-amz-acl", "private"}, {"x-amz-acl", "bucket-owner-full-control"}, {"x-amz-grant-full-control", `id="` + element(d.do("GET", "/", "").body, "ID") + `"`}} {
		d.do("PUT", "/bucket", "", h[0], h[1]).ok(t, h[1], 200)
	}
}
