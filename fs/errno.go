package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/objstore"
)

// errnos is the whole translation of the store's errors. Kinds that only an S3
// request can meet are EIO: seen here they are a bug.
var errnos = [objstore.NumKinds]syscall.Errno{
	objstore.KindInternal:           syscall.EIO,
	objstore.KindNotFound:           syscall.ENOENT,
	objstore.KindNoSuchBucket:       syscall.ENOENT,
	objstore.KindNoSuchUpload:       syscall.EIO,
	objstore.KindExists:             syscall.EEXIST,
	objstore.KindBucketExists:       syscall.EEXIST,
	objstore.KindNotEmpty:           syscall.ENOTEMPTY,
	objstore.KindBucketNotEmpty:     syscall.ENOTEMPTY,
	objstore.KindNotDirectory:       syscall.ENOTDIR,
	objstore.KindIsDirectory:        syscall.EISDIR,
	objstore.KindInvalidName:        syscall.EINVAL,
	objstore.KindInvalidBucketName:  syscall.EINVAL,
	objstore.KindNameTooLong:        syscall.ENAMETOOLONG,
	objstore.KindInvalidArgument:    syscall.EINVAL,
	objstore.KindCrossBucket:        syscall.EXDEV,
	objstore.KindTooLarge:           syscall.EFBIG,
	objstore.KindTooManyLinks:       syscall.EMLINK,
	objstore.KindNoSpace:            syscall.ENOSPC,
	objstore.KindReadOnly:           syscall.EROFS,
	objstore.KindAccessDenied:       syscall.EACCES,
	objstore.KindNotPermitted:       syscall.EPERM,
	objstore.KindPreconditionFailed: syscall.EIO,
	objstore.KindNotModified:        syscall.EIO,
	objstore.KindConflict:           syscall.EAGAIN,
	objstore.KindInvalidRange:       syscall.ENXIO, // lseek(2) with SEEK_DATA, SEEK_HOLE
	objstore.KindInvalidPart:        syscall.EIO,
	objstore.KindInvalidPartOrder:   syscall.EIO,
	objstore.KindPartTooSmall:       syscall.EIO,
	objstore.KindBadDigest:          syscall.EIO,
	objstore.KindWrongKey:           syscall.ENOKEY,
	objstore.KindKeyRequired:        syscall.ENOKEY,
	objstore.KindKeyUnavailable:     syscall.ENOKEY,
	objstore.KindCorrupt:            syscall.EIO,
	objstore.KindNoAttribute:        syscall.ENODATA,
	objstore.KindAttributeRange:     syscall.ERANGE,
	objstore.KindNotSupported:       syscall.EOPNOTSUPP, // never ENOSYS: the kernel would not ask again
	objstore.KindBusy:               syscall.EBUSY,
	objstore.KindStale:              syscall.ESTALE,
	objstore.KindCanceled:           syscall.EINTR,
	objstore.KindShutdown:           syscall.EIO,
	objstore.KindInvalidRequest:     syscall.EINVAL,
	objstore.KindMalformed:          syscall.EIO,
	objstore.KindIdempotency:        syscall.EINVAL,
	objstore.KindInvalidOffset:      syscall.EINVAL,
	objstore.KindTooManyParts:       syscall.EFBIG,
	objstore.KindEncryptionMismatch: syscall.EINVAL,
	objstore.KindObjectState:        syscall.EINVAL,
	objstore.KindNoSuchConfig:       syscall.EIO,
	objstore.KindTooManyConfigs:     syscall.EIO,
	objstore.KindMalformedPolicy:    syscall.EIO,
	objstore.KindNoSuchKey:          syscall.ENOKEY,
	objstore.KindKeyDisabled:        syscall.ENOKEY,
	objstore.KindKeyPendingDeletion: syscall.ENOKEY,
	objstore.KindNoSuchVersion:      syscall.ENOENT,
	objstore.KindDeleteMarker:       syscall.ENOENT,
	objstore.KindLocked:             syscall.EPERM,
	objstore.KindBucketState:        syscall.EPERM,
	objstore.KindNoObjectLock:       syscall.EINVAL,
	objstore.KindNoLock:             syscall.ENODATA,
}

// toErrno translates an error of the store; err is not nil.
func toErrno(err error) syscall.Errno {
	if errors.Is(err, context.Canceled) {
		return syscall.EINTR
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return syscall.ETIMEDOUT
	}
	if k := objstore.KindOf(err); int(k) < len(errnos) {
		return errnos[k]
	}
	return syscall.EIO
}

// fail translates err and logs what an operator must know: damage, and what
// should not have happened. h is the request's.
func (f *FS) fail(op string, h *fuse.InHeader, err error) fuse.Status {
	errno := toErrno(err)
	switch errno {
	case syscall.EIO:
		ino := f.inode(h.NodeId)
		path, _ := f.store.PathOf(f.ctx(), ino)
		f.log.Error("request failed", "op", op, "path", path, "inode", uint64(ino), "err", err,
			"corrupt", objstore.IsKind(err, objstore.KindCorrupt))
	case syscall.ESTALE:
		f.wasStale(h.Pid)
	}
	return fuse.Status(errno)
}
