package mount

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	fusefs "github.com/cofferfs/coffer/fs"
	"github.com/cofferfs/coffer/objstore"
)

// maxUsers bounds the processes that a message names.
const maxUsers = 5

// A file system that is mounted with the writeback cache keeps it for life, and must
// not overlap another one. When a mount is asked for that overlaps it, and that cannot
// share its caches (bindable), the first is demoted: over each of its mount points a
// new file system, write-through, is mounted. There is no moment in which the directory
// below shows. From then on no path leads to the old file system, so nobody can begin
// to use it. Whoever uses it already would go on in its cache: if there is somebody,
// the mount is refused. The old one stays, unused, until what covers it is unmounted.
//
// Users are looked for twice: before anything has happened, and again when no new ones
// can come. If only the second look finds some, the covers are taken back. Nobody may
// have changed anything through them until then, as the old one's cache would not hear
// of it: so whoever comes waits (fusefs.Options.Gated), and then goes on in the cover,
// or in the old one if the cover is taken back.
//
// Only root can demote: fusermount, which mounts for other users, may not enter a mount
// of theirs, and so cannot mount over it.

// demote takes the place of s with write-through mounts. mountsMu is held.
func (d *Daemon) demote(s *served) error {
	if !canUnmountDirectly() {
		return hinted(fmt.Errorf("the same files are mounted on %q with the writeback cache", s.points[0].Mountpoint),
			"mount that one with --cache=through, then both can be mounted")
	}
	if err := unused(s); err != nil {
		return err
	}
	d.log.Info("mounting write-through over a mount with the writeback cache", "mountpoint", s.points[0].Mountpoint)
	covers, err := d.cover(s)
	if err == nil {
		err = unused(s)
	}
	if err != nil {
		d.takeBack(covers)
		return err
	}
	s.covered = true
	for _, p := range covers {
		if err := p.of.fs.Admit(); err != nil {
			d.log.Error("a mount does not answer", "mountpoint", p.Mountpoint, "error", err)
		}
	}
	return nil
}

// cover mounts a gated, write-through file system over each mount point of s, and
// flushes s before and after. With an error it returns those that it has mounted.
// mountsMu is held.
func (d *Daemon) cover(s *served) (covers []*mountPoint, err error) {
	at := s.points[0].Mountpoint
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", at, err)
	}
	defer unix.Close(fd) // before the caller looks for users, of whom we would be one
	var st unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Syncfs(fd)); err != nil {
		return nil, fmt.Errorf("flush %q: %w", at, err)
	}
	if uint64(st.Dev) != s.fs.Device() {
		return nil, &Problem{Err: fmt.Errorf("the same files are mounted on %q, where something else is mounted over them", at), Code: CodeBusy}
	}
	for _, p := range s.points {
		cover := &mountPoint{MountInfo: p.MountInfo, gone: make(chan struct{}), over: s, rings: p.rings}
		root, err := d.rootNow(s, p.Bucket)
		if err != nil {
			return covers, err
		}
		err = d.mountFS(root, fusefs.Options{Gated: true}, cover, func(origin uint32) error { return d.store.engine.ShareLentKeys(s.origin, origin) })
		if err != nil {
			return covers, err
		}
		covers = append(covers, cover)
	}
	// What was written between the first flush and the covering.
	if err := unix.Syncfs(fd); err != nil {
		return covers, fmt.Errorf("flush %q: %w", at, err)
	}
	return covers, nil
}

// rootNow is the directory that a mount point of s shows: of a bucket that was removed
// and made anew the new one (fusefs.Options.Bucket), not the one that s began with.
func (d *Daemon) rootNow(s *served, bucket string) (objstore.InodeID, error) {
	if bucket == "" {
		return s.root, nil
	}
	root, err := d.rootOf(bucket)
	if err != nil && bucket == s.bucket {
		return s.root, nil // removed: it shows what s shows
	}
	return root, err
}

// takeBack unmounts what cover has mounted, the last first, and sends those who wait
// there to what it covered. mountsMu is held.
func (d *Daemon) takeBack(covers []*mountPoint) {
	for _, p := range slices.Backward(covers) {
		p.over = nil
		n := p.of
		n.points = nil
		d.served = slices.DeleteFunc(d.served, func(o *served) bool { return o == n })
		if err := unmountPath(p.Mountpoint, true); err != nil {
			d.log.Error("cannot take a mount back", "mountpoint", p.Mountpoint, "error", err)
		}
		n.fs.Refuse()
	}
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
