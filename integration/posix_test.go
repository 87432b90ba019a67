package integration

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// impossible are the tests of posixtest.All that no POSIX file system passes,
// with the reason.
var impossible = map[string]string{
	"FcntlFlockLocksFile": "it wants fcntl(F_SETLK) to refuse the process that holds the lock; POSIX fcntl says that it replaces it, " +
		"ext4 and tmpfs fail this test too, and posixtest's own TestAll leaves it out",
}

func TestPOSIX(t *testing.T) {
	NeedFUSE(t)
	for _, cache := range []string{"writeback", "through"} {
		t.Run(cache, func(t *testing.T) {
			h := NewHouse(t)
			mnt := h.Mount("--cache=" + cache)
			if got := h.Status().Mounts[0].Cache; got != cache {
				t.Fatalf("the mount's cache is %q", got)
			}
			if err := os.Mkdir(filepath.Join(mnt, "posix"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
				t.Run(name, func(t *testing.T) {
					if why, ok := impossible[name]; ok {
						t.Skip(why)
					}
					dir := filepath.Join(mnt, "posix", name)
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					posixtest.All[name](t, dir)
				})
			}
			h.Umount()
		})
	}
}
