package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/cofferfs/coffer/objstore"
)

// Uploads share the computing of their MD5s: none may wait for another that stands
// still or breaks off, whose own sum must not suffer from it.
func TestUploadsTogetherHaveTheirOwnMD5s(t *testing.T) {
	k, _ := newStack(t, nil)
	upload := func(key string, body io.Reader) (objstore.ObjectInfo, error) {
		return k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: key, Body: body, Size: -1})
	}
	slow := bytesOf(99, 2*bigArena+7)
	r, w := io.Pipe()
	var late, whole sync.WaitGroup
	late.Go(func() {
		info, err := upload("slow", r)
		if err != nil || info.ETag != md5Hex(slow) {
			t.Errorf("the slow upload: %v, %v, want %s", info.ETag, err, md5Hex(slow))
		}
	})
	if _, err := w.Write(slow[:bigArena+1]); err != nil { // a part of it waits for company
		t.Fatal(err)
	}
	broken := errors.New("broken off")
	for i := range 6 {
		whole.Go(func() {
			p := bytesOf(uint64(i), i*bigArena*2/3+5)
			if i == 4 {
				if _, err := upload("broken", io.MultiReader(bytes.NewReader(p), iotest.ErrReader(broken))); !errors.Is(err, broken) {
					t.Errorf("the broken upload: %v", err)
				}
				return
			}
			info, err := upload(fmt.Sprint("k", i), bytes.NewReader(p))
			if err != nil || info.ETag != md5Hex(p) {
				t.Errorf("%d bytes: %v, %v, want %s", len(p), info.ETag, err, md5Hex(p))
			}
		})
	}
	whole.Wait()
	if _, err := w.Write(slow[bigArena+1:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	late.Wait()
}
