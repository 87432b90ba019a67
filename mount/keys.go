package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/durable"
)

// unlock is what opens a keystore, and where it came from.
type unlock struct {
	kms.Unlocker
	// What says it in messages: key file "/x".
	What string
	// KeyFile is the path of the key file, empty for a passphrase.
	KeyFile string
	// Made: the key file was made by this process.
	Made bool
	// Warn is what the user should be told about the file, or "".
	Warn string
	wipe func()
}

// openUnlock reads the key file or passphrase of an existing store, whose
// keystore wants kind.
func openUnlock(c *Config, storeID [16]byte, kind kms.UnlockKind) (*unlock, error) {
	switch {
	case c.PassphraseFile != "" && kind == kms.UnlockKeyFile:
		return nil, hinted(errors.New("the store opens with a key file, not with a passphrase"), "leave --passphrase-file out")
	case c.KeyFile != "" && kind == kms.UnlockPassphrase:
		return nil, hinted(errors.New("the store opens with a passphrase, not with a key file"), "give --passphrase-file instead of --key-file")
	case kind == kms.UnlockPassphrase && c.PassphraseFile == "":
		return nil, hinted(errors.New("the store opens with a passphrase, and none was given"), "give --passphrase-file FILE, or set COFFER_PASSPHRASE_FILE")
	case kind == kms.UnlockPassphrase:
		return readPassphrase(c.PassphraseFile)
	}
	path := c.KeyFile
	if path == "" {
		var err error
		if path, err = DefaultKeyFile(storeID); err != nil {
			return nil, err
		}
	}
	u, err := readKeyFile(path)
	if errors.Is(err, os.ErrNotExist) {
		hint := "without its key file the store cannot be opened: name it with --key-file"
		return nil, hinted(fmt.Errorf("key file %q does not exist", path), hint)
	}
	return u, err
}

// newUnlock finds what a new store is to open with: the passphrase or key file
// that was named, or a new key file, which is durable when it returns.
func newUnlock(c *Config, storeID [16]byte) (*unlock, error) {
	if c.PassphraseFile != "" {
		return readPassphrase(c.PassphraseFile)
	}
	path := c.KeyFile
	if path == "" {
		var err error
		if path, err = DefaultKeyFile(storeID); err != nil {
			return nil, err
		}
		if isInside(path, c.Store) {
			return nil, hinted(fmt.Errorf("the key file %q would lie inside the store", path), "name another place with --key-file")
		}
	}
	u, err := readKeyFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return u, err
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, otherKeyFile(err)
	}
	key := secret.Random()
	text := kms.FormatKeyFile(key)
	defer clear(text)
	if err := durable.CreateExclusive(path, text, 0o600); err != nil {
		key.Wipe()
		return nil, otherKeyFile(err)
	}
	u = keyFileUnlock(key, path)
	u.Made = true
	return u, nil
}

func keyFileUnlock(key *secret.Key, path string) *unlock {
	return &unlock{Unlocker: kms.KeyFileUnlock(key), What: fmt.Sprintf("key file %q", path), KeyFile: path, wipe: key.Wipe}
}

func readKeyFile(path string) (*unlock, error) {
	text, warn, err := readSecretFile(path, "key file")
	if err != nil {
		return nil, err
	}
	defer clear(text)
	key, err := kms.ParseKeyFile(text)
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", path, err)
	}
	u := keyFileUnlock(key, path)
	u.Warn = warn
	return u, nil
}

func readPassphrase(path string) (*unlock, error) {
	text, warn, err := readSecretFile(path, "passphrase file")
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("passphrase file %q does not exist", path)
	}
	if err != nil {
		return nil, err
	}
	p, err := kms.ParsePassphraseFile(text)
	if err != nil {
		clear(text)
		return nil, fmt.Errorf("passphrase file %q: %w", path, err)
	}
	return &unlock{
		Unlocker: kms.PassphraseUnlock(p),
		What:     fmt.Sprintf("passphrase in %q", path),
		Warn:     warn,
		wipe:     func() { clear(text) },
	}, nil
}

// maxSecretFile bounds what is read of a key or passphrase file, in bytes.
const maxSecretFile = kms.MaxPassphrase + 2

// readSecretFile reads a small file that nobody but its owner should be able
// to read; warn says so if others can. It is no refusal: how secrets are handed
// in (containers, secret stores) is not ours to decide.
func readSecretFile(path, what string) (text []byte, warn string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	if st.IsDir() {
		return nil, "", fmt.Errorf("%s %q is a directory", what, path)
	}
	if st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		warn = fmt.Sprintf("%s %s can be read or written by others (mode %04o): chmod 600 it", what, path, st.Mode().Perm())
	}
	text, err = io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, "", fmt.Errorf("%s %q: %w", what, path, err)
	}
	if len(text) > maxSecretFile {
		clear(text)
		return nil, "", fmt.Errorf("%s %q is longer than %d bytes", what, path, maxSecretFile)
	}
	return text, warn, nil
}

// checkNewUnlock makes sure that what a new store is to open with can be read,
// where it was named and exists, or else can be made, before anything is made.
func checkNewUnlock(c *Config) error {
	var u *unlock
	var err error
	path := c.KeyFile
	switch {
	case c.PassphraseFile != "":
		u, err = readPassphrase(c.PassphraseFile)
	case path != "":
		u, err = readKeyFile(path)
	default:
		if path, err = DefaultKeyFile([16]byte{}); err == nil {
			err = os.ErrNotExist // under an id that no store has had
		}
	}
	if u != nil {
		u.wipe()
	}
	if !errors.Is(err, os.ErrNotExist) || c.PassphraseFile != "" {
		return err
	}
	dir, _, err := existing(filepath.Dir(path))
	if err == nil {
		err = checkWritable(dir)
	}
	return otherKeyFile(err)
}

// otherKeyFile is an error about making a key file.
func otherKeyFile(err error) error {
	if err == nil {
		return nil
	}
	return hinted(fmt.Errorf("cannot make the key file: %w", err), "name another place with --key-file")
}
