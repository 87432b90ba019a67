package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFsckReadsWhatItHasTheKeysOf, and says what it has not: beside a daemon and
// without one.
func TestFsckReadsWhatItHasTheKeysOf(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://box")
	one, two := h.newCustomerKey(1), h.newCustomerKey(2)
	one.put(aws, "s3://box/one", content(3, 3<<10))
	two.put(aws, "s3://box/two", content(4, 20<<20)) // in parts
	if err := os.WriteFile(filepath.Join(mnt, "box/plain"), content(5, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	h.OK("key", "create", "holidays")
	aws.OK("s3", "cp", "--no-progress", h.writeFile("kms", content(6, 1<<20)), "s3://box/kms", "--sse", "aws:kms", "--sse-kms-key-id", "holidays")

	says := func(flags []string, words ...string) {
		t.Helper()
		out := h.OK(append([]string{"fsck"}, flags...)...)
		for _, w := range append(words, "4 files", " 0 damaged") {
			if !strings.Contains(out, w) {
				t.Errorf("fsck %q does not say %q: %s", flags, w, out)
			}
		}
		if strings.Count(out, "not read") != strings.Count(strings.Join(words, ""), "not read") {
			t.Errorf("fsck %q: %s", flags, out)
		}
	}
	for _, daemon := range []bool{true, false} {
		says(nil, "2.0 MiB read", "not read: 2 contents under customers' keys")
		says([]string{"--sse-c-key", two.file}, "22.0 MiB read", "not read: 1 content under customers' keys")
		says([]string{"--sse-c-key", one.file, "--sse-c-key", two.file}, "22.0 MiB read")
		h.OK("key", "disable", "holidays")
		says([]string{"--sse-c-key", one.file, "--sse-c-key", two.file}, "21.0 MiB read", "not read: 1 content under keys that are disabled")
		h.OK("key", "enable", "holidays")
		if daemon {
			h.OK("umount", mnt)
		}
	}
}
