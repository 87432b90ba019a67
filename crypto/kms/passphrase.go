package kms

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"runtime/debug"

	"golang.org/x/crypto/argon2"

	"github.com/cofferfs/coffer/crypto/secret"
)

// MaxPassphrase is the longest passphrase in bytes.
const MaxPassphrase = 4096

// argonParams are Argon2id's costs (RFC 9106). They stand in the header, which
// whoever holds the file can change: parsing bounds them before anything is
// allocated or computed. Weakening them gains nothing, since another root key
// comes out.
type argonParams struct {
	memoryKiB uint32
	passes    uint32
	threads   uint8
}

// Bounds of what a header may ask for: 1 GiB of memory, and some 20 seconds.
const (
	maxArgonMemoryKiB = 1 << 20
	maxArgonPasses    = 16
	maxArgonThreads   = 16
)

// defaultArgon is the second recommended option of RFC 9106, section 4.
var defaultArgon = argonParams{memoryKiB: 64 << 10, passes: 3, threads: 4}

func (p argonParams) valid() bool {
	return p.threads >= 1 && p.threads <= maxArgonThreads &&
		p.passes >= 1 && p.passes <= maxArgonPasses &&
		p.memoryKiB >= 8*uint32(p.threads) && p.memoryKiB <= maxArgonMemoryKiB
}

type passphraseUnlock struct {
	passphrase []byte
	argon      argonParams
}

// PassphraseUnlock unlocks with a passphrase of 1 to MaxPassphrase bytes,
// through Argon2id: 64 MiB of memory and some tenths of a second each time.
// It borrows the bytes while it is used and does not clear them. They are taken
// as they are: see ParsePassphraseFile for what a file holds.
func PassphraseUnlock(passphrase []byte) Unlocker {
	return passphraseUnlock{passphrase, defaultArgon}
}

func (passphraseUnlock) Kind() UnlockKind { return UnlockPassphrase }

func (u passphraseUnlock) params() rootParams {
	p := rootParams{argon: u.argon}
	rand.Read(p.salt[:])
	return p
}

func (u passphraseUnlock) root(p rootParams) (*secret.Key, error) {
	if len(u.passphrase) == 0 || len(u.passphrase) > MaxPassphrase {
		return nil, fmt.Errorf("passphrase of %d bytes, want 1 to %d: %w", len(u.passphrase), MaxPassphrase, ErrWrongKey)
	}
	key, err := secret.Take(argon2.IDKey(u.passphrase, p.salt[:], p.argon.passes, p.argon.memoryKiB, p.argon.threads, secret.Size))
	// Give back Argon2id's memory, which otherwise stays with the daemon for
	// minutes, and what was computed in it with it.
	if p.argon.memoryKiB >= 16<<10 {
		debug.FreeOSMemory()
	}
	return key, err
}

// ParsePassphraseFile returns the passphrase in text: its only line, without
// the line end (LF or CRLF). Error: ErrKeyFile. The result is part of text.
func ParsePassphraseFile(text []byte) ([]byte, error) {
	p := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(p) == 0 || len(p) > MaxPassphrase || bytes.ContainsAny(p, "\r\n\x00") {
		return nil, fmt.Errorf("passphrase file is not one line of 1 to %d bytes: %w", MaxPassphrase, ErrKeyFile)
	}
	return p, nil
}
