package mount

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	fusefs "github.com/cofferfs/coffer/fs"
)

// maxUsers bounds the processes that a message names.
const maxUsers = 5

// A file system with the writeback cache cannot be told to do without it, and
// must not overlap another one. When one is mounted that overlaps, and that
// cannot share its caches (bindable), the first is demoted: on each of its
// mount points a new file system, write-through, is mounted over it. There is no
// moment in which the directory below shows. From then on no path leads to the
// old one, so nobody can begin to use it; if somebody uses it already, who would
// go on in its cache, the mount is refused. The old one stays, unused, until what
// covers it is unmounted.
//
// Users are looked for before, when nothing has happened yet, and once more when
// no new ones can come. Those found only then make it be taken back, so nobody may
// have changed anything through the new one until then: the old one's cache would
// not hear of it. Whoever comes waits (fusefs.Options.Gated), and is sent on to the
// old one if it is that.
//
// Only root can: fusermount, which acts for others, may not enter a mount of
// theirs, and so cannot mount over it.

// demote takes the place of s with write-through mounts. mountsMu is held.
func (d *Daemon) demote(s *served) (err error) {
	if !canUnmountDirectly() {
		return hinted(fmt.Errorf("the same files are mounted on %q with the writeback cache", s.points[0].Mountpoint),
			"mount that one with --cache=through, then both can be mounted")
	}
	if err := unused(s); err != nil {
		return err
	}
	d.log.Info("mounting write-through over a mount with the writeback cache", "mountpoint", s.points[0].Mountpoint)
	fd, err := unix.Open(s.points[0].Mountpoint, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", s.points[0].Mountpoint, err)
	}
	var st unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Syncfs(fd)); err != nil {
		unix.Close(fd)
		return fmt.Errorf("flush %q: %w", s.points[0].Mountpoint, err)
	}
	if uint64(st.Dev) != s.fs.Device() {
		unix.Close(fd)
		return &Problem{Err: fmt.Errorf("the same files are mounted on %q, where something else is mounted over them", s.points[0].Mountpoint), Code: CodeBusy}
	}
	var covers []*mountPoint
	defer func() {
		if err == nil {
			for _, p := range covers {
				if aerr := p.of.fs.Admit(); aerr != nil {
					d.log.Error("a mount does not answer", "mountpoint", p.Mountpoint, "error", aerr)
				}
			}
			return
		}
		s.covered = false
		for _, p := range slices.Backward(covers) {
			p.over = nil
			n := p.of
			n.points = nil
			d.served = slices.DeleteFunc(d.served, func(o *served) bool { return o == n })
			if uerr := unmountPath(p.Mountpoint, true); uerr != nil {
				d.log.Error("cannot take a mount back", "mountpoint", p.Mountpoint, "error", uerr)
			}
			n.fs.Refuse()
		}
	}()
	for _, p := range s.points {
		info := p.MountInfo
		cover := &mountPoint{MountInfo: info, gone: make(chan struct{}), over: s}
		root := s.root
		if info.Bucket != "" {
			// s can show another one than at first: fusefs.Options.Bucket.
			made, rerr := d.rootOf(info.Bucket)
			switch {
			case rerr == nil:
				root = made
			case info.Bucket != s.bucket:
				unix.Close(fd)
				err = rerr
				return err
			}
		}
		if err = d.mountFS(root, fusefs.Options{Gated: true}, cover, func(origin uint32) error { return d.store.engine.ShareLentKeys(s.origin, origin) }); err != nil {
			unix.Close(fd)
			return err
		}
		covers = append(covers, cover)
	}
	// What was written between the first flush and the covering.
	err = unix.Syncfs(fd)
	unix.Close(fd)
	if err != nil {
		return fmt.Errorf("flush %q: %w", s.points[0].Mountpoint, err)
	}
	if err := unused(s); err != nil {
		return err
	}
	s.covered = true
	return nil
}

// unused returns an error if somebody uses s.
func unused(s *served) error {
	for _, p := range s.points {
		if users := usersOf(p.Mountpoint, s.fs.Device(), maxUsers); len(users) > 0 {
			return &Problem{
				Err: fmt.Errorf("the same files are mounted on %q with the writeback cache, and in use by %s",
					p.Mountpoint, strings.Join(users, ", ")),
				Hint: "end what uses that mount, or mount it with --cache=through from the start, then both can be mounted",
				Code: CodeBusy,
			}
		}
	}
	// A file can be open where no process shows it: in a message between two, or
	// below a loop device.
	for wait := 5 * time.Millisecond; s.fs.OpenFiles() > 0; wait *= 2 {
		if wait > time.Second {
			return &Problem{
				Err:  fmt.Errorf("the same files are mounted on %q with the writeback cache, and some are open there", s.points[0].Mountpoint),
				Hint: "end what uses that mount, or mount it with --cache=through from the start, then both can be mounted",
				Code: CodeBusy,
			}
		}
		time.Sleep(wait)
	}
	return nil
}

// uncover unmounts what p covered, after p was unmounted. mountsMu is held.
func (d *Daemon) uncover(p *mountPoint) {
	if p.over == nil {
		return
	}
	err := unmountPath(p.Mountpoint, false)
	if errors.Is(err, errBusy) {
		err = unmountPath(p.Mountpoint, true)
	}
	if err != nil {
		d.log.Error("cannot unmount what was covered", "mountpoint", p.Mountpoint, "error", err)
	}
	p.over = nil
}

// coversAny reports whether a mount point still covers s. mountsMu is held.
func (d *Daemon) coversAny(s *served) bool {
	for _, o := range d.served {
		for _, p := range o.points {
			if p.over == s {
				return true
			}
		}
	}
	return false
}
