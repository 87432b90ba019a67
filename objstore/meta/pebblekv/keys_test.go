package pebblekv

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/crypto/secret"
)

// lateFS opens tables, once the disk has failed, only when it is told to, and tells when
// the store's directory is unlocked.
type lateFS struct {
	vfs.FS
	failed         atomic.Bool
	open, unlocked chan struct{}
}

func (l *lateFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if l.failed.Load() && path.Ext(name) == ".sst" {
		<-l.open
	}
	return l.FS.Open(name, o...)
}

func (l *lateFS) Lock(name string) (io.Closer, error) {
	c, err := l.FS.Lock(name)
	return tellingCloser{c, l.unlocked}, err
}

type tellingCloser struct {
	io.Closer
	closed chan struct{}
}

func (c tellingCloser) Close() error {
	defer close(c.closed)
	return c.Closer.Close()
}

// TestFailedOpenNeedsNoKeys: what Pebble still does in the background when an opening has
// failed does not need the caller's keys, which are wiped by then.
func TestFailedOpenNeedsNoKeys(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, create(testOptions(mem, testDir)))
	for i := range 40 {
		set(t, s, fmt.Sprintf("key %d", i), strings.Repeat("value", 8000))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		late := &lateFS{FS: memFS{mem.CrashClone(vfs.CrashCloneCfg{})}, open: make(chan struct{}), unlocked: make(chan struct{})}
		hooked := &hookFS{FS: late, before: func(op, name string) error {
			if op == "create" && path.Ext(name) == ".log" {
				late.failed.Store(true)
				return syscall.EIO
			}
			return nil
		}}
		o := testOptions(mem, testDir)
		own := testKeys[1].Clone()
		o.FS, o.StoreKeys = hooked, map[uint32]*secret.Key{1: own}
		if _, err := Open(bg, o); !errors.Is(err, syscall.EIO) {
			t.Fatalf("open on a disk that fails: %v", err)
		}
		own.Wipe()
		close(late.open)
		<-late.unlocked // Pebble is done
	}
}
