package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFsckNamesWhatIsDamaged, with a daemon and without one, and changes nothing.
func TestFsckNamesWhatIsDamaged(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.refused(exitFailed, []string{"fsck"}, "no store")
	h.refused(exitUsage, []string{"fsck", "photos"}, "takes no argument")
	h.ok("init")
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	noise := make([]byte, 2<<20)
	rand.Read(noise)
	must(os.MkdirAll(dir+"/photos/far away", 0o755))
	must(os.WriteFile(dir+"/photos/far away/big\x1b[1m", noise, 0o600))
	must(os.WriteFile(dir+"/photos/small", []byte("small"), 0o600))
	whole := func(out string) {
		t.Helper()
		if !strings.HasPrefix(out, "1 bucket, 1 directory, 2 files, 0 older versions, 0 parts: 2.0 MiB read and authentic, 0 damaged\n") {
			t.Errorf("says %q", out)
		}
	}
	h.ok("umount", dir)
	whole(h.ok("fsck"))
	h.ok("mount", dir)
	whole(h.ok("fsck"))
	h.refused(exitFailed, []string{"fsck", "--sse-c-key", h.path("none")}, "does not exist")
	h.ok("umount", dir)

	segments, err := filepath.Glob(h.path("store") + "/data/*")
	must(err)
	spoilt := 0
	for _, name := range segments {
		b, err := os.ReadFile(name)
		must(err)
		if len(b) < 1<<18 {
			continue
		}
		spoilt++
		b[len(b)/2] ^= 1
		must(os.WriteFile(name, b, 0o600))
	}
	if spoilt == 0 {
		t.Fatal("no segment holds the large file")
	}
	damaged := func() {
		t.Helper()
		r := h.coffer("fsck")
		if r.code != exitDamaged || !strings.Contains(r.stdout, `DAMAGED "photos/far away/big\x1b[1m": `) || !strings.Contains(r.stdout, "1 damaged\n") {
			t.Errorf("exit code %d, says %q", r.code, r.stdout)
		}
		r = h.coffer("fsck", "--json")
		var answer struct {
			Files, Damaged int
			Damage         []struct{ Path, Error string }
		}
		must(json.Unmarshal([]byte(r.stdout), &answer))
		if r.code != exitDamaged || answer.Files != 2 || answer.Damaged != 1 || len(answer.Damage) != 1 || answer.Damage[0].Path != "photos/far away/big\x1b[1m" || answer.Damage[0].Error == "" {
			t.Errorf("exit code %d, %s", r.code, r.stdout)
		}
	}
	damaged()
	h.refused(exitDamaged, []string{"fsck"}, "1 thing cannot be read")
	h.ok("mount", dir)
	damaged()
	if b, err := os.ReadFile(dir + "/photos/small"); err != nil || !slices.Equal(b, []byte("small")) {
		t.Errorf("reads %q, %v", b, err)
	}
	if b, err := os.ReadFile(dir + "/photos/far away/big\x1b[1m"); err == nil {
		t.Errorf("the damaged file is read, as it was: %v", bytes.Equal(b, noise))
	}
	h.ok("umount", dir)
}
