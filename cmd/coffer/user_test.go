package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func (h *house) users() map[string]objstore.User {
	h.t.Helper()
	var list []objstore.User
	if err := json.Unmarshal([]byte(h.ok("user", "list", "--json")), &list); err != nil {
		h.t.Fatal(err)
	}
	names := map[string]objstore.User{}
	for _, u := range list {
		names[u.Name] = u
	}
	return names
}

// newKey runs the program and returns the key that it shows.
func (h *house) newKey(args ...string) objstore.NewAccessKey {
	h.t.Helper()
	var k objstore.NewAccessKey
	if err := json.Unmarshal([]byte(h.ok(append(args, "--json")...)), &k); err != nil {
		h.t.Fatal(err)
	}
	if len(k.ID) != 20 || len(k.Secret) != 40 {
		h.t.Errorf("key %q with a secret of %d characters", k.ID, len(k.Secret))
	}
	return k
}

func TestUsersAreManaged(t *testing.T) {
	needFUSE(t)
	for _, daemon := range []bool{true, false} {
		name := "WithoutADaemon"
		if daemon {
			name = "ThroughADaemon"
		}
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.refused(exitFailed, []string{"user", "list"}, "no store")
			h.ok("init")
			if daemon {
				dir := h.mkdir("mnt")
				h.ok("mount", dir)
				defer h.ok("umount", dir)
			}
			userLife(h, daemon)
		})
	}
}

func userLife(h *house, daemon bool) {
	t := h.t
	if out := h.ok("user", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("no users are %q", out)
	}
	alice := h.newKey("user", "add", "alice", "--policy", "backup", "--bucket", "photos")
	r := h.coffer("user", "add", "bob")
	if r.code != 0 || !strings.Contains(r.stdout, "aws_access_key_id = COFFER") || !strings.Contains(r.stdout, "aws_secret_access_key = ") || !strings.Contains(r.stderr, "once") {
		t.Errorf("%+v", r)
	}
	h.says([]string{"user", "list"}, "alice", "backup(photos)", "enabled", "bob")
	u := h.users()["alice"]
	if len(u.Keys) != 1 || u.Keys[0].ID != alice.ID || u.ARN != "arn:aws:iam::000000000000:user/alice" || u.Disabled {
		t.Errorf("%+v", u)
	}
	h.says([]string{"user", "policy", "show", "alice"}, "backup(photos)", `"Effect": "Deny"`, "arn:aws:s3:::photos/*")

	second := h.newKey("user", "key", "add", "alice")
	h.says([]string{"user", "key", "list", "alice"}, alice.ID, second.ID)
	if r := h.coffer("user", "key", "rotate", "alice"); r.code != exitFailed || !strings.Contains(r.stderr, "say which one\nhint: coffer user key list") {
		t.Errorf("%+v", r)
	}
	third := h.newKey("user", "key", "rotate", "alice", alice.ID)
	h.ok("user", "key", "remove", "alice", second.ID)
	if u := h.users()["alice"]; len(u.Keys) != 1 || u.Keys[0].ID != third.ID {
		t.Errorf("%+v", u.Keys)
	}
	h.says([]string{"user", "disable", "alice"}, "alice is disabled")
	if !h.users()["alice"].Disabled {
		t.Error("not disabled")
	}
	h.ok("user", "enable", "alice")

	own := h.write("own.json", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`)
	h.says([]string{"user", "policy", "set", "alice", own, "readonly"}, "own readonly")
	h.says([]string{"user", "policy", "show", "alice"}, "s3:GetObject", "s3:ListAllMyBuckets")
	bad := h.write("bad.json", `{"Statement":[]}`)
	h.write("principal.json", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}`)
	before := h.ok("user", "list", "--json")
	for _, c := range []struct {
		code  int
		args  []string
		words []string
	}{
		{exitFailed, []string{"user", "add", "alice"}, []string{"already", "user key add"}},
		{exitFailed, []string{"user", "add", "a/b"}, []string{"letters"}},
		{exitFailed, []string{"user", "remove", "nobody"}, []string{"no such user", "user list"}},
		{exitFailed, []string{"user", "key", "remove", "alice", second.ID}, []string{"no access key", "user key list"}},
		{exitFailed, []string{"user", "policy", "set", "alice", bad}, []string{"Statement is empty"}},
		{exitFailed, []string{"user", "policy", "set", "alice", h.path("principal.json")}, []string{"principal"}},
		{exitUsage, []string{"user", "policy", "set", "alice", "everything"}, []string{"readonly"}},
		{exitUsage, []string{"user", "policy", "set", "alice", own, "--bucket", "photos"}, []string{"--bucket"}},
		{exitUsage, []string{"user", "policy", "set", "alice"}, []string{"policy"}},
		{exitUsage, []string{"user", "add"}, []string{"name"}},
		{exitUsage, []string{"user", "add", "x", "y"}, []string{"too many"}},
		{exitUsage, []string{"user", "key", "remove", "alice"}, []string{"access key id"}},
		{exitUsage, []string{"user", "promote", "alice"}, []string{"no command"}},
	} {
		r := h.coffer(c.args...)
		if r.code != c.code || r.stdout != "" {
			t.Errorf("coffer %q: %+v", c.args, r)
		}
		for _, w := range c.words {
			if !strings.Contains(r.stderr, w) {
				t.Errorf("coffer %q does not say %q: %s", c.args, w, r.stderr)
			}
		}
	}
	if after := h.ok("user", "list", "--json"); after != before {
		t.Errorf("what was refused changed something:\n%s\n%s", before, after)
	}
	h.says([]string{"user", "policy", "remove", "alice"}, "no policies")
	h.says([]string{"user", "remove", "alice"}, "removed")
	if _, ok := h.users()["alice"]; ok {
		t.Error("alice is still there")
	}

	// No secret is where it does not belong.
	logs, _ := filepath.Glob(h.path("state/coffer/*.log"))
	if daemon && len(logs) == 0 {
		t.Error("no log")
	}
	for _, l := range logs {
		text, _ := os.ReadFile(l)
		for _, k := range []objstore.NewAccessKey{alice, second, third} {
			if strings.Contains(string(text), k.Secret) {
				t.Errorf("%s holds a secret", l)
			}
		}
		if !strings.Contains(string(text), third.ID) {
			t.Errorf("%s does not tell of the key", l)
		}
	}
}
