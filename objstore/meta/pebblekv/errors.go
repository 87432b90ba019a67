package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/sealedfs"
)

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", meta.ErrCorrupt, fmt.Sprintf(format, args...))
}

// mapError translates what Pebble or sealedfs returned, and counts corruption.
func (s *Store) mapError(err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err), errors.Is(err, meta.ErrCorrupt):
		s.corruptions.Add(1)
		return fmt.Errorf("%w: %w", meta.ErrCorrupt, err)
	case errors.Is(err, sealedfs.ErrFrozen), errors.Is(err, pebble.ErrReadOnly):
		return fmt.Errorf("%w: %w", meta.ErrReadOnly, err)
	case errors.Is(err, meta.ErrNoSpace):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", meta.ErrNoSpace, err)
	case errors.Is(err, os.ErrNotExist):
		// A table that is referenced and not there.
		s.corruptions.Add(1)
		return fmt.Errorf("%w: %w", meta.ErrCorrupt, err)
	}
	return fmt.Errorf("pebblekv: %w", err)
}

// openError translates why a store did not open. Every file authenticates, so
// what Pebble then makes no sense of, and no errno explains, is corrupt.
func (s *Store) openError(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, ErrNotExist), errors.Is(err, ErrExist), errors.Is(err, ErrFormat),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, pebble.ErrDBAlreadyExists):
		return fmt.Errorf("%w: %w", ErrExist, err)
	case errors.Is(err, sealedfs.ErrFrozen), errors.Is(err, os.ErrPermission):
		return fmt.Errorf("pebblekv: %w", err)
	case errors.As(err, &errno) && errno != syscall.ENOENT && !errors.Is(err, meta.ErrCorrupt):
		return s.mapError(err)
	case errors.Is(err, meta.ErrCorrupt):
		return s.mapError(err)
	}
	s.corruptions.Add(1)
	return fmt.Errorf("%w: %w", meta.ErrCorrupt, err)
}

// logger is Pebble's logger. Its Fatalf does not end the process.
type logger struct {
	log        *slog.Logger
	fs         *sealedfs.FS
	fatal      atomic.Uint64 // calls of Fatalf
	background atomic.Uint64 // background errors
}

var _ pebble.Logger = (*logger)(nil)

func (l *logger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble", "event", fmt.Sprintf(format, args...))
	}
}

func (l *logger) Errorf(format string, args ...any) {
	l.log.Warn("pebble", "event", fmt.Sprintf(format, args...))
}

// Fatalf is where Pebble expects not to return. What it holds in memory
// cannot be trusted with another write: the store becomes read-only.
func (l *logger) Fatalf(format string, args ...any) {
	l.fatal.Add(1)
	l.fs.Freeze(fmt.Errorf(format, args...))
}
