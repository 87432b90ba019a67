package sealedfs

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/meta"
	"pgregory.net/rapid"
)

const testDir = "/db"

func fixedKey(t testing.TB) map[uint32]*secret.Key {
	t.Helper()
	k, err := secret.New(bytes.Repeat([]byte{7}, secret.Size))
	if err != nil {
		t.Fatal(err)
	}
	return map[uint32]*secret.Key{1: k}
}

func newFS(t testing.TB, base vfs.FS) *FS {
	t.Helper()
	if err := base.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	fs, err := New(Options{
		Base: base, Dir: testDir, Keys: fixedKey(t), CurrentKey: 1, HoldBytes: 512, AheadBytes: 300,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func write(t testing.TB, fs vfs.FS, name string, pieces ...[]byte) {
	t.Helper()
	f, err := fs.Create(testDir+"/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		if n, err := f.Write(p); n != len(p) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(p), err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func raw(t testing.TB, base vfs.FS, name string) []byte {
	t.Helper()
	f, err := base.Open(testDir + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func putRaw(t testing.TB, base vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := base.Create(testDir+"/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	// Write may change what it is given.
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func TestTableReadsBackAtEverySizeAroundPages(t *testing.T) {
	base := vfs.NewMem()
	fs := newFS(t, base)
	for _, size := range []int{0, 1, PagePayload - 1, PagePayload, PagePayload + 1, 2 * PagePayload, 2*PagePayload + PagePayload/2, 40 * PagePayload, 40*PagePayload + 1} {
		want := pattern(size)
		write(t, fs, "000007.sst", want[:size/3], want[size/3:])
		if fi, err := fs.Stat(testDir + "/000007.sst"); err != nil || fi.Size() != int64(size) {
			t.Fatalf("size %d: stat %v, %v", size, fi, err)
		}
		f, err := fs.Open(testDir + "/000007.sst")
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := f.Stat(); err != nil || fi.Size() != int64(size) {
			t.Fatalf("size %d: stat of file %v, %v", size, fi, err)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("size %d: read all: %d bytes, %v", size, len(got), err)
		}
		for _, off := range []int{0, 1, PagePayload - 1, PagePayload, size - 1, size, size + 1} {
			for _, n := range []int{0, 1, 10, PagePayload, 3 * PagePayload} {
				if off < 0 {
					continue
				}
				p := make([]byte, n)
				got, err := f.ReadAt(p, int64(off))
				expect := max(min(n, size-off), 0)
				if got != expect || (expect < n) != (err == io.EOF) || err != nil && err != io.EOF {
					t.Fatalf("size %d: read %d at %d: %d, %v", size, n, off, got, err)
				}
				if expect > 0 && !bytes.Equal(p[:got], want[off:off+got]) {
					t.Fatalf("size %d: read %d at %d: wrong bytes", size, n, off)
				}
			}
		}
		f.Close()
		if size > 64 && bytes.Contains(raw(t, base, "000007.sst"), want[:32]) {
			t.Fatal("plaintext on disk")
		}
	}
}

// tableBytes is the file of a table of two and a half pages.
func tableBytes(t testing.TB) ([]byte, []byte) {
	base := vfs.NewMem()
	want := pattern(2*PagePayload + PagePayload/2)
	write(t, newFS(t, base), "000007.sst", want)
	return raw(t, base, "000007.sst"), want
}

func TestTableDetectsEveryFlipAndCut(t *testing.T) {
	sealed, want := tableBytes(t)
	base := vfs.NewMem()
	fs := newFS(t, base)
	check := func(what string, at int, b []byte) {
		putRaw(t, base, "000007.sst", b)
		f, err := fs.Open(testDir + "/000007.sst")
		if err == nil {
			var got []byte
			got, err = io.ReadAll(f)
			f.Close()
			if err == nil && bytes.Equal(got, want) {
				t.Fatalf("%s at %d went unnoticed", what, at)
			}
		}
		for _, target := range []error{ErrCorrupt, meta.ErrCorrupt, pebble.ErrCorruption} {
			if !errors.Is(err, target) {
				t.Fatalf("%s at %d: %v, does not match %v", what, at, err, target)
			}
		}
	}
	for at := 0; at < len(sealed); at += 1 + at/HeaderSize*13 {
		flipped := bytes.Clone(sealed)
		flipped[at] ^= 1 << (at % 8)
		check("flip", at, flipped)
		check("cut", at, sealed[:at])
	}
	check("one byte more", len(sealed), append(bytes.Clone(sealed), 0))
	page := func(i int) []byte { return sealed[HeaderSize+i*pageSize : HeaderSize+(i+1)*pageSize] }
	check("swapped pages", 0, bytes.Join([][]byte{sealed[:HeaderSize], page(1), page(0), sealed[HeaderSize+2*pageSize:]}, nil))
	check("repeated page", 0, bytes.Join([][]byte{sealed[:HeaderSize], page(0), page(0), sealed[HeaderSize+2*pageSize:]}, nil))
	check("last page cut off", 0, sealed[:HeaderSize+2*pageSize])
}

func TestFileOpensOnlyUnderItsOwnName(t *testing.T) {
	sealed, _ := tableBytes(t)
	base := vfs.NewMem()
	fs := newFS(t, base)
	for _, name := range []string{"000008.sst", "000007.blob", "000007.log", "MANIFEST-000007", "OPTIONS-000007"} {
		putRaw(t, base, name, sealed)
		if _, err := fs.Open(testDir + "/" + name); !errors.Is(err, ErrCorrupt) {
			t.Errorf("as %s: %v", name, err)
		}
	}
}

func TestOtherVersionOrKeyIsNamed(t *testing.T) {
	sealed, _ := tableBytes(t)
	base := vfs.NewMem()
	fs := newFS(t, base)
	for at, want := range map[int]error{9: ErrVersion, 19: ErrUnknownKey} {
		b := bytes.Clone(sealed)
		b[at]++
		putRaw(t, base, "000007.sst", b)
		if _, err := fs.Open(testDir + "/000007.sst"); !errors.Is(err, want) || !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d: %v, want %v", at, err, want)
		}
	}
}

// logBytes is a log with a synced frame for each piece, as it stands when the
// process is killed.
func logBytes(t testing.TB, base vfs.FS, pieces [][]byte) []byte {
	t.Helper()
	fs := newFS(t, base)
	f, err := fs.Create(testDir+"/000005.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		if _, err := f.Write(bytes.Clone(p)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return raw(t, base, "000005.log")
}

func readLog(t testing.TB, b []byte) ([]byte, error) {
	t.Helper()
	base := vfs.NewMem()
	fs := newFS(t, base)
	putRaw(t, base, "000005.log", b)
	f, err := fs.Open(testDir + "/000005.log")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func TestLogReturnsSyncedBytesOrCorruptionForEveryFlip(t *testing.T) {
	pieces := [][]byte{pattern(10), pattern(700), pattern(1), pattern(512), pattern(90)}
	sealed := logBytes(t, vfs.NewMem(), pieces)
	want := bytes.Join(pieces, nil)
	if got, err := readLog(t, sealed); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("intact: %d bytes, %v", len(got), err)
	}
	for at := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[at] ^= 1 << (at % 8)
		got, err := readLog(t, flipped)
		// Only the last mark vouches for nothing.
		if err == nil && !bytes.Equal(got, want) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("flip at %d of %d: %d bytes of %d, %v", at, len(sealed), len(got), len(want), err)
		}
	}
}

func TestLogCutAnywhereIsPrefix(t *testing.T) {
	pieces := [][]byte{pattern(10), pattern(700), pattern(90)}
	sealed := logBytes(t, vfs.NewMem(), pieces)
	want := bytes.Join(pieces, nil)
	for at := range sealed {
		got, err := readLog(t, sealed[:at:at])
		if err != nil || !bytes.HasPrefix(want, got) {
			t.Fatalf("cut at %d: %d bytes, %v", at, len(got), err)
		}
	}
}

// After power loss complete frames can stand behind a hole: they were never
// acknowledged. If one says that the hole was synced, it is damage.
func TestHoleInLogIsTornTailOnlyBeyondWhatWasSynced(t *testing.T) {
	base := vfs.NewMem()
	fs := newFS(t, base)
	f, err := fs.Create(testDir+"/000005.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) { f.Write(pattern(n)) }
	put(100)
	f.Sync()
	ends := []int{len(raw(t, base, "000005.log"))}
	for range 3 { // each fills the hold, and is written without a sync
		put(512)
		ends = append(ends, len(raw(t, base, "000005.log")))
	}
	before := raw(t, base, "000005.log")
	hole := bytes.Clone(before)
	clear(hole[ends[0]+5 : ends[1]-5])
	if got, err := readLog(t, hole); err != nil || len(got) != 100 {
		t.Fatalf("hole beyond what was synced: %d bytes, %v", len(got), err)
	}
	f.Sync()
	put(10)
	f.Sync()
	after := raw(t, base, "000005.log")
	hole = bytes.Clone(after)
	clear(hole[ends[0]+5 : ends[1]-5])
	if _, err := readLog(t, hole); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("hole in what was synced: %v", err)
	}
	// Bytes taken out, so that a later frame stands where this one stood.
	if _, err := readLog(t, append(bytes.Clone(after[:ends[0]]), after[ends[1]:]...)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("frame taken out: %v", err)
	}
}

func TestNothingButSealedFilesCanBeWritten(t *testing.T) {
	base := vfs.NewMem()
	fs := newFS(t, base)
	for _, name := range []string{"CURRENT", "notes.txt", "000001-001.log", "x.sst", "+1.sst"} {
		if _, err := fs.Create(testDir+"/"+name, vfs.WriteCategoryUnspecified); err == nil {
			t.Errorf("created %s", name)
		}
	}
	m, err := fs.Create(testDir+"/marker.manifest.000001.MANIFEST-000001", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Write([]byte("x")); err == nil {
		t.Error("wrote to a marker")
	}
	if _, err := fs.OpenReadWrite(testDir+"/000001.sst", vfs.WriteCategoryUnspecified); err == nil {
		t.Error("opened for rewriting")
	}
	if err := fs.Link(testDir+"/a", testDir+"/b"); err == nil {
		t.Error("linked")
	}
	if err := fs.Rename(testDir+"/000001.sst", testDir+"/000002.sst"); err == nil {
		t.Error("renamed to another number")
	}
}

func TestReuseForWriteStartsAnEmptyFile(t *testing.T) {
	base := vfs.NewMem()
	fs := newFS(t, base)
	write(t, fs, "000005.log", pattern(2000))
	old := raw(t, base, "000005.log")
	f, err := fs.ReuseForWrite(testDir+"/000005.log", testDir+"/000006.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if bytes.Contains(raw(t, base, "000006.log"), old[32:64]) {
		t.Fatal("the new log has the old one's salt")
	}
	r, err := fs.Open(testDir + "/000006.log")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || len(b) != 0 {
		t.Fatalf("the new log has %d bytes, %v", len(b), err)
	}
	if _, err := base.Stat(testDir + "/000005.log"); !os.IsNotExist(err) {
		t.Fatalf("the old log: %v", err)
	}
}

func TestLogsUnderManyStoreKeysOpenWithTheirOwn(t *testing.T) {
	base := vfs.NewMem()
	write(t, newFS(t, base), "000007.sst", pattern(100))
	keys := fixedKey(t)
	keys[2] = secret.Random()
	fs, err := New(Options{Base: base, Dir: testDir, Keys: keys, CurrentKey: 2})
	if err != nil {
		t.Fatal(err)
	}
	write(t, fs, "000008.sst", pattern(100))
	for _, name := range []string{"000007.sst", "000008.sst"} {
		f, err := fs.Open(testDir + "/" + name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.Close()
	}
	if _, err := newFS(t, base).Open(testDir + "/000008.sst"); !errors.Is(err, ErrUnknownKey) {
		t.Fatalf("without the new key: %v", err)
	}
}

func TestTableSizeIsInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.Int64Range(0, 1<<40).Draw(t, "plain")
		pages := max((plain+PagePayload-1)/PagePayload, 1)
		length := HeaderSize + plain + pages*tagSize
		if got, ok := tableSize(length); !ok || got != plain {
			t.Fatalf("%d bytes in a file of %d: got %d, %v", plain, length, got, ok)
		}
	})
}

func FuzzLogReader(f *testing.F) {
	sealed := logBytes(f, vfs.NewMem(), [][]byte{pattern(10), pattern(600)})
	want := append(pattern(10), pattern(600)...)
	f.Add(sealed)
	f.Add(sealed[:HeaderSize])
	f.Add([]byte(headerMagic))
	f.Add(append(bytes.Clone(sealed), sealed[HeaderSize:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A file of its own has its own salt: whatever is read was sealed once.
		got, err := readLog(t, b)
		if err == nil && len(b) >= HeaderSize && bytes.Equal(b[:HeaderSize], sealed[:HeaderSize]) && !bytes.HasPrefix(want, got) {
			t.Fatalf("read %d bytes that were not written", len(got))
		}
	})
}

func FuzzTableReader(f *testing.F) {
	sealed, _ := tableBytes(f)
	f.Add(sealed)
	f.Add(sealed[:HeaderSize+tagSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		base := vfs.NewMem()
		fs := newFS(t, base)
		putRaw(t, base, "000007.sst", b)
		file, err := fs.Open(testDir + "/000007.sst")
		if err != nil {
			return
		}
		defer file.Close()
		_, _ = io.ReadAll(file)
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"000001.log", "MANIFEST-1", "marker.manifest.000001.MANIFEST-000001", "OPTIONS-", "temporary.1.dbtmp", "SHUTDOWN-000001", "marker.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, _, ok := classify(s); ok && (k < kindLog || k > kindShutdown) {
			t.Fatalf("%q is of kind %d", s, k)
		}
		_, _ = markedManifest(s)
	})
}
