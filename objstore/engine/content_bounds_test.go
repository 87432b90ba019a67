package engine

import (
	"bytes"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// TestCommitsOfManyRangesStaySmall: random writes of single bytes fit into
// transactions, over bytes that were written in as many pieces before.
func TestCommitsOfManyRangesStaySmall(t *testing.T) {
	if raceDetector && !long {
		t.Skip("one goroutine, and slow")
	}
	k, root := newStack(t, nil)
	f := fileAt(t, k.s, root, "f")
	want := newSparse()
	most := 0
	for round := range 2 {
		for i := range int64(4 * maxBufferEx) {
			p := []byte{byte(round + 1)}
			off := 100_000 + i*3 + int64(round)
			mustWrite(t, f, p, off)
			ranges := 0
			f.n.mu.Lock()
			for _, s := range f.n.sealed {
				ranges += len(s.buf.ents)
			}
			f.n.mu.Unlock()
			most = max(most, ranges)
			if i%5000 == 0 {
				want.put(p, off)
			}
		}
	}
	if most > maxRanges {
		t.Errorf("%d ranges waited for one commit", most)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	for no, page := range want.pages {
		got, _, err := get(k.s, objstore.GetRequest{Key: "f", Range: &objstore.Range{First: no * sparsePage, Last: (no+1)*sparsePage - 1}})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range page {
			if c != 0 && got[i] != c {
				t.Fatalf("byte %d is %d, want %d", no*sparsePage+int64(i), got[i], c)
			}
		}
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// TestOnlyFilesAreOpened: a directory has no content.
func TestOnlyFilesAreOpened(t *testing.T) {
	k, root := newStack(t, nil)
	link, err := k.s.Symlink(bg, mountC, root, "link", "target")
	if err != nil {
		t.Fatal(err)
	}
	for _, ino := range []objstore.InodeID{root, link.Inode, objstore.RootInode} {
		if _, err := k.s.Open(bg, mountC, ino, objstore.OpenFlags{Write: true}); !objstore.IsKind(err, objstore.KindInvalidArgument) {
			t.Errorf("open of inode %d: %v", ino, err)
		}
	}
	if n := k.s.nodes.count(); n != 0 {
		t.Errorf("%d nodes are left", n)
	}
}

// TestOffsetsBeyondTheLargestFileAreRefused, those that overflow included.
func TestOffsetsBeyondTheLargestFileAreRefused(t *testing.T) {
	k, root := newStack(t, nil)
	f := fileAt(t, k.s, root, "f")
	defer f.Close(bg)
	const top = 1<<63 - 1
	for _, off := range []int64{objstore.MaxFileSize, objstore.MaxFileSize - 9, top, top - 9, -1, -top} {
		if _, err := f.WriteAt(bg, make([]byte, 10), off); !objstore.IsKind(err, objstore.KindTooLarge) {
			t.Errorf("write at %d: %v", off, err)
		}
		if off > 0 {
			if err := f.Allocate(bg, 0, off, 10); !objstore.IsKind(err, objstore.KindTooLarge) {
				t.Errorf("allocate at %d: %v", off, err)
			}
			if err := f.Allocate(bg, objstore.AllocatePunchHole|objstore.AllocateKeepSize, 10, off); off == top && !objstore.IsKind(err, objstore.KindTooLarge) {
				t.Errorf("punch %d bytes: %v", off, err)
			}
			if err := f.Truncate(bg, off+1); off >= objstore.MaxFileSize && off != top && !objstore.IsKind(err, objstore.KindTooLarge) {
				t.Errorf("truncate to %d: %v", off+1, err)
			}
			continue
		}
		if _, err := f.ReadAt(bg, make([]byte, 10), off); !objstore.IsKind(err, objstore.KindInvalidArgument) {
			t.Errorf("read at %d: %v", off, err)
		}
	}
	// The last bytes of the largest file.
	if _, err := f.WriteAt(bg, []byte("0123456789"), objstore.MaxFileSize-10); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 20)
	if n, err := f.ReadAt(bg, p, objstore.MaxFileSize-10); err != nil || string(p[:n]) != "0123456789" {
		t.Errorf("%q, %v", p[:n], err)
	}
}

// What a write left behind that failed in its midst is in the file, and not hidden
// beyond its end until the file grows.
func TestWriteThatFailsInItsMidstHidesNothing(t *testing.T) {
	k, root := newStack(t, nil)
	if err := k.keys.Create(bg, "k1"); err != nil {
		t.Fatal(err)
	}
	if err := k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: objstore.SSEKMS, KMSKeyID: "k1"}); err != nil {
		t.Fatal(err)
	}
	f := fileAt(t, k.s, root, "f")
	if err := k.keys.Disable(bg, "k1"); err != nil {
		t.Fatal(err)
	}
	p := bytesOf(1, bigArena+1000)
	if _, err := f.WriteAt(bg, p, 0); !objstore.IsKind(err, objstore.KindKeyDisabled) {
		t.Fatalf("write without a key: %v", err)
	}
	if err := k.keys.Enable(bg, "k1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(bg); err != nil {
		t.Fatal(err)
	}
	was := readAll(t, f)
	if !bytes.Equal(was, p[:len(was)]) {
		t.Errorf("%d bytes that were not written", len(was))
	}
	mustWrite(t, f, []byte("end"), 2*bigArena)
	if err := f.Flush(bg); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, f)[len(was) : 2*bigArena]; !bytes.Equal(got, make([]byte, len(got))) {
		t.Error("bytes from beyond the end show when the file grows")
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
}
