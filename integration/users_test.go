package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// as is aws-cli with other credentials; a session has a token.
func (a *AWS) as(id, secret, token string) *AWS {
	other := *a
	other.env = append(append([]string(nil), a.env...), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret)
	if token != "" {
		other.env = append(other.env, "AWS_SESSION_TOKEN="+token)
	}
	return &other
}

// newKey runs a command of coffer that makes an access key.
func (h *House) newKey(args ...string) (id, secret string) {
	h.t.Helper()
	var k struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	if err := json.Unmarshal([]byte(h.OK(append(args, "--json")...)), &k); err != nil || k.ID == "" || k.Secret == "" {
		h.t.Fatalf("coffer %v: %v", args, err)
	}
	return k.ID, k.Secret
}

// refused runs aws-cli and fails the test unless it is refused with code.
func (a *AWS) refused(code string, args ...string) {
	a.h.t.Helper()
	if r := a.Run(args...); r.Code == 0 || !strings.Contains(r.Stderr, code) {
		a.h.t.Errorf("aws %s: %v, want %s", strings.Join(args, " "), r, code)
	}
}

// TestBackupUserWithAWSCLI: one who may write new objects and no others, in one
// request and in parts, with effect on the running daemon.
func TestBackupUserWithAWSCLI(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	root := h.NewAWS()
	root.OK("s3", "mb", "s3://backups")
	root.OK("s3", "mb", "s3://private")
	small, large := content(1, 100_000), content(2, 20<<20)
	src := map[string]string{"small": h.writeFile("small", small), "large": h.writeFile("large", large)}
	other := h.writeFile("other", content(3, 1000))
	id, secret := h.newKey("user", "add", "laptop", "--policy", "backup", "--bucket", "backups")
	user := root.as(id, secret, "")
	back := h.Path("back")
	for key, path := range src {
		user.OK("s3", "cp", "--no-progress", path, "s3://backups/"+key)
		user.OK("s3", "cp", "--no-progress", "s3://backups/"+key, back)
		mustHold(t, back, map[string][]byte{"small": small, "large": large}[key])
		user.refused("AccessDenied", "s3", "cp", "--no-progress", other, "s3://backups/"+key)
		user.refused("AccessDenied", "s3", "cp", "--no-progress", src["large"], "s3://backups/"+key)
		user.refused("AccessDenied", "s3", "rm", "s3://backups/"+key)
		user.refused("AccessDenied", "s3", "mv", "s3://backups/"+key, "s3://backups/moved-"+key)
		mustHold(t, filepath.Join(mnt, "backups", key), map[string][]byte{"small": small, "large": large}[key])
	}
	if out := user.OK("s3", "ls", "s3://backups"); !strings.Contains(out, "small") || !strings.Contains(out, "large") {
		t.Errorf("lists %q", out)
	}
	h.Mkdir("dir")
	// Listings tell whole seconds, so that a file of this very second looks newer
	// than its copy.
	earlier := time.Now().Add(-time.Minute)
	if err := os.Chtimes(h.writeFile("dir/file", small), earlier, earlier); err != nil {
		t.Fatal(err)
	}
	user.OK("s3", "sync", "--no-progress", h.Path("dir"), "s3://backups/sync")
	user.OK("s3", "sync", "--no-progress", h.Path("dir"), "s3://backups/sync") // nothing to do
	user.refused("AccessDenied", "s3", "cp", "--no-progress", src["small"], "s3://private/k")
	user.refused("AccessDenied", "s3", "ls", "s3://private")
	user.refused("AccessDenied", "s3api", "put-bucket-versioning", "--bucket", "backups", "--versioning-configuration", "Status=Enabled")

	h.OK("user", "disable", "laptop")
	user.refused("InvalidAccessKeyId", "s3", "ls", "s3://backups")
	h.OK("user", "enable", "laptop")
	h.OK("user", "policy", "set", "laptop", "readonly")
	user.OK("s3", "ls", "s3://private")
	user.refused("AccessDenied", "s3", "cp", "--no-progress", other, "s3://backups/new")

	h.Umount()
	next, nextSecret := h.newKey("user", "key", "rotate", "laptop") // while no daemon runs
	h.Mount()
	root = h.NewAWS()
	root.as(id, secret, "").refused("InvalidAccessKeyId", "s3", "ls", "s3://backups")
	root.as(next, nextSecret, "").OK("s3", "ls", "s3://backups")
	if logs := h.Logs(); strings.Contains(logs, secret) || strings.Contains(logs, nextSecret) {
		t.Error("a secret is in the log")
	}
	h.Umount()
}

// TestResticThatCannotSpoilItsBackups uses the policy of docs/access.md: restic
// removes its locks, and nothing else.
func TestResticThatCannotSpoilItsBackups(t *testing.T) {
	t.Parallel()
	restic := need(t, "restic", "restic")
	h := NewHouse(t)
	h.Mount()
	root := h.NewAWS()
	root.OK("s3", "mb", "s3://backups")
	doc, err := os.ReadFile("../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	_, policy, _ := strings.Cut(string(doc), "need an Allow for those:\n")
	policy, _, _ = strings.Cut(policy, "\n\nRenaming")
	id, secret := h.newKey("user", "add", "laptop", "--policy", h.writeFile("append-only.json", []byte(policy)))
	env := h.Env()
	run := func(id, secret string, args ...string) Result {
		return h.Exec([]string{"AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret, "RESTIC_PASSWORD=x"}, restic,
			append([]string{"--cacert", env["AWS_CA_BUNDLE"], "-r", "s3:" + env["AWS_ENDPOINT_URL"] + "/backups", "--no-cache"}, args...)...)
	}
	laptop := func(args ...string) Result { return run(id, secret, args...) }
	h.writeFile("data/a", content(1, 300_000))
	for _, args := range [][]string{{"init"}, {"backup", h.Path("data")}, {"backup", h.Path("data")}, {"check", "--read-data"}} {
		if r := laptop(args...); r.Code != 0 {
			t.Fatalf("restic %v: %v", args, r)
		}
	}
	if locks := root.JSON("s3api", "list-objects-v2", "--bucket", "backups", "--prefix", "locks/")["Contents"]; locks != nil {
		t.Errorf("locks were left behind: %v", locks)
	}
	if r := laptop("forget", "--prune", "--keep-last", "1"); r.Code == 0 {
		t.Errorf("a snapshot was forgotten: %v", r)
	}
	owner := func(args ...string) Result {
		return run(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], args...)
	}
	if r := owner("check", "--read-data"); r.Code != 0 {
		t.Errorf("check: %v", r)
	}
	if r := owner("snapshots"); r.Code != 0 || !strings.Contains(r.Stdout, "2 snapshots") {
		t.Errorf("snapshots: %v", r)
	}
	if r := owner("forget", "--prune", "--keep-last", "1"); r.Code != 0 {
		t.Errorf("by the owner: %v", r)
	}
	h.Umount()
}

// TestBucketPolicyWithAWSCLI: one that denies uploads that do not ask for
// encryption, or ask for another algorithm than AES256 with their key, before
// anything else is looked at; and one that is public.
func TestBucketPolicyWithAWSCLI(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	h.Mount()
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://vault")
	file := h.writeFile("file", content(1, 1000))
	put := []string{"s3api", "put-object", "--bucket", "vault", "--key", "k", "--body", file}
	with := func(args ...string) []string { return append(append([]string(nil), put...), args...) }
	policy := func(statements string) {
		t.Helper()
		path := h.writeFile("policy.json", []byte(`{"Version":"2012-10-17","Statement":[`+statements+`]}`))
		aws.OK("s3api", "put-bucket-policy", "--bucket", "vault", "--policy", "file://"+path)
	}
	policy(`{"Sid":"NoEncryption","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::vault/*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}}`)
	aws.refused("AccessDenied", put...)
	aws.refused("AccessDenied", "s3", "cp", "--no-progress", file, "s3://vault/k")
	aws.OK(with("--server-side-encryption", "AES256")...)
	aws.OK("s3", "cp", "--no-progress", "--sse", "AES256", file, "s3://vault/k")

	policy(`{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::vault/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-customer-algorithm":"AES256"}}}`)
	key := strings.Repeat("k", 32)
	aws.refused("AccessDenied", with("--sse-customer-algorithm", "AES192", "--sse-customer-key", key)...)
	aws.refused("AccessDenied", put...)
	aws.OK(with("--sse-customer-algorithm", "AES256", "--sse-customer-key", key)...)

	if got := aws.JSON("s3api", "get-bucket-policy-status", "--bucket", "vault")["PolicyStatus"].(map[string]any)["IsPublic"]; got != false {
		t.Errorf("public: %v", got)
	}
	if got := aws.JSON("s3api", "get-bucket-policy", "--bucket", "vault")["Policy"]; !strings.Contains(got.(string), "StringNotEquals") {
		t.Errorf("the policy is %v", got)
	}
	aws.OK("s3api", "delete-bucket-policy", "--bucket", "vault")
	aws.refused("NoSuchBucketPolicy", "s3api", "get-bucket-policy", "--bucket", "vault")

	public := `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::vault/*"}`
	path := h.writeFile("policy.json", []byte(`{"Version":"2012-10-17","Statement":[`+public+`]}`))
	aws.refused("AccessDenied", "s3api", "put-bucket-policy", "--bucket", "vault", "--policy", "file://"+path)
	aws.OK("s3api", "delete-public-access-block", "--bucket", "vault")
	policy(public)
	aws.OK("s3", "cp", "--no-progress", file, "s3://vault/open")
	back := h.Path("back")
	aws.OK("--no-sign-request", "s3", "cp", "--no-progress", "s3://vault/open", back)
	mustHold(t, back, content(1, 1000))
	aws.refused("AccessDenied", "--no-sign-request", "s3", "ls", "s3://vault")
	aws.refused("AccessDenied", "--no-sign-request", "s3", "rm", "s3://vault/open")
	h.Umount()
}

// TestTemporaryCredentialsWithAWSCLI: aws sts at the same endpoint, and what it
// gives used for S3, until the user is disabled.
func TestTemporaryCredentialsWithAWSCLI(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	h.Mount()
	root := h.NewAWS()
	root.OK("s3", "mb", "s3://photos")
	file := h.writeFile("file", content(1, 1000))
	root.OK("s3", "cp", "--no-progress", file, "s3://photos/a")
	id, secret := h.newKey("user", "add", "alice", "--policy", "readwrite")
	alice := root.as(id, secret, "")
	if got := alice.JSON("sts", "get-caller-identity")["Arn"]; got != "arn:aws:iam::000000000000:user/alice" {
		t.Errorf("alice is %v", got)
	}
	session := func(answer map[string]any) *AWS {
		t.Helper()
		c := answer["Credentials"].(map[string]any)
		if end, err := time.Parse(time.RFC3339, c["Expiration"].(string)); err != nil || time.Until(end) > time.Hour {
			t.Errorf("ends at %v: %v", c["Expiration"], err)
		}
		return root.as(c["AccessKeyId"].(string), c["SecretAccessKey"].(string), c["SessionToken"].(string))
	}
	plain := session(alice.JSON("sts", "get-session-token", "--duration-seconds", "900"))
	plain.OK("s3", "cp", "--no-progress", file, "s3://photos/b")
	narrow := session(alice.JSON("sts", "assume-role", "--role-arn", "arn:aws:iam::000000000000:role/reader", "--role-session-name", "s1",
		"--policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}]}`))
	if got := narrow.JSON("sts", "get-caller-identity")["Arn"]; got != "arn:aws:sts::000000000000:assumed-role/reader/s1" {
		t.Errorf("the session is %v", got)
	}
	narrow.OK("s3", "cp", "--no-progress", "s3://photos/a", h.Path("back"))
	narrow.refused("AccessDenied", "s3", "cp", "--no-progress", file, "s3://photos/c")
	url := strings.TrimSpace(narrow.OK("s3", "presign", "s3://photos/a"))
	curl := func() Result {
		return h.Exec(nil, "curl", "-sS", "--cacert", h.Env()["AWS_CA_BUNDLE"], url)
	}
	if r := curl(); r.Stdout != string(content(1, 1000)) {
		t.Errorf("by the presigned URL: %v", r)
	}
	root.as(id, secret, "nonsense").refused("InvalidToken", "s3", "ls", "s3://photos")

	h.OK("user", "disable", "alice")
	for what, a := range map[string]*AWS{"plain": plain, "narrow": narrow} {
		if r := a.Run("s3", "ls", "s3://photos"); r.Code == 0 || !strings.Contains(r.Stderr, "InvalidToken") {
			t.Errorf("%s, of a user who is disabled: %v", what, r)
		}
	}
	if r := curl(); !strings.Contains(r.Stdout, "InvalidToken") {
		t.Errorf("by the presigned URL, of a user who is disabled: %v", r)
	}
	logs := h.Logs()
	for _, a := range []*AWS{plain, narrow} {
		for _, v := range a.env {
			name, value, _ := strings.Cut(v, "=")
			if (name == "AWS_SESSION_TOKEN" || name == "AWS_SECRET_ACCESS_KEY") && strings.Contains(logs, value) {
				t.Errorf("%s is in the log", name)
			}
		}
	}
	h.Umount()
}
