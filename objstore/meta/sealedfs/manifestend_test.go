package sealedfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// withManifest begins a store of a manifest in force and a log.
func withManifest(t *testing.T, fs *FS) (manifest, log vfs.File) {
	t.Helper()
	manifest = create(t, fs, "MANIFEST-000001")
	put(t, manifest, pattern(50))
	create(t, fs, "marker.manifest.000001.MANIFEST-000001").Close()
	log = create(t, fs, "000005.log")
	put(t, log, pattern(50))
	return manifest, log
}

// stoppedManifest makes a store with a manifest in force that was synced a few times,
// stops it in order, and returns what is below and the manifest. As older it ends as
// those of older versions do.
func stoppedManifest(t *testing.T, older bool) (base vfs.FS, text []byte) {
	t.Helper()
	base = vfs.NewMem()
	fs := newFS(t, base)
	manifest, log := withManifest(t, fs)
	d, err := fs.OpenDir(testDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		put(t, manifest, pattern(10+n))
	}
	if older {
		w := manifest.(*logWriter)
		w.seal(frameFinal, binary.BigEndian.AppendUint64(anchor{}.append(nil), 0))
		if err := w.sync(false); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(log.Close(), manifest.Close(), fs.Shutdown()); err != nil {
		t.Fatal(err)
	}
	return base, raw(t, base, "MANIFEST-000001")
}

// After an orderly stop no byte of the manifest can be missing, changed or added: its
// end is not one that a crash could have left.
func TestEndOfManifestIsKnownAfterAnOrderlyStop(t *testing.T) {
	base, text := stoppedManifest(t, false)
	check := func(what string, changed []byte) {
		t.Helper()
		putRaw(t, base, "MANIFEST-000001", changed)
		if err := newFS(t, base).Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for at := range text {
		check(fmt.Sprintf("cut to %d of %d", at, len(text)), text[:at])
		flipped := bytes.Clone(text)
		flipped[at] ^= 1
		check(fmt.Sprintf("bit at %d of %d", at, len(text)), flipped)
	}
	for _, more := range [][]byte{{0}, make([]byte, 100), {1}, pattern(100), text} {
		check(fmt.Sprintf("%d bytes more", len(more)), slices.Concat(text, more))
	}
	putRaw(t, base, "MANIFEST-000001", text)
	if err := newFS(t, base).Check(); err != nil {
		t.Error(err)
	}
}

func TestManifestOfOlderVersionsIsWhole(t *testing.T) {
	base, text := stoppedManifest(t, true)
	putRaw(t, base, "MANIFEST-000001", text[:len(text)-1])
	if err := newFS(t, base).Check(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("cut in its final frame: %v", err)
	}
	putRaw(t, base, "MANIFEST-000001", text)
	if err := newFS(t, base).Check(); err != nil {
		t.Error(err)
	}
}

// An opening that came to nothing leaves what the stop before it said.
func TestShutdownHoldsUntilALogIsBegun(t *testing.T) {
	base, _ := stoppedManifest(t, false)
	fs := newFS(t, base)
	if err := errors.Join(fs.Check(), fs.Shutdown()); err != nil {
		t.Fatal(err)
	}
	text := raw(t, base, "000005.log")
	putRaw(t, base, "000005.log", text[:len(text)-1])
	if err := newFS(t, base).Check(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the newest log is cut: %v", err)
	}
	putRaw(t, base, "000005.log", text)
	fs = newFS(t, base)
	if err := fs.Check(); err != nil {
		t.Fatal(err)
	}
	log := create(t, fs, "000006.log")
	put(t, log, pattern(10))
	names, err := base.List(testDir)
	if err != nil || slices.Contains(names, "SHUTDOWN-000005") {
		t.Errorf("%v, %v", names, err)
	}
	if err := newFS(t, base).Check(); err != nil { // as after a crash
		t.Error(err)
	}
}
