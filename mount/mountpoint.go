package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// resolveMountpoint makes a mount point absolute and follows symbolic links.
// Unlike filepath.EvalSymlinks it copes with a last component on which a dead
// FUSE mount stands, where stat fails with ENOTCONN.
func resolveMountpoint(path string) (string, error) {
	if path == "" {
		return "", misused(errors.New("no mount point given"), "")
	}
	abs, err := absolute(path)
	if err != nil {
		return "", err
	}
	for range 40 {
		parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
		if err != nil {
			return "", mountpointError(path, err)
		}
		abs = filepath.Join(parent, filepath.Base(abs))
		target, err := os.Readlink(abs)
		if err != nil {
			return abs, nil // no link: a directory, a dead mount, or nothing
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(parent, target)
		}
		abs = filepath.Clean(target)
	}
	return "", fmt.Errorf("mount point %q: too many symbolic links", path)
}

func mountpointError(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return missingPoint(path)
	}
	return fmt.Errorf("mount point %q: %w", path, err)
}

// missingPoint is the error about a mount point that does not exist.
type missingPoint string

func (p missingPoint) Error() string { return fmt.Sprintf("mount point %q does not exist", string(p)) }

// toMake tells whoever wants to mount to make what is missing.
func toMake(err error) error {
	var p missingPoint
	if errors.As(err, &p) {
		return hinted(err, "make it: mkdir -p "+ShellQuote(string(p)))
	}
	return err
}

// checkMountpoint makes sure that dir, which resolveMountpoint returned, can be
// mounted on: an empty directory that is no mount point, neither inside the
// store nor around it. A mount that a dead daemon left there is removed; report
// is told of it.
func checkMountpoint(dir, store string, report func(string)) error {
	if err := cleanStale(dir, report); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return toMake(mountpointError(dir, err))
	}
	if !st.IsDir() {
		return fmt.Errorf("mount point %q is not a directory", dir)
	}
	if isInside(dir, store) {
		return fmt.Errorf("mount point %q lies inside the store %q", dir, store)
	}
	if isInside(store, dir) {
		return fmt.Errorf("the store %q lies inside the mount point %q", store, dir)
	}
	table, err := mountTable()
	if err != nil {
		return err
	}
	if e := findMount(table, dir); e != nil {
		if e.isOurs() {
			return hinted(fmt.Errorf("a coffer store is mounted on %q already", dir), "coffer umount "+ShellQuote(dir))
		}
		return fmt.Errorf("%q is the mount point of another file system (%s)", dir, e.Type)
	}
	f, err := os.Open(dir)
	if err != nil {
		return mountpointError(dir, err)
	}
	defer f.Close()
	switch _, err := f.Readdirnames(1); {
	case err == nil:
		return hinted(fmt.Errorf("mount point %q is not empty", dir), "mount on an empty directory: a mount would hide what is in this one")
	case err != io.EOF:
		return mountpointError(dir, err)
	}
	return helperMounts(dir, st, os.Geteuid())
}

// helperMounts returns why fusermount3 would not mount on a directory for a user. It
// says why to standard error alone, which a daemon does not have.
func helperMounts(dir string, st os.FileInfo, uid int) error {
	if uid == 0 {
		return nil
	}
	owner := st.Sys().(*syscall.Stat_t).Uid
	if st.Mode()&os.ModeSticky != 0 && int(owner) != uid {
		return hinted(fmt.Errorf("this user may not mount on %q: it has the sticky bit and another owner", dir), "mount on a directory of your own")
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS); err != nil {
		return hinted(fmt.Errorf("this user may not mount on %q: it is not writable", dir), "mount on a directory of your own")
	}
	return nil
}

// isDead reports whether a FUSE mount stands on dir whose daemon is gone. It
// asks with statfs, which always goes to the daemon: stat may be answered from
// the kernel's cache. A daemon that dies while it is asked is ECONNABORTED.
func isDead(dir string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	return err == unix.ENOTCONN || err == unix.ECONNABORTED
}

// cleanStale removes the mounts that dead daemons left on dir.
func cleanStale(dir string, report func(string)) error {
	for range 16 { // several can lie on top of each other
		if !isDead(dir) {
			return nil
		}
		table, err := mountTable()
		if err != nil {
			return err
		}
		e := findMount(table, dir)
		if e == nil || !e.isOurs() {
			return hinted(fmt.Errorf("a dead mount that is not coffer's stands on %q", dir), "umount -l "+ShellQuote(dir))
		}
		if err := detach(dir, func() error { return unmountPath(dir, true) }); err != nil {
			return fmt.Errorf("remove the mount that a dead daemon left on %q: %w", dir, err)
		}
		report(fmt.Sprintf("removed the mount that a dead daemon left on %s", dir))
	}
	return fmt.Errorf("mount point %q stays dead", dir)
}

// cleanStaleOf removes all mounts that earlier daemons of the store left. The
// caller holds the store's lock: no other daemon lives.
func cleanStaleOf(store string, report func(string)) error {
	table, err := mountTable()
	if err != nil {
		return err
	}
	for i := range table {
		if e := &table[i]; e.store() == store && isDead(e.Mountpoint) {
			if err := cleanStale(e.Mountpoint, report); err != nil {
				return err
			}
		}
	}
	return nil
}

// canUnmountDirectly: root needs no helper.
func canUnmountDirectly() bool { return os.Geteuid() == 0 }

// errBusy: something in the mount is in use.
var errBusy = errors.New("in use")

// unmountPath unmounts the topmost mount on dir; lazy takes it out of the tree
// even if it is in use. It tries a few times, since the kernel lets go of files
// some time after they were closed. Error: errBusy.
func unmountPath(dir string, lazy bool) error {
	var err error
	for wait := 5 * time.Millisecond; wait < 200*time.Millisecond; wait *= 2 {
		if err = unmountOnce(dir, lazy); err != errBusy {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

func unmountOnce(dir string, lazy bool) error {
	if canUnmountDirectly() {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		err := unix.Unmount(dir, flags)
		if err == unix.EBUSY {
			return errBusy
		}
		if err != nil {
			return &os.PathError{Op: "unmount", Path: dir, Err: err}
		}
		return nil
	}
	helper, err := fusermount()
	if err != nil {
		return err
	}
	args := []string{"-u", "--", dir}
	if lazy {
		args = []string{"-u", "-z", "--", dir}
	}
	cmd := exec.Command(helper, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	// The helper has one exit code for everything that can go wrong.
	text := strings.TrimSpace(string(out))
	if strings.Contains(text, "busy") {
		return errBusy
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(helper), err, text)
}

// flushPath has the kernel begin to hand over all dirty pages of the file system on
// dir; newer kernels do not wait for the end of it (see fs.Mounted.Flush). When ctx
// ends first the work goes on behind it. The descriptor keeps the mount busy
// meanwhile.
func flushPath(ctx context.Context, dir string) error {
	done := make(chan error, 1)
	go func() {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err == nil {
			err = unix.Syncfs(fd)
			unix.Close(fd)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return &os.PathError{Op: "syncfs", Path: dir, Err: err}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fusermount finds the helper that lets a user mount.
func fusermount() (string, error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin", "/bin")
	return findHelper(dirs)
}

func findHelper(dirs []string) (string, error) {
	for _, name := range []string{"fusermount3", "fusermount"} {
		for _, dir := range dirs {
			if !filepath.IsAbs(dir) {
				continue
			}
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", hinted(errors.New("fusermount3 is missing, and only root can mount without it"),
		"install the package fuse3 (Debian, Ubuntu: apt-get install fuse3; Fedora: dnf install fuse3; Arch: pacman -S fuse3; Alpine: apk add fuse3)")
}

// checkFUSE makes sure that this process can mount at all.
func checkFUSE(allowOther bool) error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrPermission) && os.Geteuid() != 0:
		// The helper opens it with the user's rights too.
		return hinted(errors.New("this user may not open /dev/fuse"), "have root run chmod 666 /dev/fuse, which is its usual mode, or mount as root")
	case err != nil:
		return hinted(fmt.Errorf("cannot use FUSE: %w", err), "load the kernel module (modprobe fuse); a container needs --device /dev/fuse and CAP_SYS_ADMIN")
	}
	f.Close()
	if os.Geteuid() == 0 {
		return nil
	}
	if _, err := fusermount(); err != nil {
		return err
	}
	if allowOther && !userAllowOther("/etc/fuse.conf") {
		return hinted(errors.New("only root may mount with --allow-other on this system"), "add the line user_allow_other to /etc/fuse.conf")
	}
	return nil
}

func userAllowOther(conf string) bool {
	text, err := os.ReadFile(conf)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}

// ShellQuote quotes s for a POSIX shell, if it needs it.
func ShellQuote(s string) string {
	plain := s != ""
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-./:@%+=,", c) >= 0) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
