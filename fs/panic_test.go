package fs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestPanicIsAnsweredAndTold(t *testing.T) {
	told := 0
	f := New(nil, Options{Panicked: func() { told++ }})
	if st := f.MountOptions().PanicHandler("a fault of the program"); st != fuse.EIO || told != 1 {
		t.Errorf("%v, told %d times", st, told)
	}
}
