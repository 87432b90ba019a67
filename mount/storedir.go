package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/durable"
	"github.com/cofferfs/coffer/objstore/meta/pebblekv"
	"github.com/cofferfs/coffer/objstore/record"
)

// Names in the store directory. They are on disk.
const (
	nameSuperblock = "superblock"
	nameKeystore   = "keystore"
	nameMeta       = "meta"
	nameData       = "data"
	nameLock       = "lock"
	nameRun        = "run"

	copySuffix = ".copy" // of the second copies of keystore and superblock
)

// dirState is what stands at the path of a store.
type dirState int

const (
	dirAbsent dirState = iota // nothing, or an empty directory
	dirHalf                   // a store whose making was interrupted
	dirStore                  // a store
)

// inspect looks at the store directory without changing anything. The
// superblock is returned for the last two states; it is not authenticated yet.
func inspect(c *Config) (dirState, *superblockFile, error) {
	st, err := os.Stat(c.Store)
	if errors.Is(err, os.ErrNotExist) {
		return dirAbsent, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("store: %w", err)
	}
	if !st.IsDir() {
		return 0, nil, fmt.Errorf("store %q is not a directory", c.Store)
	}
	entries, err := os.ReadDir(c.Store)
	if err != nil {
		return 0, nil, fmt.Errorf("store: %w", err)
	}
	var foreign, parts []string
	found := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == nameSuperblock:
			found = true
		case slices.Contains([]string{nameKeystore, nameMeta, nameData, copyOf(nameKeystore), copyOf(nameSuperblock)}, name):
			parts = append(parts, name)
		case name == nameLock, name == nameRun, name == "lost+found":
		case strings.HasSuffix(name, ".tmp") && (strings.HasPrefix(name, "."+nameSuperblock+".") || strings.HasPrefix(name, "."+nameKeystore+".")):
		default:
			foreign = append(foreign, name)
		}
	}
	if found {
		sb, err := readSuperblock(c)
		if err != nil {
			return 0, nil, c.advise(err, nil)
		}
		if sb.Initialised {
			return dirStore, sb, nil
		}
		return dirHalf, sb, nil
	}
	if below := storeBelow(c.Store, entries); below != "" {
		return 0, nil, hinted(fmt.Errorf("directory %q has a store below it, %q", c.Store, below), hintNested)
	}
	if len(parts) > 0 {
		lost := fmt.Errorf("store %q has no superblock, but has %s", c.Store, strings.Join(parts, ", "))
		return 0, nil, c.advise(&damage{nameSuperblock, lost}, nil)
	}
	if len(foreign) > 0 {
		return 0, nil, hinted(fmt.Errorf("directory %q is not empty and no coffer store", c.Store), "name a directory that is empty or does not exist")
	}
	return dirAbsent, nil, nil
}

// checkStoreWritable refuses a store directory that cannot be changed, where
// it exists, or that cannot be made, before anything is tried. A directory
// whose owner has taken away the right to write is taken at its word, though
// root could write all the same.
func checkStoreWritable(c *Config) error {
	const hint = "coffer keeps its lock and its socket in the store directory, even with --read-only"
	dir, st, err := existing(c.Store)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if dir == c.Store && st.Mode().Perm()&0o200 == 0 {
		return hinted(fmt.Errorf("store directory %q is read-only (mode %04o)", dir, st.Mode().Perm()), hint)
	}
	if err := checkWritable(dir); err != nil {
		return hinted(fmt.Errorf("store %q: %w", c.Store, err), hint)
	}
	return nil
}

// existing returns dir or, where it does not exist, the nearest directory above that
// does.
func existing(dir string) (string, os.FileInfo, error) {
	for ; ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir):
			continue
		case err != nil:
			return "", nil, err
		case !st.IsDir():
			return "", nil, fmt.Errorf("%q is not a directory", dir)
		}
		return dir, st, nil
	}
}

// newStoreRoom is what has to be free on the disk for a new store, in bytes: what
// the metadata leave free, and what is in them at first.
const newStoreRoom = pebblekv.LowWater + 1<<20

// checkRoom refuses to make a store where there is no room for one.
func checkRoom(c *Config) error {
	dir, _, err := existing(c.Store)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	disk, err := durable.DiskOf(dir)
	if err != nil || disk.Available >= newStoreRoom {
		return nil // where nobody can tell it is tried
	}
	return hinted(fmt.Errorf("store %q: a new store needs %d MiB of free space, and %q has %d", c.Store, newStoreRoom>>20, dir, disk.Available>>20),
		"free some room, or name another place with --store")
}

// makeDir makes the store directory. It returns the directories that were missing,
// the innermost first.
func makeDir(c *Config) (made []string, err error) {
	there, _, err := existing(c.Store)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	for dir := c.Store; dir != there; dir = filepath.Dir(dir) {
		made = append(made, dir)
	}
	if err := durable.MkdirAll(c.Store, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return made, nil
}

// unmake takes back what the making of a store that failed has left, unless its
// superblock is there: then the next start goes on. The lock is held.
func (s *store) unmake() {
	if _, err := os.Lstat(s.cfg.path(nameSuperblock)); !errors.Is(err, os.ErrNotExist) {
		return
	}
	// A key file at a place that was named may be another store's by now.
	if s.unlock != nil && s.unlock.Made && s.cfg.KeyFile == "" {
		_ = os.Remove(s.unlock.KeyFile)
	}
	_ = durable.RemoveTemp(s.cfg.path(nameSuperblock))
	_ = s.lock.Remove()
	for _, dir := range s.cfg.made {
		_ = os.Remove(dir) // not if somebody else uses it
	}
}

// superblockFile is a superblock as it was read, with what its first store key
// must verify.
type superblockFile struct {
	*record.Superblock
	text, body, mac []byte // all of it, and two parts of it
}

func readSuperblock(c *Config) (*superblockFile, error) { return readSuperblockFrom(c, nameSuperblock) }

// readSuperblockFrom reads the superblock or its copy. Errors: *damage, others.
func readSuperblockFrom(c *Config, name string) (*superblockFile, error) {
	b, err := readSmall(c.path(name), record.MaxSuperblock+1)
	if err != nil {
		return nil, unreadable(nameSuperblock, fmt.Errorf("superblock: %w", err))
	}
	s, body, mac, err := record.ParseSuperblock(b)
	var newer *record.NewerFormatError
	switch {
	case errors.As(err, &newer):
		return nil, hinted(fmt.Errorf("store %q: %w", c.Store, err), "it was made by a newer coffer: use that one")
	case err != nil:
		return nil, damagedSuperblock(c, err)
	}
	return &superblockFile{Superblock: s, text: b, body: body, mac: mac}, nil
}

func damagedSuperblock(c *Config, err error) error {
	return &damage{nameSuperblock, fmt.Errorf("store %q: %w", c.Store, err)}
}

func superblockBinding(id [16]byte) crypto.Binding {
	return crypto.Bind(crypto.DomainSuperblock, id[:])
}

// verify authenticates the superblock with its first store key.
func (s *superblockFile) verify(c *Config, key *secret.Key) error {
	if err := crypto.VerifyMAC(key, superblockBinding(s.StoreID), s.body, s.mac); err != nil {
		return damagedSuperblock(c, fmt.Errorf("%w: it does not authenticate", record.ErrSuperblock))
	}
	return nil
}

// writeSuperblock replaces the superblock and its copy durably. key is the first store
// key. A superblock that is not initialised leads to nothing yet and gets no copy: so a
// directory with nothing but a copy is a store that was lost, never one half made.
func writeSuperblock(c *Config, s *record.Superblock, key *secret.Key) error {
	b := record.AppendSuperblock(nil, s, func(body []byte) [32]byte {
		return crypto.MAC(key, superblockBinding(s.StoreID), body)
	})
	if !s.Initialised {
		return durable.WriteFileAtomic(c.path(nameSuperblock), b, 0o600)
	}
	return writeBoth(c, nameSuperblock, b)
}

func readKeystore(c *Config) ([]byte, error) { return readKeystoreFrom(c, nameKeystore) }

// readKeystoreFrom reads the keystore file or its copy. Errors: *damage, others.
func readKeystoreFrom(c *Config, name string) ([]byte, error) {
	b, err := readSmall(c.path(name), maxKeystoreFile+1)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &damage{nameKeystore, fmt.Errorf("store %q has no keystore: %w", c.Store, err)}
	}
	if err != nil {
		return nil, unreadable(nameKeystore, fmt.Errorf("keystore: %w", err))
	}
	return b, nil
}

var errNotRegular = errors.New("not a regular file")

// readSmall returns the first most bytes of a file. To open a pipe that stands in its
// place would wait for ever.
func readSmall(path string, most int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q", errNotRegular, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// maxKeystoreFile bounds what is read of a keystore, in bytes; package kms
// refuses what is longer.
const maxKeystoreFile = 17 << 20

// saveKeystore is the save function of the built-in key service.
func (s *store) saveKeystore(b []byte) error {
	if s.cfg.ReadOnly {
		return objstore.E(objstore.KindReadOnly, "save keystore", "", "the store is open read-only")
	}
	s.files.Lock()
	defer s.files.Unlock()
	return writeBoth(s.cfg, nameKeystore, b)
}

// saveSuperblock is writeSuperblock for a store that is open.
func (s *store) saveSuperblock(sb *record.Superblock) error {
	s.files.Lock()
	defer s.files.Unlock()
	return writeSuperblock(s.cfg, sb, s.keys[sb.Keys[0].ID])
}
