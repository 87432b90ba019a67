package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cofferfs/coffer/mount"
)

// Exit codes. They are repeated in the help and a promise to scripts.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitDamaged    = 4
)

const exitCodes = `
Exit codes:
   0  done
   1  it failed; standard error says why
   2  a command, flag or argument is missing, unknown or too many; nothing was done
   3  no daemon has the store open (status, env, bucket)
   4  something in the store is damaged (fsck)`

// usageError is a mistake in the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// report prints err and returns the exit code for it.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(stderr, "coffer: %v\n", err)
	var mistake *usageError
	usage := errors.As(err, &mistake) || mount.CodeOf(err) == mount.CodeUsage
	hint := mount.HintOf(err)
	if usage && hint == "" {
		hint = "coffer help shows the commands, coffer help COMMAND the flags of one"
	}
	if hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	if usage {
		return exitUsage
	}
	var damaged errDamaged
	if errors.As(err, &damaged) {
		return exitDamaged
	}
	if mount.CodeOf(err) == mount.CodeNotRunning {
		return exitNotRunning
	}
	return exitFailed
}
