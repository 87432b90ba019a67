package engine

import (
	"context"
	"errors"
	"math"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// ListVersions returns one page of a bucket's versions and delete markers: by key,
// those of a key from the newest on. It needs no keys and does not fail because one
// object is damaged or locked: that one is listed without size and ETag.
//
// It costs what the page costs: it begins where the page begins, also in the middle
// of the versions of a key, and passes over what a common prefix stands for
// without reading it.
//
// Whoever wants all noncurrent versions of a bucket, and since when they are that
// (VersionEntry.NoncurrentSince), walks through its pages; DeleteObject removes one by its
// id, and refuses where Object Lock protects it.
func (s *Store) ListVersions(ctx context.Context, c objstore.Caller, req objstore.ListVersionsRequest) (objstore.ListVersionsResult, error) {
	const op = "list versions"
	var res objstore.ListVersionsResult
	ref, err := s.parseVersion(op, req.VersionMarker)
	if err != nil {
		return res, err
	}
	err = s.view(ctx, op, req.Bucket, func(r reader) error {
		res = objstore.ListVersionsResult{}
		root, err := r.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		if req.MaxKeys <= 0 {
			return nil
		}
		w := versionWalker{
			ctx: ctx, s: s, r: r, max: min(req.MaxKeys, objstore.MaxListKeys),
			page: page{req: objstore.ListRequest{Prefix: req.Prefix, Delimiter: req.Delimiter, After: req.KeyMarker}},
		}
		w.from = w.page.start()
		if !ref.current && req.KeyMarker >= req.Prefix {
			if err := w.resume(root, req.KeyMarker, ref); err != nil {
				return err
			}
		}
		if err := w.walk(root, []history{{id: root}}, ""); err != nil && !errors.Is(err, errEnough) {
			return err
		}
		res, err = w.result()
		return err
	})
	return res, err
}

// foundVersion is a version, a delete marker or a common prefix, before its inode
// is read.
type foundVersion struct {
	found
	number uint64           // 0: that of its inode
	in     objstore.InodeID // the history that has it; 0: none
	null   bool             // a null version, if perhaps not the one
	marker bool
	made   objstore.Time // as in its record
	many   bool          // it is one of several histories of its directory
	latest bool
}

// noncurrentSince returns since when the version is noncurrent, 0 if that is not known.
// before is what supersedes returned for the version that is listed before it.
func (f *foundVersion) noncurrentSince(before objstore.Time) objstore.Time {
	if !f.marker && f.made != 0 {
		return f.made
	}
	return max(before, f.supersedes(0))
}

// supersedes returns since when the version that is listed after f is noncurrent, for
// one whose record does not say so: since f was made. Where a directory has several
// histories nobody knows which version followed which, and the time is that of the latest
// of all versions so far. before is what supersedes returned for the version before f;
// 0: there is none, or its time is not known.
func (f *foundVersion) supersedes(before objstore.Time) objstore.Time {
	switch number := objstore.Time(f.number); {
	case f.number == madeWithout || f.number == uint64(f.ino): // which is no time
		return before
	case f.many:
		return max(before, number)
	default:
		return number
	}
}

// versionWalker visits the versions of a bucket in order.
type versionWalker struct {
	ctx  context.Context
	s    *Store
	r    reader
	page page // its prefix and delimiter
	from string
	max  int

	// Of the key at which the page begins, all versions down to the number seen
	// were on the pages before.
	resumed  string
	seen     uint64           // math.MaxUint64: the current one alone
	seenIn   objstore.InodeID // the history of the last one, which others with its number may follow
	nullSeen bool             // the null version was among them
	before   objstore.Time    // what supersedes says of the last version seen

	list      []foundVersion
	truncated bool
}

// resume makes the page begin behind a version of a key.
func (w *versionWalker) resume(root objstore.InodeID, key string, ref versionRef) error {
	if _, in := w.page.common(key); in || objstore.CheckKey("list versions", key) != nil {
		return nil // it was passed over as a whole
	}
	ino, n, err := w.r.findKey(root, key)
	if err == nil {
		live := foundVersion{found: found{ino: ino}, number: numberOf(n)}
		w.before = live.supersedes(0)
	}
	switch {
	case err == nil && isVersion(n, ref):
		w.from, w.resumed, w.seen = key, key, math.MaxUint64
		return nil
	case err != nil && !objstore.IsKind(err, objstore.KindNotFound):
		return err
	}
	way, err := w.r.way(root, key)
	if err != nil {
		return err
	}
	k, err := w.r.version(way.last(), way.name, n, ref)
	switch {
	case err != nil:
		return err
	case k != nil:
		ref.number, w.seenIn = k.number, k.in.id
	case ref.null:
		return nil
	}
	w.from, w.resumed, w.seen = key, key, ref.number
	if k == nil || len(way.last()) > 1 {
		if k, err = w.r.newest(way.last(), way.name); err != nil || k == nil {
			return err
		}
	}
	seen := foundVersion{found: found{ino: k.v.Inode}, number: k.number, many: len(way.last()) > 1}
	w.before = seen.supersedes(w.before)
	return nil
}

// walk visits the versions of a path, which is empty or ends in a slash: dir is its
// directory, 0 when that is not there, in are the histories.
func (w *versionWalker) walk(dir objstore.InodeID, in []history, path string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	for {
		start, ok := w.enter(path)
		if !ok {
			return nil
		}
		again, err := w.scan(dir, in, path, start)
		if err != nil || !again {
			return err
		}
	}
}

// enter is walker.enter.
func (w *versionWalker) enter(path string) (stored string, ok bool) {
	return (&walker{from: w.from}).enter(path)
}

// descend visits a directory: one that is there, those that are gone, or both.
func (w *versionWalker) descend(g group, path string) error {
	var dir objstore.InodeID
	var in, gone []history
	for _, c := range g.list {
		for g.at(c) {
			if c.in.id == 0 {
				d, err := record.ParseDirent(c.pair.Value)
				if err != nil {
					return err
				}
				dir = d.Inode
			} else {
				gone = append(gone, history{id: c.at.Gone, above: c.in.id})
			}
			if err := c.step(); err != nil {
				return err
			}
		}
	}
	if dir != 0 {
		list, err := w.s.intact(w.r, "list versions", []objstore.InodeID{dir})
		if err != nil {
			return err
		}
		if list[0] == nil {
			in = []history{{id: dir}}
		} else {
			in = historiesOf(dir, list[0])
		}
	}
	return w.walk(dir, append(in, gone...), path)
}

// versions visits the versions of a key; made is the object that its directory
// makes up, or nil.
func (w *versionWalker) versions(g group, in []history, key, name string, made *record.Inode) error {
	many := len(in) > 1
	live := foundVersion{found: found{key: key, n: made}, many: many, latest: true}
	for _, c := range g.list {
		if c.in.id != 0 {
			continue
		}
		d, err := record.ParseDirent(c.pair.Value)
		if err != nil {
			return err
		}
		if d.Type == objstore.TypeRegular {
			live.ino = d.Inode
		}
		if err := c.step(); err != nil {
			return err
		}
	}
	is := live.n != nil || live.ino != 0
	latest := !is
	list := is
	if w.seen > 0 && key == w.resumed {
		k, err := w.r.newest(in, name)
		if err != nil {
			return err
		}
		latest = latest && k != nil && k.number < w.seen
		if is {
			if list, err = w.unseen(&live, k); err != nil {
				return err
			}
		}
		if err := w.resumeNull(in, name, live.n, list); err != nil {
			return err
		}
	}
	if list {
		if err := w.visit(live); err != nil || w.from > key {
			return err
		}
	}
	for {
		c, err := g.newest()
		if err != nil {
			return err
		}
		if c == nil {
			w.from = max(w.from, key+"\x00")
			return nil
		}
		v, err := record.ParseVersion(c.pair.Value)
		if err != nil {
			return err
		}
		f := foundVersion{
			found: found{key: key, ino: v.Inode}, number: c.at.Number, in: c.in.id, null: v.Null,
			marker: v.Inode == 0, made: v.Made, many: many, latest: latest,
		}
		latest = false
		if err := c.step(); err != nil {
			return err
		}
		if err := w.visit(f); err != nil || w.from > key {
			return err // a common prefix may have taken its place: the scan begins anew
		}
	}
}

// unseen reports whether the current version of the key at which the page begins
// was on none of the pages before: it has become current since. k is the newest
// noncurrent version; where that is newer than the current one, which a renamed
// directory can bring about, the current one was listed before it.
func (w *versionWalker) unseen(live *foundVersion, k *kept) (bool, error) {
	n := live.n
	if n == nil {
		list, err := w.s.intact(w.r, "list versions", []objstore.InodeID{live.ino})
		if err != nil || list[0] == nil {
			return false, err
		}
		n = list[0]
		live.n = n
	}
	return numberOf(n) < w.seen && w.seen != math.MaxUint64 && (k == nil || k.number < numberOf(n)), nil
}

// resumeNull finds out whether the null version of the key at which the page begins
// was on a page before; live is the current version, which with listed is on this one.
func (w *versionWalker) resumeNull(in []history, name string, live *record.Inode, listed bool) error {
	if live != nil && live.IsNull() {
		w.nullSeen = !listed
		return nil
	}
	k, err := w.r.newestNull(in, name)
	if err != nil || k == nil {
		return err
	}
	w.nullSeen = w.wasSeen(in, k.in.id, k.number)
	return nil
}

// wasSeen reports whether a noncurrent version of the key at which the page begins was
// on a page before. Only of versions made without versioning there can be several of
// a number, one in each history: they come in the order of those.
func (w *versionWalker) wasSeen(in []history, h objstore.InodeID, number uint64) bool {
	if w.seen == math.MaxUint64 || number != w.seen {
		return number > w.seen
	}
	for _, at := range in {
		if at.id == h {
			return true
		}
		if at.id == w.seenIn {
			return false
		}
	}
	return true
}

// visit takes the next version.
func (w *versionWalker) visit(f foundVersion) error {
	if len(w.list) == w.max {
		w.truncated = true
		return errEnough
	}
	if common, ok := w.page.common(f.key); ok {
		f = foundVersion{found: found{key: common, prefix: true}}
		w.from = behind(common)
	}
	w.list = append(w.list, f)
	return nil
}

// result reads the inodes of the page.
func (w *versionWalker) result() (objstore.ListVersionsResult, error) {
	res := objstore.ListVersionsResult{Truncated: w.truncated, Entries: make([]objstore.VersionEntry, len(w.list))}
	var inos []objstore.InodeID
	for _, f := range w.list {
		if f.n == nil && f.ino != 0 {
			inos = append(inos, f.ino)
		}
	}
	inodes, err := w.s.intact(w.r, "list versions", inos)
	if err != nil {
		return res, err
	}
	superseded, nullSeen := w.before, w.nullSeen
	for i, f := range w.list {
		n := f.n
		if n == nil && f.ino != 0 {
			n, inodes = inodes[0], inodes[1:]
		}
		e := &res.Entries[i]
		e.Key, e.Prefix = f.key, f.prefix
		if f.prefix {
			continue
		}
		if f.number == 0 { // it is current
			f.number, f.null = 1, true
			if n != nil {
				f.number, f.null = numberOf(n), n.IsNull()
			}
		}
		e.Latest, e.DeleteMarker = f.latest, f.marker
		if f.marker {
			e.LastModified = f.made
		}
		before := w.resumed
		if i > 0 {
			before = w.list[i-1].key
		}
		if before != f.key {
			superseded, nullSeen = 0, false
		}
		if f.null && !nullSeen {
			e.Version, nullSeen = objstore.NullVersion, true
		} else {
			e.Version = w.s.versionID(numberApart(f.number, f.ino))
		}
		if !f.latest {
			e.NoncurrentSince = f.noncurrentSince(superseded)
		}
		superseded = f.supersedes(superseded)
		if n != nil {
			w.s.entry(&e.ListEntry, n)
			e.Lock = n.Lock
		}
	}
	if w.truncated {
		last := &res.Entries[len(res.Entries)-1]
		res.NextKey, res.NextVersion = last.Key, last.Version
	}
	return res, nil
}
