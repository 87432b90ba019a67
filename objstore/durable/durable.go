// Package durable holds the few operations on files whose result must be on
// stable storage when they return: replacing or creating a small file,
// creating a directory, locking, and asking how much room is left.
//
// Everything here is for small files that are written whole (superblocks,
// keystores, configuration). Segments and logs have writers of their own.
//
// No function retries a failed fsync: the kernel may have dropped the dirty
// pages, and a second fsync would then report success for bytes that are lost.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteFileAtomic makes p the whole content of the file at path, replacing
// what was there. When it returns nil the new content is durable; whenever it
// fails or the machine stops, path holds either all of the old or all of the
// new content. perm is applied whatever the umask is.
//
// A crash can leave a file ".<name>.<random>.tmp" beside path, which nobody
// reads; RemoveTemp deletes such files.
func WriteFileAtomic(path string, p []byte, perm os.FileMode) error {
	return place(path, p, perm, os.Rename)
}

// WriteFilesAtomic is WriteFileAtomic of the same content for several paths, in their
// order: when one is replaced, those before it are durable. The content is synced for
// all before the first is replaced, so that where it has no room none is.
func WriteFilesAtomic(p []byte, perm os.FileMode, paths ...string) error {
	temps := make([]string, 0, len(paths))
	defer func() {
		for _, t := range temps {
			os.Remove(t) // one that was moved is not there
		}
	}()
	for _, path := range paths {
		temp, err := prepare(path, p, perm)
		if err != nil {
			return fmt.Errorf("write %q: %w", path, err)
		}
		temps = append(temps, temp)
	}
	for i, path := range paths {
		if err := settle(temps[i], path, os.Rename); err != nil {
			return fmt.Errorf("write %q: %w", path, err)
		}
	}
	return nil
}

// CreateExclusive makes a file at path with the content p, durably. It fails
// with an error that is fs.ErrExist, and changes nothing, when the name is
// taken. The file appears with all of its content or not at all.
func CreateExclusive(path string, p []byte, perm os.FileMode) error {
	return place(path, p, perm, renameNoReplace)
}

// SyncDir makes the names in the directory at path durable: creations,
// renames and removals that returned before it.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MkdirAll makes the directory at path and those above it that are missing,
// each with perm, durably. A directory that is there keeps its mode.
func MkdirAll(path string, perm os.FileMode) error {
	path = filepath.Clean(path)
	st, err := os.Stat(path)
	if err == nil {
		if !st.IsDir() {
			return &os.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	// Another process may make it meanwhile. Its name must be durable all the
	// same before we answer for it.
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// RemoveTemp deletes what interrupted calls of WriteFileAtomic and
// CreateExclusive left behind for path. The caller makes sure that none is
// running.
func RemoveTemp(path string) error {
	dir, base := split(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isTemp(e.Name(), base) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

const tempSuffix = ".tmp"

func isTemp(name, base string) bool {
	prefix := "." + base + "."
	return len(name) > len(prefix)+len(tempSuffix) &&
		name[:len(prefix)] == prefix && name[len(name)-len(tempSuffix):] == tempSuffix
}

// place writes p to a temporary file and moves it to path with move.
func place(path string, p []byte, perm os.FileMode, move func(from, to string) error) error {
	temp, err := prepare(path, p, perm)
	if err == nil {
		if err = settle(temp, path, move); err != nil {
			os.Remove(temp)
		}
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

// prepare writes p to a temporary file beside path and syncs it.
func prepare(path string, p []byte, perm os.FileMode) (temp string, err error) {
	dir, base := split(path)
	f, err := os.CreateTemp(dir, "."+base+".*"+tempSuffix)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(perm); err != nil {
		return "", err
	}
	if _, err := f.Write(p); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// settle moves what prepare made to path, durably.
func settle(temp, path string, move func(from, to string) error) error {
	if err := move(temp, path); err != nil {
		return err
	}
	dir, _ := split(path)
	return SyncDir(dir)
}

func split(path string) (dir, base string) {
	dir, base = filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	return dir, base
}

// renameNoReplace is rename(2) that fails with EEXIST when to exists.
func renameNoReplace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch err {
	case nil:
		return nil
	case unix.EINVAL, unix.ENOSYS:
		// A file system or kernel without the flag. A hard link refuses an
		// existing name as well; the second name is removed afterwards.
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	}
	return &os.LinkError{Op: "renameat2", Old: from, New: to, Err: err}
}
