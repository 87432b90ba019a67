package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked is matched by the error that LockFile returns when somebody else
// holds the lock.
var ErrLocked = errors.New("locked by another process")

// LockedError says who holds a lock. PID is 0 when that is not known.
type LockedError struct {
	Path string
	PID  int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("lock %q: held by another process", e.Path)
	}
	return fmt.Sprintf("lock %q: held by process %d", e.Path, e.PID)
}

// Is makes a LockedError match ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Lock is a held lock. It ends with Unlock or with the process.
type Lock struct {
	f *os.File
}

// maxLockBytes bounds what is read of a lock file: a decimal pid and a newline.
const maxLockBytes = 32

// LockFile takes the exclusive lock of the file at path, which it makes (mode
// 0600) when it is missing, and writes the pid of this process into it. It
// does not wait: when the lock is held, by another process or by an earlier
// call in this one, it fails with a *LockedError.
//
// The lock is flock(2): it is gone when its holder is, however it ended, so a
// file left behind by a crash is no obstacle.
func LockFile(path string) (*Lock, error) {
	for {
		l, err := lockFile(path)
		if err != nil {
			return nil, err
		}
		// Who held it before may have removed the file that we opened: somebody
		// else can have another one of its name, and lock that.
		if l.stands(path) {
			return l, nil
		}
		l.f.Close()
	}
}

func lockFile(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = flock(f)
	if err == unix.EWOULDBLOCK {
		pid := readPID(f)
		f.Close()
		return nil, &LockedError{Path: path, PID: pid}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	// The pid only makes a message better: a full disk must not stop anybody
	// from opening a store.
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{f: f}, nil
}

// Unlock gives the lock up. A second call does nothing.
func (l *Lock) Unlock() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	// So that nobody is told of a process that has long ended.
	f.Truncate(0)
	return f.Close()
}

// Remove removes the lock's file, and gives the lock up.
func (l *Lock) Remove() error {
	if l.f == nil {
		return nil
	}
	var err error
	if l.stands(l.f.Name()) {
		err = os.Remove(l.f.Name())
	}
	return errors.Join(err, l.Unlock())
}

// stands reports whether the file that is locked is the one at path.
func (l *Lock) stands(path string) bool {
	ours, err := l.f.Stat()
	if err != nil {
		return false
	}
	st, err := os.Lstat(path)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) // nobody can tell
	}
	return os.SameFile(ours, st)
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			return err
		}
	}
}

// readPID returns the pid that f holds, 0 if it holds none.
func readPID(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxLockBytes))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}
