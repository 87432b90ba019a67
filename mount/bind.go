package mount

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// bindable returns the served file system that a new mount can share: a mount
// that shows the same files through the same kernel caches is coherent with it
// by nature, and keeps the writeback cache. Only root may bind.
func (d *Daemon) bindable(with []*served, r MountRequest) *served {
	if !canUnmountDirectly() || r.Cache != CacheAuto || len(r.SSECKeys) > 0 {
		return nil
	}
	for _, s := range with {
		if d.store.engine.LentKeys(s.origin) > 0 {
			continue // its keys are not for the new one
		}
		if s.writeback && s.shows(r.Bucket) && s.other == r.AllowOther && s.source(r.Bucket, r.ReadOnly) != nil {
			return s
		}
	}
	return nil
}

// source returns a mount point of s below which bucket can be found, or nil.
func (s *served) source(bucket string, readOnly bool) *mountPoint {
	for _, p := range s.points {
		if (p.Bucket == "" || p.Bucket == bucket) && (!p.ReadOnly || readOnly) {
			return p
		}
	}
	return nil
}

// bind shows s, or one bucket of it, on another directory.
func (d *Daemon) bind(s *served, p *mountPoint) error {
	source := s.source(p.Bucket, p.ReadOnly)
	from := source.Mountpoint
	if source.Bucket != p.Bucket {
		from += "/" + p.Bucket
	}
	if err := unix.Mount(from, p.Mountpoint, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %q to %q: %w", from, p.Mountpoint, err)
	}
	if p.ReadOnly {
		flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
		if err := unix.Mount("", p.Mountpoint, "", flags, ""); err != nil {
			return errors.Join(fmt.Errorf("make %q read-only: %w", p.Mountpoint, err), unmountPath(p.Mountpoint, true))
		}
	}
	p.Cache, p.of = cacheShared, s
	s.points = append(s.points, p)
	return nil
}
