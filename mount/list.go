package mount

import "slices"

// prune drops mount points that umount(8) has removed while their file system
// shows elsewhere. mountsMu is held.
func (d *Daemon) prune() {
	table, err := mountTable()
	if err != nil {
		return
	}
	for _, s := range d.served {
		for i := len(s.points) - 1; i >= 0 && len(s.points) > 1 && !s.covered; i-- {
			if e := findMount(table, s.points[i].Mountpoint); e == nil || !e.isOurs() {
				close(s.points[i].gone)
				s.points = slices.Delete(s.points, i, i+1)
			}
		}
	}
}

// mountList describes all mounts, in the order in which they were made. While
// one is being made or removed it is the list from before: status does not wait
// for the kernel.
func (d *Daemon) mountList() []MountInfo {
	if d.mountsMu.TryLock() {
		d.prune()
		d.publish()
		d.mountsMu.Unlock()
	}
	if list := d.listed.Load(); list != nil {
		return *list
	}
	return []MountInfo{}
}

// describe is a mount point's MountInfo as it is now.
func (d *Daemon) describe(p *mountPoint) MountInfo {
	info := p.MountInfo
	if p.of != nil {
		info.BucketGone = p.Bucket != "" && p.of.fs.BucketGone()
		info.SSECKeys = d.store.engine.LentKeys(p.of.origin)
	}
	return info
}

// publish makes the list anew that mountList returns. mountsMu is held.
func (d *Daemon) publish() {
	list := []MountInfo{}
	for _, s := range d.served {
		if s.covered {
			continue
		}
		for _, p := range s.points {
			list = append(list, d.describe(p))
		}
	}
	d.listed.Store(&list)
}
