package sealedfs

import (
	"errors"
	"fmt"
	"path"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cofferfs/coffer/objstore/meta"
)

var (
	// ErrCorrupt marks every failure to authenticate or decode, and every file
	// that must be there and is not. Errors that match it also match
	// meta.ErrCorrupt and pebble.ErrCorruption.
	ErrCorrupt = errors.New("sealedfs: corrupt")
	// ErrFrozen marks what is refused after a failed write froze the FS. The
	// first cause is wrapped with it.
	ErrFrozen = errors.New("sealedfs: frozen after a failed write")
	// ErrNotExist is returned by Check when the directory holds no store.
	ErrNotExist = errors.New("sealedfs: no store")
	// ErrUnknownKey is returned for a file under a store key that
	// Options.Keys does not have.
	ErrUnknownKey = errors.New("sealedfs: unknown store key")
	// ErrVersion is returned for a file of another format version.
	ErrVersion = errors.New("sealedfs: unknown format version")

	errUnsupported = errors.New("sealedfs: not supported")
)

// corruption is one finding.
type corruption struct {
	file string
	what string
}

func (e *corruption) Error() string {
	return fmt.Sprintf("sealedfs: corrupt %q: %s", e.file, e.what)
}

func (e *corruption) Is(target error) bool {
	return target == ErrCorrupt || target == meta.ErrCorrupt || target == pebble.ErrCorruption
}

func corrupt(name, format string, args ...any) error {
	return &corruption{file: path.Base(name), what: fmt.Sprintf(format, args...)}
}
