package pebblekv

import (
	"bytes"
	"fmt"
	"path"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// staleFS shows, after a crash, what stood on the disk before in the place of zeros that
// were not synced, as file systems do that do not order data and sizes.
type staleFS struct {
	vfs.FS
	crash func(at string) // called before logs are written and synced, and names removed
}

func (s staleFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := memFS{s.FS}.Create(name, c)
	if err != nil || path.Ext(name) != ".log" {
		return f, err
	}
	return &staleFile{File: f, crash: s.crash}, nil
}

func (s staleFS) Remove(name string) error {
	s.crash("remove " + path.Base(name))
	return s.FS.Remove(name)
}

// staleFile is a log.
type staleFile struct {
	vfs.File
	crash      func(at string)
	zeros, end int64 // of the zeros at the end that were not synced
}

func (f *staleFile) WriteAt(p []byte, off int64) (int, error) {
	f.crash("write")
	if len(bytes.Trim(p, "\x00")) > 0 {
		f.zeros = max(f.zeros, off+int64(len(p)))
		return f.File.WriteAt(p, off)
	}
	if f.zeros >= f.end {
		f.zeros = off
	}
	f.end = off + int64(len(p))
	return f.File.WriteAt(bytes.Repeat([]byte("stale"), len(p)/5+1)[:len(p)], off)
}

func (f *staleFile) Sync() error {
	f.crash("sync")
	if f.zeros < f.end {
		if _, err := f.File.WriteAt(make([]byte, f.end-f.zeros), f.zeros); err != nil {
			return err
		}
		f.zeros = f.end
	}
	return f.File.Sync()
}

func (f *staleFile) SyncData() error { return f.Sync() }

// TestStaleBytesBehindALogAreNoDamage: what was to become zeros behind the end of a log
// can be anything after a crash.
func TestStaleBytesBehindALogAreNoDamage(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex // guards ready; one crash at a time
	ready, crashes := false, 0
	crash := func(at string) {
		mu.Lock()
		defer mu.Unlock()
		if !ready {
			return
		}
		crashes++
		files := snapshot(t, mem, testDir)
		// This runs on goroutines of Pebble's, and Open is not to wait for them.
		done := make(chan struct{})
		go func() {
			defer close(done)
			s, err := Open(bg, testOptions(restore(t, files, testDir), testDir))
			if err != nil {
				t.Errorf("open after a crash before %s: %v", at, err)
				return
			}
			s.Close()
		}()
		<-done
	}
	o := testOptions(nil, testDir)
	o.FS, o.aheadBytes = staleFS{mem, crash}, 8<<10
	s := mustOpen(t, create(o))
	arm := func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		ready = on
	}
	// Logs that end in the last part of the zeros that were written ahead, too.
	for n := 25; n < 65; n++ {
		for i := range n {
			set(t, s, fmt.Sprint(i), "value")
			if err := s.Sync(bg); err != nil {
				t.Fatal(err)
			}
		}
		arm(true)
		err := s.db.Flush() // ends the log
		arm(false)
		if err != nil {
			t.Fatal(err)
		}
	}
	if crashes == 0 {
		t.Error("nothing was written at the end of a log")
	}
}
