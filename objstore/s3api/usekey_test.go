package s3api

import (
	"fmt"
	"strings"
	"testing"
)

const mayS3 = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`

func keyDenied(who, action, key, why string) string {
	return fmt.Sprintf("User: arn:aws:iam::000000000000:user/%s is not authorized to perform: kms:%s on resource: %s %s", who, action, keyARN(key), why)
}

// openKeyedBucket is a door with a bucket and one object under the key one.
func openKeyedBucket(t *testing.T) *keyDoor {
	d := openKeyDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/k", "data", under("aws:kms", "one")...).ok(t, "put", 200)
	d.put("bucket", "plain", "data")
	return d
}

func TestDenyOfAKeyCounts(t *testing.T) {
	d := openKeyedBucket(t)
	const why = "with an explicit deny in an identity-based policy"
	deny := func(name, action string) *door {
		return d.user(name, mayS3, `{"Effect":"Deny","Action":"kms:`+action+`","Resource":"`+keyARN("one")+`"}`)
	}
	reader, writer := deny("reader", "GenerateDataKey"), deny("writer", "Decrypt")
	id, part := d.begin("/bucket/parts", under("aws:kms", "one")...)
	appending := d.do("PUT", "/bucket/log", "data", under("aws:kms", "one")...)
	appending.ok(t, "put", 200)
	d.do("PUT", "/bucket?encryption", `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>alias/first</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`).ok(t, "default", 200)
	update := func(key string) string {
		return "<ObjectEncryption><SSE-KMS><KMSKeyArn>" + keyARN(key) + "</KMSKeyArn></SSE-KMS></ObjectEncryption>"
	}
	for _, c := range []struct {
		name, method, target, body string
		headers                    []string
		writes                     bool // else it reads
	}{
		{"get", "GET", "/bucket/k", "", nil, false},
		{"range", "GET", "/bucket/k", "", []string{"Range", "bytes=0-1"}, false},
		{"attributes", "GET", "/bucket/k?attributes", "", []string{"x-amz-object-attributes", "Checksum"}, false},
		{"copy", "PUT", "/bucket/copy", "", []string{"x-amz-copy-source", "bucket/k", "x-amz-server-side-encryption", "AES256"}, false},
		{"part", "PUT", part(1), "x", nil, false},
		{"copied part", "PUT", part(1), "", []string{"x-amz-copy-source", "bucket/plain"}, false},
		{"update from", "PUT", "/bucket/k?encryption", update("two"), nil, false},
		{"put", "PUT", "/bucket/new", "x", under("aws:kms", "one"), true},
		{"put in two layers", "PUT", "/bucket/new", "x", under("aws:kms:dsse", "alias/first"), true},
		{"put by default", "PUT", "/bucket/new", "x", nil, true},
		{"copy to", "PUT", "/bucket/new", "", []string{"x-amz-copy-source", "bucket/plain"}, true},
		{"upload", "POST", "/bucket/new?uploads", "", under("aws:kms", "one"), true},
		{"append", "PUT", "/bucket/log", "x", []string{"x-amz-write-offset-bytes", "4"}, true},
	} {
		who, other, name, action := writer, reader, "writer", "Decrypt"
		if c.writes {
			who, other, name, action = reader, writer, "reader", "GenerateDataKey"
		}
		who.do(c.method, c.target, c.body, c.headers...).want(t, c.name, 403, "AccessDenied", keyDenied(name, action, "one", why))
		if !strings.HasPrefix(c.name, "update") {
			other.do(c.method, c.target, c.body, c.headers...).ok(t, c.name, 200+6*boolInt(c.name == "range"))
		}
	}
	reader.do("PUT", "/bucket/k?encryption", update("one")).want(t, "update to", 403, "AccessDenied", keyDenied("reader", "GenerateDataKey", "one", why))
	// What opens no key goes on.
	writer.do("HEAD", "/bucket/k", "").ok(t, "head", 200)
	writer.do("HEAD", "/bucket/k", "", "x-amz-checksum-mode", "ENABLED").ok(t, "head with the checksum", 403)
	writer.do("GET", "/bucket/k?tagging", "").ok(t, "tags", 200)
	writer.do("GET", "/bucket/plain", "").ok(t, "another mode", 200)
	writer.do("PUT", "/bucket/two", "x", under("aws:kms", "two")...).ok(t, "another key", 200)
	writer.do("GET", "/bucket/two", "").ok(t, "another key", 200)
	d.do("GET", "/bucket/k", "").ok(t, "root", 200)
	d.do("DELETE", "/bucket/parts?uploadId="+id, "").ok(t, "abort", 204)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Who is allowed some use of keys by name may no other; who is not mentioned may all,
// as the ready-made policies have it.
func TestAllowOfAKeyIsAllThatIsAllowed(t *testing.T) {
	d := openKeyedBucket(t)
	allowed := d.user("allowed", mayS3, `{"Effect":"Allow","Action":"KMS:*","Resource":"`+keyARN("one")+`"}`)
	all := d.user("all", `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	s3 := d.user("s3", mayS3)
	readwrite := d.user("readwrite", "readwrite")
	put := func(who *door, key string) reply { return who.do("PUT", "/bucket/x", "x", under("aws:kms", key)...) }
	for name, who := range map[string]*door{"all": all, "s3": s3, "readwrite": readwrite} {
		for _, key := range []string{"one", "two", ""} {
			put(who, key).ok(t, name, 200)
			who.do("GET", "/bucket/x", "").ok(t, name, 200)
		}
	}
	put(allowed, "one").ok(t, "the one", 200)
	allowed.do("GET", "/bucket/k", "").ok(t, "the one", 200)
	put(allowed, "two").want(t, "another", 403, "AccessDenied", keyDenied("allowed", "GenerateDataKey", "two", "because no identity-based policy allows the kms:GenerateDataKey action"))
	put(d.door, "two").ok(t, "root", 200)
	allowed.do("GET", "/bucket/x", "").want(t, "another", 403, "AccessDenied", keyDenied("allowed", "Decrypt", "two", "because no identity-based policy allows the kms:Decrypt action"))
	// The key of alias/aws/s3 needs no Allow, but a Deny counts.
	put(allowed, "").ok(t, "managed", 200)
	denied := d.user("denied", mayS3, `{"Effect":"Deny","NotAction":"s3:*","Resource":"*"}`)
	denied.do("PUT", "/bucket/new", "x", under("aws:kms", "")...).want(t, "managed", 403, "AccessDenied", keyDenied("denied", "GenerateDataKey", "aws-s3", "with an explicit deny in an identity-based policy"))
}

func TestConditionsOnTheUseOfAKey(t *testing.T) {
	d := openKeyedBucket(t)
	for name, c := range map[string]struct {
		condition string
		denied    bool
	}{
		"service":             {`"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}`, true},
		"not service":         {`"StringNotEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}`, false},
		"through a service":   {`"Bool":{"aws:ViaAWSService":"false"}`, false},
		"account":             {`"StringEquals":{"kms:CallerAccount":"000000000000"}`, true},
		"object":              {`"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::bucket/k"}`, true},
		"other object":        {`"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::bucket/other"}`, false},
		"user":                {`"StringEquals":{"aws:username":"user"}`, true},
		"nothing of requests": {`"Null":{"s3:authType":"false"}`, false},
	} {
		u := d.user("user", mayS3, `{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*","Condition":{`+c.condition+`}}`)
		if a := u.do("GET", "/bucket/k", ""); (a.status == 403) != c.denied {
			t.Errorf("%s: %v", name, a)
		}
		if err := d.iam.RemoveUser(t.Context(), "user"); err != nil {
			t.Fatal(err)
		}
	}
	// With a bucket key the context names the bucket.
	d.do("PUT", "/bucket/k", "data", under("aws:kms", "one", "x-amz-server-side-encryption-bucket-key-enabled", "true")...).ok(t, "bucket key", 200)
	u := d.user("user", mayS3, `{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::bucket"}}}`)
	u.do("GET", "/bucket/k", "").ok(t, "bucket key", 403)
}

func TestSessionPolicyOfKeys(t *testing.T) {
	d := openKeyedBucket(t)
	session := func(policy string) *door {
		r := d.sts("Action", "AssumeRole", "RoleArn", "arn:aws:iam::000000000000:role/any", "RoleSessionName", "session", "Policy", statements(mayS3, policy)).Role
		return d.in(r)
	}
	get := func(policy string) reply { return session(policy).do("GET", "/bucket/k", "") }
	get(mayS3).ok(t, "nothing of keys", 200)
	get(`{"Effect":"Deny","Action":"kms:*","Resource":"*"}`).ok(t, "denied", 403)
	get(`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"`+keyARN("two")+`"}`).ok(t, "another", 403)
	get(`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"`+keyARN("one")+`"}`).ok(t, "the one", 200)
}
