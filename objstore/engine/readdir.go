package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// ReadDir returns up to max entries of a directory behind pos, without "." and
// "..", and whether it reached the end. With attrs it returns their attributes
// beside them, index by index; an entry whose inode is damaged has the zero
// Attr, so that one bad record does not hide its neighbours. A directory that
// was removed is empty.
func (s *Store) ReadDir(ctx context.Context, dir objstore.InodeID, pos objstore.DirPos, max int, attrs bool) (ents []objstore.Dirent, as []objstore.Attr, end bool, err error) {
	const op = "readdir"
	var inodes []*record.Inode
	err = s.look(ctx, op, "", func(r reader) error {
		if _, err := r.directory(op, dir); err != nil {
			if end = objstore.IsKind(err, objstore.KindNotFound); end {
				return nil
			}
			return err
		}
		var err error
		if ents, end, err = r.entries(dir, pos, max); err != nil || !attrs {
			return err
		}
		inos := make([]objstore.InodeID, len(ents))
		for i := range ents {
			inos[i] = ents[i].Inode
		}
		inodes, err = s.intact(r, op, inos)
		return err
	})
	if err != nil || !attrs {
		return ents, nil, end, err
	}
	as = make([]objstore.Attr, len(ents))
	for i, n := range inodes {
		if n != nil {
			s.overlay(ents[i].Inode, n)
			as[i] = attrOf(ents[i].Inode, n)
		}
	}
	return ents, as, end, nil
}

// entries returns up to max entries behind pos that the mount shows.
func (r reader) entries(dir objstore.InodeID, pos objstore.DirPos, max int) (list []objstore.Dirent, end bool, err error) {
	if known, ok := r.listing(dir, string(pos)); ok {
		for _, e := range known {
			if len(list) >= max {
				return list, false, nil
			}
			if d, ok := e.shown(); ok {
				list = append(list, d)
			}
		}
		return list, true, nil
	}
	rng := meta.Prefix(record.DirentPrefix(dir))
	if pos != "" {
		rng.Start = record.DirentKey(dir, string(pos)+"\x00")
	}
	var seen []listed
	defer func() {
		switch {
		case err != nil || r.cache == nil:
		case pos == "" && end && len(seen) <= listingMax:
			r.cache.putListing(r.token, dir, seen)
		default:
			r.rememberEntries(dir, string(pos), end, seen)
		}
	}()
	for p, err := range r.Scan(rng) {
		if err != nil {
			return nil, false, err
		}
		if len(list) >= max {
			return list, false, nil
		}
		stored, err := record.DirentName(p.Key)
		if err != nil {
			return nil, false, err
		}
		d, err := record.ParseDirent(p.Value)
		if err != nil {
			return nil, false, err
		}
		e := listed{stored, d}
		seen = append(seen, e)
		if d, ok := e.shown(); ok {
			list = append(list, d)
		}
	}
	return list, true, nil
}

// shown is an entry as the mount shows it; ok is false when it does not.
func (l listed) shown() (d objstore.Dirent, ok bool) {
	name, _ := record.SplitStored(l.stored)
	if l.d.Shadowed || !record.Mountable(name) {
		return d, false
	}
	return objstore.Dirent{Name: name, Inode: l.d.Inode, Type: l.d.Type, Pos: objstore.DirPos(l.stored)}, true
}

// rememberEntries caches entries, which are all of those behind first up to the last
// of them (with end, up to the end), and that the names' twins are absent where they
// would have been among them: whoever removes files looks for those.
func (r reader) rememberEntries(dir objstore.InodeID, first string, end bool, list []listed) {
	if len(list) == 0 {
		return
	}
	last := list[len(list)-1].stored
	seen := make(map[string]cachedEntry, 2*len(list))
	for _, e := range list {
		seen[e.stored] = cachedEntry{e.d, true}
	}
	for _, e := range list {
		twin, isDir := strings.CutSuffix(e.stored, "/")
		if !isDir {
			twin = e.stored + "/"
		}
		if _, ok := seen[twin]; !ok && twin > first && twin != "" && (end || twin < last) {
			seen[twin] = cachedEntry{}
		}
	}
	r.cache.putEntries(r.token, dir, seen)
}

// vacant reports whether a directory holds nothing but, perhaps, its marker.
func (r reader) vacant(dir objstore.InodeID) (bool, error) {
	if list, known := r.listing(dir, ""); known {
		return !slices.ContainsFunc(list, func(e listed) bool { return e.stored != "" }), nil
	}
	rng := meta.Prefix(record.DirentPrefix(dir))
	rng.Start = record.DirentKey(dir, "\x00") // behind the empty name
	for _, err := range r.Scan(rng) {
		return false, err
	}
	return true, nil
}

// alone reports whether nothing is left in a directory after the entry of a
// stored name was removed. It looks beside that name first: what was removed
// before leaves tombstones that a scan from one end would have to cross, each time.
func (r reader) alone(dir objstore.InodeID, stored string) (bool, error) {
	rng := meta.Prefix(record.DirentPrefix(dir))
	at := record.DirentKey(dir, stored)
	for _, err := range r.Scan(meta.Range{Start: at, End: rng.End}) {
		return false, err
	}
	for _, err := range r.Scan(meta.Range{Start: rng.Start, End: at, Reverse: true}) {
		return false, err
	}
	return true, nil
}

// intact returns many inodes, nil for those that are absent or damaged, which
// the operator is told.
func (s *Store) intact(r reader, op string, inos []objstore.InodeID) ([]*record.Inode, error) {
	list := make([]*record.Inode, len(inos))
	var missing []objstore.InodeID
	var at []int
	for i, ino := range inos {
		n, ok := s.cache.get(ino)
		if list[i] = n; !ok {
			missing, at = append(missing, ino), append(at, i)
		}
	}
	if len(missing) == 0 {
		return list, nil
	}
	found, err := r.inodes(missing)
	if errors.Is(err, errNotCached) {
		return nil, err
	}
	if err == nil {
		for i, n := range found {
			list[at[i]] = n
			if n != nil && r.cache != nil {
				r.cache.put(r.token, missing[i], n)
			}
		}
		return list, nil
	}
	for i, ino := range inos {
		n, err := r.inode(ino)
		switch {
		case err == nil:
			list[i] = n
		case objstore.KindOf(s.wrap(op, "inode", err)) == objstore.KindCorrupt, objstore.IsKind(err, objstore.KindStale):
		default:
			return nil, err
		}
	}
	return list, nil
}
