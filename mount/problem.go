package mount

import (
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

// Problem is an error for people: what is wrong, and the next step where it is
// known.
type Problem struct {
	Err  error
	Hint string // a sentence, lower case, no full stop; may be empty
	// Code says what kind of problem it is.
	Code Code
}

// Code tells a few problems apart that the program has to. The values are part
// of the admin API.
type Code int

const (
	CodeFailed     Code = 0 // anything not below
	CodeNotRunning Code = 1 // no daemon has the store open
	CodeInUse      Code = 2 // another process has the store open
	CodeBusy       Code = 3 // a mount is in use
	CodeStopping   Code = 4 // the daemon is about to end
	CodeUsage      Code = 5 // the call itself is wrong, whatever there is on the machine
)

func (p *Problem) Error() string { return p.Err.Error() }
func (p *Problem) Unwrap() error { return p.Err }

// hinted gives err a hint, unless it has one.
func hinted(err error, hint string) error {
	if err == nil {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return err
	}
	return &Problem{Err: err, Hint: hint}
}

// misused is an error of the call itself, with a hint that may be empty.
func misused(err error, hint string) error { return &Problem{Err: err, Hint: hint, Code: CodeUsage} }

// openReadOnly refuses a change.
func openReadOnly() error {
	return hinted(errors.New("the store is open read-only"), "coffer umount, and mount it without --read-only")
}

// readOnly words an error of objstore.KindReadOnly: with a cause the store has failed.
func readOnly(err error) error {
	var e *objstore.Error
	if errors.As(err, &e) && e.Err != nil {
		return hinted(fmt.Errorf("the store has failed and takes no changes: %w", e.Err), "coffer status tells more; the daemon has to be started again")
	}
	return openReadOnly()
}

// CodeOf returns the code of the outermost Problem in err's chain.
func CodeOf(err error) Code {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return CodeFailed
}

// HintOf returns the hint of the outermost Problem in err's chain, or "".
func HintOf(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Hint
	}
	return ""
}
