package mount

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// DefaultListen is where the S3 door listens when nothing else is said.
const DefaultListen = "127.0.0.1:9000"

// Config says which store a daemon serves, and how. Its zero value, made
// absolute by Resolve, is the default store.
type Config struct {
	// Store is the store directory; empty: DefaultStore.
	Store string
	// Listen is host:port of the S3 door; empty: DefaultListen. Port 0 picks one.
	Listen string
	// ListenGiven: the caller asked for Listen, it is not the default.
	ListenGiven bool
	// HTTP is host:port of a second S3 door without TLS; empty: none. Port 0
	// picks one.
	HTTP string
	// KeyFile and PassphraseFile unlock the keystore; at most one is set. Both
	// empty: the key file at DefaultKeyFile.
	KeyFile, PassphraseFile string
	// ReadOnly opens the store without changing it: both doors refuse changes.
	ReadOnly bool
	// Guard starts a guard beside a daemon with mounts, which is this program
	// again: only for a program that runs RunGuard if IsGuard.
	Guard bool
	// Debug logs more.
	Debug bool
	// LogFile takes the log of a daemon in the background; empty: DefaultLogFile.
	LogFile string

	made []string // directories that prepare made for the store, the innermost first
}

// Resolve fills the defaults in, makes all paths absolute, and checks what can
// be checked without looking at the store.
func (c *Config) Resolve() error {
	if c.Store == "" {
		dir, err := DefaultStore()
		if err != nil {
			return err
		}
		c.Store = dir
	}
	dir, err := resolveMissing(c.Store)
	if err != nil {
		return fmt.Errorf("store %q: %w", c.Store, err)
	}
	if err := checkPath(dir); err != nil {
		return err
	}
	c.Store = dir
	if c.KeyFile != "" && c.PassphraseFile != "" {
		return hinted(errors.New("a store opens with a key file or with a passphrase, not with both"), "leave --key-file or --passphrase-file out")
	}
	for _, path := range [...]string{c.KeyFile, c.PassphraseFile} {
		// A pipe, as of <(command), gives what is in it once, to one process.
		if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() && !st.IsDir() {
			return hinted(fmt.Errorf("%q is not a regular file", path), "it is read more than once: name a file, in /dev/shm if it should be on no disk")
		}
	}
	for _, path := range [...]*string{&c.KeyFile, &c.PassphraseFile, &c.LogFile} {
		if *path == "" {
			continue
		}
		if err := c.resolveOutside(path); err != nil {
			return err
		}
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if err := checkListen(c.Listen); err != nil {
		return err
	}
	if c.HTTP != "" {
		if err := checkListen(c.HTTP); err != nil {
			return err
		}
	}
	return c.checkSocket()
}

// resolveOutside makes the path of a file absolute that has to lie outside of the store.
func (c *Config) resolveOutside(path *string) (err error) {
	if *path, err = absolute(*path); err != nil {
		return err
	}
	real, err := resolveMissing(*path)
	if err != nil {
		return fmt.Errorf("%q: %w", *path, err)
	}
	if err := checkPath(*path); err != nil {
		return err
	}
	if isInside(real, c.Store) {
		return hinted(fmt.Errorf("%q lies inside the store", *path), "keys and logs have to lie outside the store directory")
	}
	return nil
}

// checkPath refuses what the JSON between the processes of coffer, and that of
// status, would make another path of.
func checkPath(path string) error {
	if utf8.ValidString(path) {
		return nil
	}
	return hinted(fmt.Errorf("path %q is not valid UTF-8", path), "choose a path that is")
}

// maxSocketPath is the longest path of a unix socket, in bytes: sun_path has
// 108 with the terminating NUL (unix(7)).
const maxSocketPath = 107

func (c *Config) checkSocket() error {
	path := c.socketPath()
	if len(path) <= maxSocketPath {
		return nil
	}
	return hinted(fmt.Errorf("path of the admin socket %q has %d bytes, the system allows %d", path, len(path), maxSocketPath),
		fmt.Sprintf("use a store directory whose path has at most %d bytes", len(c.Store)-(len(path)-maxSocketPath)))
}

func checkListen(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return hinted(fmt.Errorf("listen address %q is not host:port", addr), "for example 127.0.0.1:9000")
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return hinted(fmt.Errorf("listen address %q: port is not a number from 0 to 65535", addr), "port 0 picks a free one")
	}
	return nil
}

// Names in the run directory. Scripts may know them.
const (
	nameSocket   = "admin.sock"
	nameCA       = "ca.pem"
	namePID      = "pid"
	nameEndpoint = "endpoint"
)

// Paths inside the store.
func (c *Config) path(name string) string { return filepath.Join(c.Store, name) }
func (c *Config) runDir() string          { return c.path(nameRun) }
func (c *Config) socketPath() string      { return filepath.Join(c.runDir(), nameSocket) }
func (c *Config) caPath() string          { return filepath.Join(c.runDir(), nameCA) }

// DefaultStore is $XDG_DATA_HOME/coffer, for root /var/lib/coffer.
func DefaultStore() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/coffer", nil
	}
	return userDir("XDG_DATA_HOME", ".local/share")
}

// DefaultKeyFile is where the key file of a store lies: in
// $XDG_CONFIG_HOME/coffer/keys, for root without that variable in
// /etc/coffer/keys, under the store's id.
func DefaultKeyFile(storeID [16]byte) (string, error) {
	dir := "/etc/coffer"
	if os.Geteuid() != 0 || os.Getenv("XDG_CONFIG_HOME") != "" {
		var err error
		if dir, err = userDir("XDG_CONFIG_HOME", ".config"); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "keys", hex.EncodeToString(storeID[:])+".key"), nil
}

// DefaultLogFile is the log of a daemon in the background: in
// $XDG_STATE_HOME/coffer, for root without that variable in /var/log/coffer,
// under a hash of the store's path.
func DefaultLogFile(store string) (string, error) {
	dir := "/var/log/coffer"
	if os.Geteuid() != 0 || os.Getenv("XDG_STATE_HOME") != "" {
		var err error
		if dir, err = userDir("XDG_STATE_HOME", ".local/state"); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256([]byte(store))
	return filepath.Join(dir, "coffer-"+hex.EncodeToString(sum[:6])+".log"), nil
}

// userDir is coffer's directory below one of the XDG base directories, which
// count only if they are absolute (XDG Base Directory Specification).
func userDir(variable, below string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "coffer"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", hinted(fmt.Errorf("neither %s nor HOME is set to an absolute path", variable), "set HOME or "+variable)
	}
	return filepath.Join(home, below, "coffer"), nil
}

// absolute makes path absolute.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", hinted(fmt.Errorf("%q is relative to a directory that is gone: %w", path, err), "go to another directory, or name an absolute path")
	}
	return abs, nil
}

// resolveMissing makes path absolute and follows symbolic links, as far as it
// exists: what does not exist yet is taken as it is written.
func resolveMissing(path string) (string, error) {
	abs, err := absolute(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for p := abs; ; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if _, err := os.Lstat(p); err == nil {
			return "", fmt.Errorf("%q is a symbolic link that leads nowhere", p)
		}
		if p == filepath.Dir(p) {
			return abs, nil
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}

// isInside reports whether path is dir or lies below it. Both are absolute and
// clean. Where they exist, directories are compared by identity as well, so
// that a bind mount does not hide that they are the same.
func isInside(path, dir string) bool {
	if path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
		return true
	}
	want, err := os.Stat(dir)
	if err != nil {
		return false
	}
	for p := path; ; p = filepath.Dir(p) {
		if st, err := os.Stat(p); err == nil && os.SameFile(st, want) {
			return true
		}
		if p == filepath.Dir(p) {
			return false
		}
	}
}

// checkWritable returns an error if this process cannot write into dir.
func checkWritable(dir string) error {
	err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	switch err {
	case nil:
		return nil
	case unix.EROFS:
		return fmt.Errorf("%q lies on a read-only file system", dir)
	case unix.EACCES, unix.EPERM:
		return fmt.Errorf("directory %q is not writable", dir)
	}
	return &os.PathError{Op: "access", Path: dir, Err: err}
}

func (c *Config) listenHost() string { return hostOf(c.Listen) }

// hostOf is the host of host:port, or "".
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return host
}

// portOf is the port of host:port, or "".
func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return port
}
