package engine

import (
	"bytes"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// TestLongCopyOfFewChunks: the steps of a copy come to its end, where the source is
// mostly holes, and leave nothing to the last transaction.
func TestLongCopyOfFewChunks(t *testing.T) {
	k, root := newStack(t, nil)
	k.s.shareStep = 1
	f := fileAt(t, k.s, root, "f")
	const at = 100 << 20
	p := bytesOf(1, 50_000)
	mustWrite(t, f, p, at)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "copy"}); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	_, err := k.s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "copy", Body: bytes.NewReader(p), Size: -1, Offset: at + int64(len(p))})
	if err != nil {
		t.Error(err)
	}
	got, _, err := get(k.s, objstore.GetRequest{Key: "copy", Range: &objstore.Range{First: at, Last: at + 1<<20}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "copy", got, append(p, p...))
	for _, name := range []string{"f", "copy"} {
		if err := k.s.Unlink(bg, mountC, root, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.s.reapAll(bg); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'c': 0, 'k': 0, 'e': 0, 'g': 0})
}
