package mount

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// bindable returns the served file system that a new mount can share: a mount
// that shows the same files through the same kernel caches is coherent with it
// by nature, and keeps the writeback cache. from is a descriptor of the directory
// to be shown. Only root may bind.
func (d *Daemon) bindable(with []*served, r MountRequest) (s *served, from int) {
	if !canUnmountDirectly() || r.Cache != CacheAuto || len(r.SSECKeys) > 0 {
		return nil, -1
	}
	for _, s := range with {
		if d.store.engine.LentKeys(s.origin) > 0 {
			continue // its keys are not for the new one
		}
		if s.writeback && s.shows(r.Bucket) && s.other == r.AllowOther {
			if from, ok := s.source(r.Bucket, r.ReadOnly); ok {
				return s, from
			}
		}
	}
	return nil, -1
}

// source opens the directory of bucket in s, where a mount point of s leads to it.
// What the path leads to is looked at: somebody may have unmounted s there, or
// mounted something else over it.
func (s *served) source(bucket string, readOnly bool) (fd int, ok bool) {
	for _, p := range s.points {
		if p.Bucket != "" && p.Bucket != bucket || p.ReadOnly && !readOnly {
			continue
		}
		dir := p.Mountpoint
		if p.Bucket != bucket {
			dir += "/" + bucket
		}
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && uint64(st.Dev) == s.fs.Device() {
			return fd, true
		}
		unix.Close(fd)
	}
	return -1, false
}

// bind shows the directory from, of s, on another one.
func (d *Daemon) bind(s *served, from int, p *mountPoint) error {
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", from), p.Mountpoint, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %q to %q: %w", s.fs.Dir(), p.Mountpoint, err)
	}
	if p.ReadOnly {
		flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
		if err := unix.Mount("", p.Mountpoint, "", flags, ""); err != nil {
			return errors.Join(fmt.Errorf("make %q read-only: %w", p.Mountpoint, err), unmountPath(p.Mountpoint, true))
		}
	}
	p.Cache, p.Transport, p.of = cacheShared, s.transport(), s
	s.points = append(s.points, p)
	return nil
}
