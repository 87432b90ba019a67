package engine

import (
	"context"
	"errors"
	"math"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/lifecycle"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// versionCursor is where in the versions of a key a run is. It is not kept: a run
// that is taken up again begins with the key.
type versionCursor struct {
	key    string
	seen   uint64           // number of the last version seen; math.MaxUint64: the current one
	seenIn objstore.InodeID // the history that has it
	before objstore.Time    // what foundVersion.supersedes says of it
	newer  int              // noncurrent versions of the key that were seen
}

// removing says whether a rule removes versions or delete markers.
func removing(r *lifecycle.Rule) bool { return r.Noncurrent || r.Markers || expiring(r) }

// goingVersion is a version, or a delete marker, that is to go.
type goingVersion struct {
	key    string
	ref    versionRef
	marker bool // it is all that is left of its key
}

// versions takes a page of the bucket's noncurrent versions and delete markers.
func (l *lifecycleRun) versions(ctx context.Context) error {
	prefix, from, ok := l.span(removing)
	if !ok || l.versioning == objstore.VersioningOff {
		l.next(record.LifecycleUploads)
		return nil
	}
	var due []goingVersion
	var cursor versionCursor
	more := false
	err := l.s.view(ctx, "lifecycle", l.bucket, func(r reader) (err error) {
		due, cursor, more, err = l.dueVersions(ctx, r, prefix, from)
		return err
	})
	if err != nil {
		return err
	}
	for _, v := range due {
		gone, err := l.remove(ctx, v)
		switch {
		case err == nil && gone && v.marker:
			l.report.Markers++
		case err == nil && gone:
			l.report.Noncurrent++
		case err == nil:
		default:
			if err := l.failed(ctx, err, "a version could not be removed", v.key); err != nil {
				return err
			}
		}
	}
	l.cursor = cursor
	l.at.From = cursor.key
	if !more {
		l.at.From = behind(prefix)
	}
	return nil
}

// dueVersions returns what of a page is to go, and where to go on.
func (l *lifecycleRun) dueVersions(ctx context.Context, r reader, prefix, from string) (due []goingVersion, c versionCursor, more bool, err error) {
	w := versionWalker{
		ctx: ctx, s: l.s, r: r, max: l.s.lifecyclePage,
		page: page{req: objstore.ListRequest{Prefix: prefix}}, from: from,
	}
	if c = l.cursor; c.seen != 0 && c.key == from {
		w.resumed, w.seen, w.seenIn, w.before = c.key, c.seen, c.seenIn, c.before
	} else {
		c = versionCursor{}
	}
	if err := w.walk(l.root, []history{{id: l.root}}, ""); err != nil && !errors.Is(err, errEnough) {
		return nil, c, false, err
	}
	res, err := w.result()
	if err != nil {
		return nil, c, false, err
	}
	for i := range res.Entries {
		e := &res.Entries[i]
		if e.Key != c.key {
			c = versionCursor{key: e.Key}
		}
		ref, err := l.s.parseVersion("lifecycle", e.Version)
		if err != nil {
			return nil, c, false, err
		}
		l.report.Seen++
		f := w.list[i]
		c.seen, c.seenIn = f.number, f.in
		if f.number == 0 {
			c.seen = math.MaxUint64
			if f.number, err = l.current(r, &f); err != nil {
				return nil, c, false, err
			}
		}
		c.before = f.supersedes(c.before)
		if e.Latest {
			lone := e.DeleteMarker && (i+1 == len(res.Entries) || res.Entries[i+1].Key != e.Key)
			if lone && l.markerGoes(e) {
				due = append(due, goingVersion{e.Key, ref, true}) // remove sees whether it is alone
			}
			continue
		}
		goes, err := l.noncurrentGoes(r, e, f.ino, c.newer)
		if err != nil {
			return nil, c, false, err
		}
		if goes {
			due = append(due, goingVersion{key: e.Key, ref: ref})
		}
		c.newer++
	}
	return due, c, res.Truncated, nil
}

// current returns the number of a current version.
func (l *lifecycleRun) current(r reader, f *foundVersion) (uint64, error) {
	n := f.n
	if n == nil {
		list, err := l.s.intact(r, "lifecycle", []objstore.InodeID{f.ino})
		if err != nil {
			return 0, err
		}
		if n = list[0]; n == nil {
			return madeWithout, nil // as the listing takes one that is damaged
		}
	}
	return numberOf(n), nil
}

// markerGoes says whether a delete marker is to go if nothing else is left of its
// key.
func (l *lifecycleRun) markerGoes(e *objstore.VersionEntry) bool {
	o := lifecycle.Object{Key: e.Key, Since: e.LastModified}
	return lifecycle.MarkerGoes(l.rules, &o, l.now)
}

// noncurrentGoes says whether a noncurrent version is to go, newer than which there
// are so many. ino is its inode, 0 of a delete marker.
func (l *lifecycleRun) noncurrentGoes(r reader, e *objstore.VersionEntry, ino objstore.InodeID, newer int) (bool, error) {
	if e.NoncurrentSince == 0 {
		return false, nil // nothing tells since when
	}
	o := lifecycle.Object{Key: e.Key, Size: e.Size}
	if ino != 0 && lifecycle.NeedTags(l.rules) {
		list, err := l.s.intact(r, "lifecycle", []objstore.InodeID{ino})
		if err != nil || list[0] == nil {
			return false, err
		}
		if o.Tags, err = r.tags(ino, list[0]); err != nil {
			return false, err
		}
	}
	return lifecycle.NoncurrentGoes(l.rules, &o, e.NoncurrentSince, newer, l.now), nil
}

// remove removes a version for good if it still is what it was: noncurrent, or a
// delete marker with nothing beside it. What Object Lock protects is KindLocked.
func (l *lifecycleRun) remove(ctx context.Context, v goingVersion) (gone bool, err error) {
	err = l.s.update(ctx, objstore.Caller{}, "lifecycle", v.key, func(x *tx) error {
		gone = false
		if err := l.still(x); err != nil {
			return err
		}
		latest, others, err := x.stands(l.root, v.key, v.ref)
		if err != nil || latest != v.marker || v.marker && others {
			return err
		}
		_, err = x.deleteVersion(l.root, v.key, v.ref, false)
		if objstore.IsKind(err, objstore.KindNoSuchVersion) {
			return nil
		}
		gone = err == nil
		return err
	})
	return gone, err
}

// stands says of a version of a key, or of a delete marker, whether it is the
// latest, and whether there are others.
func (r reader) stands(root objstore.InodeID, key string, ref versionRef) (latest, others bool, err error) {
	_, n, err := r.findKey(root, key)
	switch {
	case objstore.IsKind(err, objstore.KindNotFound):
	case err != nil:
		return false, false, err
	default:
		return isVersion(n, ref), true, nil // others is not asked for
	}
	w, err := r.way(root, key)
	if err != nil {
		return false, false, err
	}
	k, err := r.version(w.last(), w.name, nil, ref)
	if err != nil || k == nil {
		return false, false, err
	}
	count := 0
	newest := true
	for _, h := range w.last() {
		for p, err := range r.Scan(meta.Prefix(record.VersionPrefix(h.id, w.name))) {
			if err != nil {
				return false, false, err
			}
			at, err := record.ParseVersionKey(p.Key)
			if err != nil {
				return false, false, err
			}
			if at.Number == 0 {
				continue
			}
			newest = newest && at.Number <= k.number
			if count++; count > 1 && !newest {
				break
			}
		}
	}
	return newest, count > 1, nil
}
