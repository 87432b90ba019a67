package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore/durable"
)

// Keystore and superblock are small, and all else in a store hangs on them: each has a
// second copy beside it. Nothing opens a copy by itself. It is there to be put in the
// place of an original that is lost, by who has seen that it is.

// copyOf is the name of the second copy of a file.
func copyOf(name string) string { return name + copySuffix }

// writeBoth replaces a file and its copy durably, the copy first: it is never older than
// the file, so that putting it in its place loses no key that was acknowledged.
func writeBoth(c *Config, name string, b []byte) error {
	return durable.WriteFilesAtomic(b, 0o600, c.path(copyOf(name)), c.path(name))
}

// damage is an error about a file of the store that has a copy: it is missing, or not as
// it was written.
type damage struct {
	name string // of the original
	err  error
}

func (d *damage) Error() string { return d.err.Error() }
func (d *damage) Unwrap() error { return d.err }

// unreadable is the error of reading a file that has a copy: damage, where another file
// in its place would help.
func unreadable(name string, err error) error {
	for _, e := range []error{errNotRegular, os.ErrNotExist, syscall.EIO, syscall.EBADMSG, syscall.EUCLEAN} {
		if errors.Is(err, e) {
			return &damage{name, err}
		}
	}
	return err
}

// advise gives an error that is damage the hint how to get over it. u is what opens the
// store, nil: it has not been read.
func (c *Config) advise(err error, u *unlock) error {
	var d *damage
	if !errors.As(err, &d) {
		return err
	}
	names, sure := c.helpful(u)
	if len(names) == 0 {
		return hinted(err, fmt.Sprintf("nothing was changed: bring the file %s back from a backup of the store", d.name))
	}
	var copies, commands []string
	for _, name := range names {
		copies = append(copies, copyOf(name))
		commands = append(commands, c.putBack(name))
	}
	is := "looks whole"
	if sure {
		is = "is whole"
	}
	return hinted(err, fmt.Sprintf("nothing was changed; %s %s, and while no daemon runs this puts it in place: %s",
		strings.Join(copies, " with "), is, strings.Join(commands, " && ")))
}

// putBack is the command that puts a copy in the place of its original.
func (c *Config) putBack(name string) string {
	path := ShellQuote(c.path(name))
	command := "cp -p " + ShellQuote(c.path(copyOf(name))) + " " + path
	if st, err := os.Stat(c.path(name)); err == nil && st.Mode().IsRegular() {
		return command
	}
	if _, err := os.Lstat(c.path(name)); err == nil {
		// A pipe, a directory, a link to nothing: cp would not replace it.
		return "mv " + path + " " + ShellQuote(c.path(name)+".damaged") + " && " + command
	}
	return command
}

// helpful are the files in whose place their copies make a store open that does not.
// Not sure: nothing that opens it is at hand, and they are as far as can be seen
// without.
func (c *Config) helpful(u *unlock) (names []string, sure bool) {
	given := u
	defer func() {
		if u != given {
			u.wipe()
		}
	}()
	for _, try := range [][2]string{
		{copyOf(nameSuperblock), nameKeystore},
		{nameSuperblock, copyOf(nameKeystore)},
		{copyOf(nameSuperblock), copyOf(nameKeystore)},
	} {
		var put []string
		for _, name := range try {
			if original, ok := strings.CutSuffix(name, copySuffix); ok {
				put = append(put, original)
			}
		}
		s := &store{cfg: c, unlock: u}
		err := s.tryOpen(try[0], try[1])
		// What was named is read once: it may be a pipe.
		if u == nil && (c.KeyFile != "" || c.PassphraseFile != "") {
			u = s.unlock
		}
		if s.unlock == u {
			s.unlock = nil // not its to wipe
		}
		s.close()
		switch {
		case err == nil:
			return put, true
		case errors.Is(err, errNoKey) && names == nil:
			names = put
		}
	}
	return names, false
}

// errNoKey: the files of a store are well formed, and what would open them is not at
// hand.
var errNoKey = errors.New("no key")

// tryOpen is unlockStore with files of these names, up to where it reads no more.
// Errors: errNoKey, others.
func (s *store) tryOpen(superblock, keystore string) error {
	sb, err := readSuperblockFrom(s.cfg, superblock)
	if err != nil {
		return err
	}
	if superblock != nameSuperblock && !sb.Initialised {
		return fmt.Errorf("%s is not initialised", superblock) // no copy is
	}
	text, err := readKeystoreFrom(s.cfg, keystore)
	if err != nil {
		return err
	}
	var d *damage
	err = s.unlockWith(context.Background(), sb, text)
	if err == nil || errors.As(err, &d) || errors.Is(err, kms.ErrVersion) {
		return err
	}
	return fmt.Errorf("%w: %w", errNoKey, err)
}

var (
	errCopyMissing = errors.New("it is missing")
	errCopyDiffers = errors.New("it is not as its original")
)

// compareCopy compares a copy with its original, whose bytes the caller has. Errors:
// errCopyMissing, errCopyDiffers, why it cannot be read.
func (c *Config) compareCopy(name string, original []byte) error {
	b, err := readSmall(c.path(copyOf(name)), int64(len(original))+1)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errCopyMissing
	case err == nil && !bytes.Equal(b, original):
		return errCopyDiffers
	}
	return err
}

// mendCopies makes copies anew that are not as their originals, which unlockStore found
// good: they count, whichever is the newer one. Where a crash came between the two
// writes the change was never acknowledged. A copy with keys that are nowhere else stays
// all the same. What cannot be written is told and no more, so that a store on a full
// disk opens.
func (s *store) mendCopies(log *slog.Logger) {
	s.files.Lock()
	defer s.files.Unlock()
	originals := s.originals
	s.originals = nil
	if !s.sb.Initialised {
		delete(originals, nameSuperblock) // see writeSuperblock
	}
	bad := map[string]error{}
	missing := 0
	for name, text := range originals {
		err := s.cfg.compareCopy(name, text)
		if err != nil {
			bad[name] = err
		}
		if errors.Is(err, errCopyMissing) {
			missing++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		file := slog.String("file", s.cfg.path(copyOf(name)))
		if name == nameKeystore && errors.Is(bad[name], errCopyDiffers) && s.copyHasMore() {
			log.Warn("a second copy has keys that its original has not, which may come from an older backup: it stays until a key is changed", file)
			continue
		}
		switch {
		case missing == len(originals) && s.cfg.ReadOnly:
			log.Info("the store has no second copies yet: they are made when it is opened to be written", file)
		case missing == len(originals):
			log.Info("making a second copy, which the store does not have yet", file)
		case s.cfg.ReadOnly:
			log.Warn("a second copy is missing or damaged, and is made anew when the store is opened to be written", file, "error", bad[name])
		default:
			log.Warn("a second copy is missing or damaged, making it anew", file, "error", bad[name])
		}
		if s.cfg.ReadOnly {
			continue
		}
		if err := durable.WriteFileAtomic(s.cfg.path(copyOf(name)), originals[name], 0o600); err != nil {
			log.Warn("a second copy cannot be written: the next change of a key has to", file, "error", err)
		}
	}
}

// copyHasMore reports whether the keystore's copy opens and has keys, or versions of
// them, that the keystore has not.
func (s *store) copyHasMore() bool {
	ctx := context.Background()
	text, err := readKeystoreFrom(s.cfg, copyOf(nameKeystore))
	if err != nil {
		return false
	}
	other, err := kms.OpenKeystore(text, s.unlock, s.saveKeystore)
	if err != nil {
		return false
	}
	defer other.Close()
	keys, err := other.List(ctx)
	return err == nil && slices.ContainsFunc(keys, func(k kms.KeyInfo) bool {
		own, err := s.kms.Describe(ctx, k.ID)
		return err != nil || own.Versions < k.Versions
	})
}

// checkFiles reads keystore, superblock and their copies as they stand on the disk, and
// tells what is not as it was written.
func (s *store) checkFiles(damaged func(error)) {
	s.files.Lock()
	defer s.files.Unlock()
	t := &store{cfg: s.cfg, unlock: s.unlock}
	err := t.tryOpen(nameSuperblock, nameKeystore)
	t.unlock = nil
	t.close()
	lost := ""
	if err != nil {
		var d *damage
		if errors.As(err, &d) {
			lost = d.name
		}
		if names, _ := s.cfg.helpful(s.unlock); len(names) > 0 {
			err = fmt.Errorf("%w (its second copy is whole: once no daemon runs, the next one says how to put it in place)", err)
		}
		damaged(err)
	}
	const mended = " (the next daemon that starts makes it anew)"
	var missing []string
	for _, name := range []string{nameKeystore, nameSuperblock} {
		original, err := readSmall(s.cfg.path(name), maxKeystoreFile)
		if err != nil || name == lost {
			continue // it is no measure for its copy
		}
		switch err := s.cfg.compareCopy(name, original); {
		case errors.Is(err, errCopyMissing):
			missing = append(missing, copyOf(name))
		case name == nameKeystore && errors.Is(err, errCopyDiffers) && s.copyHasMore():
			damaged(fmt.Errorf("%s: it has keys that %s has not, which may come from an older backup", copyOf(name), name))
		case err != nil:
			damaged(fmt.Errorf("%s: %w%s", copyOf(name), err, mended))
		}
	}
	if len(missing) == 2 && s.cfg.ReadOnly {
		return // the store was made before there were copies, and not written since
	}
	for _, name := range missing {
		damaged(fmt.Errorf("%s: %w%s", name, errCopyMissing, mended))
	}
}
