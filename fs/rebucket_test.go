package fs

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// TestMountShowsTheBucketThatWasMadeAgain: whoever mounts a bucket means its name.
func TestMountShowsTheBucketThatWasMadeAgain(t *testing.T) {
	for _, o := range []Options{{Bucket: testBucket}, {Bucket: testBucket, Writeback: true}} {
		m := mountBucket(t, o)
		if _, err := os.Stat(m.path("key")); !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		write(t, m.path("file"), "old")
		if err := os.Remove(m.path("file")); err != nil {
			t.Fatal(err)
		}
		if err := m.store.DeleteBucket(t.Context(), s3, testBucket); err != nil {
			t.Fatal(err)
		}
		if err := m.store.WaitWatchers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadDir(m.dir); !errors.Is(err, syscall.ESTALE) || !m.m.BucketGone() {
			t.Errorf("removed: %v", err)
		}
		if _, err := m.store.CreateBucket(t.Context(), s3, objstore.CreateBucketRequest{Name: testBucket, Mode: 0o777}); err != nil {
			t.Fatal(err)
		}
		m.put(t, "key", "new")
		m.put(t, "file", "new")
		wantContent(t, m.path("key"), "new")
		wantContent(t, m.path("file"), "new")
		write(t, m.path("mine"), "mine")
		if got := m.get(t, "mine"); string(got) != "mine" {
			t.Errorf("S3 has %q", got)
		}
		if names, err := os.ReadDir(m.dir); err != nil || len(names) != 3 || m.m.BucketGone() {
			t.Errorf("the mount has %v, %v", names, err)
		}
		m.del(t, "key")
		if _, err := os.Stat(m.path("key")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("deleted: %v", err)
		}
	}
}
