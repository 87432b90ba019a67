package fs

import (
	"bytes"
	"log/slog"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

// The kernel waits for rings that it was promised. If they cannot be made after all,
// here for want of descriptors, the mount is made again without.
func TestMountWhoseRingsFailDoesWithout(t *testing.T) {
	if !mountBucket(t, Options{Rings: true}).m.Rings() {
		t.Skip("no mount has rings here")
	}
	s := storetest.Open(t, storetest.Options{})
	b, err := s.CreateBucket(t.Context(), objstore.S3Caller("test"), objstore.CreateBucketRequest{Name: testBucket, Mode: 0o777})
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	next, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(next)
	// Enough for the connection, not for a ring for each thread.
	low := unix.Rlimit{Cur: uint64(next) + 4, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	var log bytes.Buffer
	m := mountStore(t, s.Store, Options{Root: b.Root, Rings: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if m.m.Rings() {
		t.Fatal("it has rings")
	}
	if !bytes.Contains(log.Bytes(), []byte(unix.EMFILE.Error())) {
		t.Errorf("the log does not say why: %s", log.Bytes())
	}
	if err := os.WriteFile(m.path("file"), []byte("through /dev/fuse"), 0o644); err != nil {
		t.Error(err)
	}
}

func TestMountWithoutRings(t *testing.T) {
	if mountBucket(t, Options{}).m.Rings() {
		t.Error("it has rings, which it was not to have")
	}
}
