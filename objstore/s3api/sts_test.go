package s3api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/cofferfs/coffer/objstore/iam"
)

// stsAnswer is an answer of STS, of any operation, or its error.
type stsAnswer struct {
	status int
	body   string

	Error   struct{ Type, Code, Message string }
	Role    stsResult `xml:"AssumeRoleResult"`
	Session stsResult `xml:"GetSessionTokenResult"`
	Caller  stsResult `xml:"GetCallerIdentityResult"`
}

type stsResult struct {
	Arn, UserId, Account string
	AssumedRoleUser      struct{ Arn, AssumedRoleId string }
	Credentials          struct {
		AccessKeyId, SecretAccessKey, SessionToken string
		Expiration                                 time.Time
	}
}

// sts sends a request as clients of STS do: without a digest of its body.
func (d *door) sts(params ...string) stsAnswer {
	d.t.Helper()
	form := url.Values{"Version": {"2011-06-15"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := form.Encode()
	r, err := http.NewRequest("POST", d.server.URL+"/", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	if d.creds.AccessKeyID != "" {
		if err := v4.NewSigner().SignHTTP(context.Background(), d.creds, r, hex.EncodeToString(sum[:]), "sts", "us-east-1", time.Now()); err != nil {
			d.t.Fatal(err)
		}
	}
	return d.stsAnswer(r)
}

func (d *door) stsAnswer(r *http.Request) stsAnswer {
	d.t.Helper()
	resp, err := d.server.Client().Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	reply := d.read(resp)
	a := stsAnswer{status: reply.status, body: reply.body}
	if err := xml.Unmarshal([]byte(reply.body), &a); err != nil {
		d.t.Fatalf("%s: %v", reply.body, err)
	}
	if !strings.Contains(reply.body, `xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`) {
		d.t.Errorf("not in the namespace of STS: %s", reply.body)
	}
	return a
}

func (a stsAnswer) want(t *testing.T, what string, status int, code string) {
	t.Helper()
	if a.status != status || a.Error.Code != code || status < 500 && a.Error.Type != "Sender" {
		t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, code)
	}
}

func (d *door) in(r stsResult) *door {
	return d.as(r.Credentials.AccessKeyId, r.Credentials.SecretAccessKey, r.Credentials.SessionToken)
}

func TestTemporaryCredentials(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	u := d.user("alice", "readwrite")
	const role = "arn:aws:iam::000000000000:role/some/reader"
	onlyGet := statements(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`)

	if a := d.sts("Action", "GetCallerIdentity"); a.Caller.Arn != "arn:aws:iam::000000000000:root" || a.Caller.Account != "000000000000" || a.Caller.UserId != "000000000000" {
		t.Error(a.body)
	}
	if a := u.sts("Action", "GetCallerIdentity"); a.Caller.Arn != "arn:aws:iam::000000000000:user/alice" || !strings.HasPrefix(a.Caller.UserId, "COFUSR") {
		t.Error(a.body)
	}

	for name, who := range map[string]*door{"root": d, "alice": u} {
		before := time.Now()
		a := who.sts("Action", "GetSessionToken", "DurationSeconds", "900")
		if end := a.Session.Credentials.Expiration; a.status != 200 || end.Before(before.Add(890*time.Second)) || end.After(time.Now().Add(900*time.Second)) {
			t.Errorf("%s: %s", name, a.body)
		}
		in := d.in(a.Session)
		in.do("PUT", "/bucket/"+name, "y").ok(t, "put", 200)
		if b := in.sts("Action", "GetCallerIdentity"); b.Caller.Arn != who.sts("Action", "GetCallerIdentity").Caller.Arn {
			t.Error(b.body)
		}
		in.sts("Action", "GetSessionToken").want(t, "a session's session", 403, "AccessDenied")

		a = in.sts("Action", "AssumeRole", "RoleArn", role, "RoleSessionName", "s1", "Policy", onlyGet)
		if a.Role.AssumedRoleUser.Arn != "arn:aws:sts::000000000000:assumed-role/reader/s1" || !strings.HasSuffix(a.Role.AssumedRoleUser.AssumedRoleId, ":s1") {
			t.Errorf("%s: %s", name, a.body)
		}
		narrow := d.in(a.Role)
		again := narrow.sts("Action", "AssumeRole", "RoleArn", role, "RoleSessionName", "s2")
		if want := "User: " + a.Role.AssumedRoleUser.Arn + " is not authorized to perform: sts:AssumeRole on resource: " + role; again.status != 403 || again.Error.Code != "AccessDenied" || again.Error.Message != want {
			t.Errorf("%s: a role in a role: %s", name, again.body)
		}
		narrow.do("GET", "/bucket/k", "").ok(t, "get", 200)
		narrow.do("PUT", "/bucket/k", "y").want(t, "put", 403, "AccessDenied", "")
		narrow.do("GET", "/bucket", "").want(t, "list", 403, "AccessDenied", "")
		if b := narrow.sts("Action", "GetCallerIdentity"); b.Caller.Arn != a.Role.AssumedRoleUser.Arn || b.Caller.UserId != a.Role.AssumedRoleUser.AssumedRoleId {
			t.Error(b.body)
		}
		narrow.sts("Action", "AssumeRole", "RoleArn", role, "RoleSessionName", "s2").want(t, "a role's role", 403, "AccessDenied")
	}
}

func TestBadRequestsOfSTS(t *testing.T) {
	d := openDoor(t)
	const role = "arn:aws:iam::000000000000:role/reader"
	assume := func(params ...string) stsAnswer {
		t.Helper()
		return d.sts(append([]string{"Action", "AssumeRole", "RoleArn", role, "RoleSessionName", "s1"}, params...)...)
	}
	for _, c := range []struct {
		what   string
		a      stsAnswer
		status int
		code   string
	}{
		{"nothing wrong", assume(), 200, ""},
		{"another version", d.sts("Action", "GetCallerIdentity", "Version", "2012-01-01"), 400, "InvalidAction"},
		{"no action", d.sts(), 400, "MissingAction"},
		{"another action", d.sts("Action", "DecodeAuthorizationMessage"), 400, "InvalidAction"},
		{"no role", d.sts("Action", "AssumeRole", "RoleSessionName", "s1"), 400, "ValidationError"},
		{"no name", d.sts("Action", "AssumeRole", "RoleArn", role), 400, "ValidationError"},
		{"a bad name", assume("RoleSessionName", "a/b"), 400, "ValidationError"},
		{"a short name", assume("RoleSessionName", "a"), 400, "ValidationError"},
		{"another account's role", assume("RoleArn", "arn:aws:iam::111111111111:role/reader"), 403, "AccessDenied"},
		{"a user", assume("RoleArn", "arn:aws:iam::000000000000:user/reader"), 403, "AccessDenied"},
		{"a role without a name", assume("RoleArn", "arn:aws:iam::000000000000:role/"), 403, "AccessDenied"},
		{"too short", assume("DurationSeconds", "899"), 400, "ValidationError"},
		{"too long", assume("DurationSeconds", "43201"), 400, "ValidationError"},
		{"no number", assume("DurationSeconds", "x"), 400, "ValidationError"},
		{"a bad policy", assume("Policy", "{}"), 400, "MalformedPolicyDocument"},
		{"a long policy", assume("Policy", `{"Id":"`+strings.Repeat("x", 2048)+`"}`), 400, "ValidationError"},
		{"a managed policy", assume("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"), 400, "ValidationError"},
		{"session tags", assume("Tags.member.1.Key", "a"), 400, "ValidationError"},
		{"MFA", assume("SerialNumber", "123456789", "TokenCode", "123456"), 403, "AccessDenied"},
		{"too much", assume("Policy", strings.Repeat("x", maxSTSBytes)), 413, "RequestEntityTooLarge"},
		{"no signature", d.as("", "", "").sts("Action", "GetCallerIdentity"), 403, "MissingAuthenticationToken"},
		{"an unknown key", d.as("AKIDNOBODY", "x", "").sts("Action", "GetCallerIdentity"), 403, "InvalidClientTokenId"},
		{"another secret", d.as(testKeyID, "x", "").sts("Action", "GetCallerIdentity"), 403, "SignatureDoesNotMatch"},
		{"a bad token", d.as(testKeyID, testSecret, "x").sts("Action", "GetCallerIdentity"), 403, "InvalidClientTokenId"},
	} {
		if c.code == "" {
			if c.a.status != c.status {
				t.Errorf("%s: %s", c.what, c.a.body)
			}
			continue
		}
		c.a.want(t, c.what, c.status, c.code)
	}
	// What is signed is the body: another one has not been signed.
	r := d.request("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", "Content-Type", "application/x-www-form-urlencoded")
	if err := v4.NewSigner().SignHTTP(context.Background(), d.creds, r, hexSum("Action=Other"), "sts", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	r.Header.Del("X-Amz-Content-Sha256")
	d.stsAnswer(r).want(t, "another body", 403, "SignatureDoesNotMatch")
	// A user whom a policy denies it.
	u := d.user("alice", `{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"}`)
	u.sts("Action", "AssumeRole", "RoleArn", role, "RoleSessionName", "s1").want(t, "denied", 403, "AccessDenied")
	if a := u.sts("Action", "GetSessionToken"); a.status != 200 {
		t.Errorf("allowed: %s", a.body)
	}
}

// TestCallerIdentityByURL: some services have a client prove who it is by a
// presigned URL of GetCallerIdentity.
func TestCallerIdentityByURL(t *testing.T) {
	d := openDoor(t)
	r, err := http.NewRequest("GET", d.server.URL+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	link, _, err := v4.NewSigner().PresignHTTP(context.Background(), d.creds, r, hexSum(""), "sts", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r, err = http.NewRequest("GET", link, nil); err != nil {
		t.Fatal(err)
	}
	if a := d.stsAnswer(r); a.Caller.Arn != "arn:aws:iam::000000000000:root" {
		t.Error(a.body)
	}
}

func TestSessionsAreNotGivenOverPlainHTTP(t *testing.T) {
	d := openDoor(t)
	server := httptest.NewServer(d.server.Config.Handler)
	t.Cleanup(server.Close)
	plain := d.as(testKeyID, testSecret, "")
	plain.server = server
	plain.sts("Action", "GetSessionToken").want(t, "plain", 403, "AccessDenied")
	if a := plain.sts("Action", "GetCallerIdentity"); a.status != 200 {
		t.Error(a.body)
	}
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestSessionTokens(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	ctx := context.Background()
	u := d.user("alice", "readwrite")
	p, err := d.iam.UserPrincipal(u.creds.AccessKeyID)
	if err != nil {
		t.Fatal(err)
	}
	n, err := d.iam.BeginSession(ctx, p, iam.SessionRequest{
		KeyID: u.creds.AccessKeyID, Role: "r", Name: "s", Duration: time.Hour,
		Policy: statements(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	in := d.as(n.KeyID, n.Secret, n.Token)
	in.do("GET", "/bucket/k", "").ok(t, "get", 200)
	in.do("PUT", "/bucket/k", "y").want(t, "put", 403, "AccessDenied",
		`User: arn:aws:sts::000000000000:assumed-role/r/s is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::bucket/k" because no session policy allows the s3:PutObject action`)
	d.as(n.KeyID, n.Secret, "").do("GET", "/bucket/k", "").want(t, "without the token", 403, "InvalidAccessKeyId", "")
	d.as(n.KeyID, "other", n.Token).do("GET", "/bucket/k", "").want(t, "another secret", 403, "SignatureDoesNotMatch", "")
	d.as(u.creds.AccessKeyID, u.creds.SecretAccessKey, n.Token).do("GET", "/bucket/k", "").want(t, "another key's token", 400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	d.as(n.KeyID, n.Secret, "garbage").do("GET", "/bucket/k", "").want(t, "garbage", 400, "InvalidToken", "")
	url := in.link("GET", "/bucket/k", 3600)
	get := func() reply { return d.follow("GET", url, "") }
	get().ok(t, "presigned", 200)
	if err := d.iam.DisableUser(ctx, "alice", true); err != nil {
		t.Fatal(err)
	}
	get().want(t, "presigned, disabled", 400, "InvalidToken", "")
	u.do("GET", "/bucket/k", "").want(t, "disabled", 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", "AWSAccessKeyId", u.creds.AccessKeyID)
	if log := d.log.String(); strings.Contains(log, n.Token) || strings.Contains(log, n.Secret) || strings.Contains(log, u.creds.SecretAccessKey) {
		t.Error("a secret is in the log")
	}
}

func TestSessionsEnd(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	n, err := d.iam.BeginSession(context.Background(), iam.Root(), iam.SessionRequest{KeyID: testKeyID, Duration: -time.Second})
	if err != nil {
		t.Fatal(err)
	}
	d.as(n.KeyID, n.Secret, n.Token).do("GET", "/bucket", "").want(t, "ended", 400, "ExpiredToken", "The provided token has expired.")
}
