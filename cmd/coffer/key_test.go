package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/mount"
)

// keys are what `key list --json` says, by name.
func (h *house) keys() map[string]mount.KeyInfo {
	h.t.Helper()
	var list []mount.KeyInfo
	if err := json.Unmarshal([]byte(h.ok("key", "list", "--json")), &list); err != nil {
		h.t.Fatal(err)
	}
	names := map[string]mount.KeyInfo{}
	for i, k := range list {
		if i > 0 && k.Name <= list[i-1].Name {
			h.t.Errorf("not in the order of names: %+v", list)
		}
		names[k.Name] = k
	}
	return names
}

// says runs the program and fails the test unless it prints every one of words.
func (h *house) says(args []string, words ...string) {
	h.t.Helper()
	out := h.ok(args...)
	for _, w := range words {
		if !strings.Contains(out, w) {
			h.t.Errorf("coffer %s: does not say %q:\n%s", strings.Join(args, " "), w, out)
		}
	}
}

// TestKeysAreManaged: with a daemon and without one.
func TestKeysAreManaged(t *testing.T) {
	needFUSE(t)
	for _, daemon := range []bool{true, false} {
		name := "WithoutADaemon"
		if daemon {
			name = "ThroughADaemon"
		}
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.ok("init")
			if daemon {
				dir := h.mkdir("mnt")
				h.ok("mount", dir)
				defer h.ok("umount", dir)
			}
			keyLife(h, daemon)
		})
	}
}

func keyLife(h *house, daemon bool) {
	t := h.t
	const arn = "arn:aws:kms:us-east-1:000000000000:key/photos"
	if out := h.ok("key", "create", "photos", "--alias", "holidays", "--alias", "alias/holidays/2026"); out != arn+"\n" {
		t.Errorf("create says %q", out)
	}
	h.refused(exitFailed, []string{"key", "create", "photos"}, `"photos"`, "already")
	h.refused(exitFailed, []string{"key", "create", "other", "--alias", "holidays"}, "already")
	h.refused(exitFailed, []string{"key", "create", "a/b"}, `"a/b"`, "letters")
	h.refused(exitFailed, []string{"key", "create", "aws-x"}, "coffer makes itself")
	h.refused(exitFailed, []string{"key", "create", "x", "--alias", "a b"}, "alias")

	keys := h.keys()
	k := keys["photos"]
	if len(keys) != 3 || k.ARN != arn || k.State != "enabled" || k.Use != "objects" || k.Version != 1 ||
		!slices.Equal(k.Aliases, []string{"alias/holidays", "alias/holidays/2026"}) || time.Since(k.Created).Abs() > time.Hour || !k.DeleteAt.IsZero() {
		t.Errorf("listed as %+v", keys)
	}
	if keys["store"].Use != "store" || keys["sse-s3"].Use != "store" {
		t.Errorf("the store's own: %+v", keys)
	}
	if counted := k.DataKeys != nil && *keys["sse-s3"].DataKeys > 0; counted != daemon {
		t.Errorf("data keys are counted: %v", counted)
	}
	h.says([]string{"key", "list"}, "NAME", "photos", "enabled", "alias/holidays/2026", "sse-s3")
	for _, ref := range []string{"photos", "alias/holidays", arn, "arn:aws:kms:us-east-1:000000000000:alias/holidays/2026"} {
		h.says([]string{"key", "show", ref}, "name       photos\n", "arn        "+arn+"\n", "state      enabled\n", "version    1\n")
		var one mount.KeyInfo
		if err := json.Unmarshal([]byte(h.ok("key", "show", "--json", ref)), &one); err != nil || one.Name != "photos" {
			t.Errorf("%s: %+v, %v", ref, one, err)
		}
	}
	for _, ref := range []string{"none", "alias/none", "alias/aws/s3", "arn:aws:kms:eu-west-1:000000000000:key/photos", "a b"} {
		h.refused(exitFailed, []string{"key", "show", ref}, "there is no key", ref)
	}

	h.says([]string{"key", "disable", "photos"}, "disabled", "coffer key enable")
	h.ok("key", "disable", "photos")
	if s := h.keys()["photos"].State; s != "disabled" {
		t.Error(s)
	}
	h.refused(exitFailed, []string{"key", "rotate", "photos"}, "disabled", "coffer key enable")
	h.ok("key", "enable", "alias/holidays")
	h.says([]string{"key", "rotate", "photos"}, "version 2")
	if k := h.keys()["photos"]; k.State != "enabled" || k.Version != 2 {
		t.Errorf("%+v", k)
	}
	for _, own := range []string{"store", "sse-s3"} {
		h.says([]string{"key", "rotate", own}, "version 2")
		h.refused(exitFailed, []string{"key", "disable", own}, "cannot be disabled", "key file")
		h.refused(exitFailed, []string{"key", "delete", own}, "cannot be deleted", "key file")
	}

	h.refused(exitUsage, []string{"key", "delete", "photos", "--pending-days", "6"}, "7 to 30")
	h.refused(exitUsage, []string{"key", "delete", "photos", "--pending-days", "31"}, "7 to 30")
	h.refused(exitFailed, []string{"key", "cancel-delete", "photos"}, "does not wait")
	h.says([]string{"key", "delete", "photos"}, "locked", "lost", "coffer key cancel-delete photos")
	in := func(days int) {
		t.Helper()
		k := h.keys()["photos"]
		left := time.Until(k.DeleteAt) - time.Duration(days)*24*time.Hour
		if k.State != "pending-deletion" || left.Abs() > time.Hour {
			t.Errorf("%+v, want deletion in %d days", k, days)
		}
	}
	in(30)
	h.ok("key", "delete", "photos", "--pending-days=7")
	in(7)
	h.says([]string{"key", "list"}, "deleted on "+h.keys()["photos"].DeleteAt.Local().Format("2006-01-02"))
	h.refused(exitFailed, []string{"key", "enable", "photos"}, "waits for its deletion", "cancel-delete")
	h.says([]string{"key", "cancel-delete", "photos"}, "will not be deleted", "disabled")
	if k := h.keys()["photos"]; k.State != "disabled" || !k.DeleteAt.IsZero() {
		t.Errorf("%+v", k)
	}
	h.ok("key", "enable", "photos")

	for _, args := range [][]string{{"show"}, {"create"}, {"rotate", "a", "b"}, {"list", "x"}, {"none"}, {"delete", "--pending-days", "soon", "photos"}} {
		h.refused(exitUsage, append([]string{"key"}, args...))
	}
	h.says([]string{"key"}, "create", "cancel-delete", "rotate")
}

func TestKeysWithoutADaemonNeedWhatOpensTheStore(t *testing.T) {
	h := newHouse(t)
	h.refused(exitFailed, []string{"key", "list"}, "no store")
	pass := h.write("pass", "correct horse\n")
	h.ok("init", "--passphrase-file", pass)
	h.refused(exitFailed, []string{"key", "list"}, "passphrase")
	h.refused(exitFailed, []string{"key", "create", "k", "--passphrase-file", h.write("wrong", "battery\n")}, "does not open the store")
	h.ok("key", "create", "k", "--passphrase-file", pass)
	h.says([]string{"key", "list", "--passphrase-file", pass}, "k ")
}

// TestRotationsOfClosedStoresAreFinished: without a daemon the keystore alone is
// changed; the next daemon moves the data keys.
func TestRotationsOfClosedStoresAreFinished(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	h.ok("umount", dir)
	for range 2 {
		h.says([]string{"key", "rotate", "sse-s3"}, "when the store is opened next")
		h.ok("key", "rotate", "store")
	}
	h.ok("mount", dir)
	deadline := time.Now().Add(patience)
	for !strings.Contains(h.log(), "data keys moved to the newest version") {
		if time.Now().After(deadline) {
			t.Fatalf("never moved:\n%s", h.log())
		}
		time.Sleep(5 * time.Millisecond)
	}
	h.ok("umount", dir)
	h.ok("mount", dir)
	h.ok("umount", dir)
}

func TestReadOnlyDaemonChangesNoKeys(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.ok("init")
	dir := h.mkdir("mnt")
	h.ok("mount", "--read-only", dir)
	h.ok("key", "list")
	for _, args := range [][]string{{"create", "k"}, {"rotate", "sse-s3"}, {"delete", "store"}} {
		h.refused(exitFailed, append([]string{"key"}, args...), "read-only")
	}
	h.ok("umount", dir)
}
