package mount

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore/durable"
)

// maxLogBytes is the size at which a log file is set aside as FILE.1, in place
// of the one before: a daemon's logs take at most twice that.
const maxLogBytes = 32 << 20

// newLogger logs events as text to w.
func newLogger(w io.Writer, debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// NewLogger logs to standard error, for a process in the foreground.
func NewLogger(cfg Config) *slog.Logger { return newLogger(os.Stderr, cfg.Debug) }

// quiet drops events below warnings, unless debug is asked for. The S3 door logs
// every request with the names in it, and the log lies in the clear: by default
// a name stands there only beside what went wrong with it.
func quiet(log *slog.Logger, debug bool) *slog.Logger {
	if debug {
		return log
	}
	return slog.New(warnings{log.Handler()})
}

type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{h.Handler.WithAttrs(a)} }
func (h warnings) WithGroup(name string) slog.Handler   { return warnings{h.Handler.WithGroup(name)} }

// logFile is the log of a process in the background, which has it as its
// standard output and standard error too, so that what the runtime says when
// it ends a process is found there.
type logFile struct {
	path string
	// stdio: it is the process's standard output and error.
	stdio bool

	mu   sync.Mutex // guards the fields below
	f    *os.File
	size int64
}

// openLogFile opens the log for appending, and makes it and its directory.
func openLogFile(path string) (*logFile, error) {
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	l := &logFile{path: path}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, st.Size()
	return nil
}

// Write implements io.Writer. An event is never split between two files.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > maxLogBytes {
		l.rotate()
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}

// rotate sets the log aside. When that fails it goes on in the old file.
func (l *logFile) rotate() {
	l.size = 0 // not again for every line
	if os.Rename(l.path, l.path+".1") != nil {
		return
	}
	old := l.f
	if l.open() != nil {
		l.f = old
		return
	}
	old.Close()
	if l.stdio {
		l.takeStdio()
	}
}

// takeStdio makes the log the process's standard output and error.
func (l *logFile) takeStdio() {
	l.stdio = true
	for _, fd := range []int{1, 2} {
		_ = unix.Dup3(int(l.f.Fd()), fd, 0)
	}
}
