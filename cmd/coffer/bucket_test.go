package main

import (
	"os"
	"strings"
	"testing"
)

func TestBucketETagIsShownAndChosen(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.refused(exitNotRunning, []string{"bucket", "etag", "photos"}, "no store")
	h.ok("init")
	h.refused(exitNotRunning, []string{"bucket", "etag", "photos", "opaque"}, "no daemon", "coffer mount")

	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	for _, bucket := range []string{"photos", "letters"} {
		if err := os.Mkdir(dir+"/"+bucket, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	is := func(bucket, want string) {
		t.Helper()
		if out := h.ok("bucket", "etag", bucket); out != want+"\n" {
			t.Errorf("%s is %q, want %s", bucket, out, want)
		}
	}
	is("photos", "md5")
	store := h.path("store")
	h.env = append(h.env, "COFFER_STORE="+h.path("another"))
	if out := h.ok("bucket", "etag", "photos", "opaque", "--store", store); !strings.Contains(out, "photos") || !strings.Contains(out, "opaque") {
		t.Errorf("says %q", out)
	}
	h.env = append(h.env, "COFFER_STORE="+store)
	is("photos", "opaque")
	is("letters", "md5")
	for _, choose := range [][]string{nil, {"opaque"}, {"md5"}} {
		h.refused(exitFailed, append([]string{"bucket", "etag", "none"}, choose...), `there is no bucket "none"`, "mkdir")
	}
	h.ok("umount", dir)

	h.ok("mount", "--read-only", dir)
	is("photos", "opaque")
	h.refused(exitFailed, []string{"bucket", "etag", "photos", "md5"}, "read-only")
	is("photos", "opaque")
	h.ok("umount", dir)

	h.ok("mount", dir)
	is("photos", "opaque")
	h.ok("bucket", "etag", "photos", "md5")
	is("photos", "md5")
	h.ok("umount", dir)
}

func TestBucketLifecycleIsCarriedOut(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.ok("init")
	h.refused(exitNotRunning, []string{"bucket", "lifecycle"}, "no daemon", "coffer mount")
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	if err := os.Mkdir(dir+"/photos", 0o755); err != nil {
		t.Fatal(err)
	}
	if out := h.ok("bucket", "lifecycle"); !strings.Contains(out, "0 buckets with rules") {
		t.Errorf("says %q", out)
	}
	if out := h.ok("bucket", "lifecycle", "--json"); !strings.HasPrefix(out, "{\n  \"buckets\": 0,") {
		t.Errorf("says %q", out)
	}
	h.refused(exitUsage, []string{"bucket", "lifecycle", "photos"}, "no arguments")
	h.ok("umount", dir)
	h.ok("mount", "--read-only", dir)
	h.refused(exitFailed, []string{"bucket", "lifecycle"}, "read-only")
	h.ok("umount", dir)
}
