package fs

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func TestEveryKindHasAnErrno(t *testing.T) {
	for k := range objstore.NumKinds {
		kind := objstore.Kind(k)
		errno := toErrno(fmt.Errorf("wrapped: %w", objstore.E(kind, "op", "", "")))
		if errno == 0 {
			t.Errorf("%v has no errno", kind)
		}
		if errno == syscall.ENOSYS {
			t.Errorf("%v is ENOSYS, after which the kernel would never ask again", kind)
		}
	}
	if got := toErrno(objstore.E(objstore.Kind(objstore.NumKinds), "op", "", "")); got != syscall.EIO {
		t.Errorf("unknown kind: %v, want EIO", got)
	}
}

func TestErrnosThatProgramsRelyOn(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{objstore.E(objstore.KindNotFound, "", "", ""), syscall.ENOENT},
		{objstore.E(objstore.KindExists, "", "", ""), syscall.EEXIST},
		{objstore.E(objstore.KindNotEmpty, "", "", ""), syscall.ENOTEMPTY},
		{objstore.E(objstore.KindCrossBucket, "", "", ""), syscall.EXDEV},
		{objstore.E(objstore.KindNoSpace, "", "", ""), syscall.ENOSPC},
		{objstore.E(objstore.KindReadOnly, "", "", ""), syscall.EROFS},
		{objstore.E(objstore.KindKeyUnavailable, "", "", ""), syscall.ENOKEY},
		{objstore.E(objstore.KindCorrupt, "", "", ""), syscall.EIO},
		{objstore.E(objstore.KindStale, "", "", ""), syscall.ESTALE},
		{objstore.E(objstore.KindNoAttribute, "", "", ""), syscall.ENODATA},
		{objstore.E(objstore.KindInvalidRange, "", "", ""), syscall.ENXIO},
		{objstore.Wrap(objstore.KindInternal, "", "", context.Canceled), syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{fmt.Errorf("anything else"), syscall.EIO},
	} {
		if got := toErrno(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
