package engine

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// ListObjects returns one page of a bucket's keys. It needs no keys and does
// not fail because one object is damaged or locked: that one is listed without
// size and ETag, and the operator is told.
//
// Every entry of the answer sorts behind After. When After lies within a
// common prefix, that prefix has been seen. MaxKeys of 0 returns nothing, and
// says so with Truncated false, as S3 does.
//
// The walk costs what the page costs: it starts where the page starts, and
// passes over what a common prefix stands for without reading it.
func (s *Store) ListObjects(ctx context.Context, c objstore.Caller, req objstore.ListRequest) (objstore.ListResult, error) {
	const op = "list"
	var res objstore.ListResult
	err := s.view(ctx, op, req.Bucket, func(r reader) error {
		root, err := r.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		if req.MaxKeys <= 0 {
			return nil
		}
		p := page{req: req, max: min(req.MaxKeys, objstore.MaxListKeys)}
		w := walker{ctx: ctx, s: s, r: r, from: p.start(), prefix: req.Prefix, visit: p.visit}
		if err := w.walk(root, ""); err != nil && !errors.Is(err, errEnough) {
			return err
		}
		res, err = p.result(s, r)
		return err
	})
	return res, err
}

// page gathers one page of a listing.
type page struct {
	req       objstore.ListRequest
	max       int
	list      []found
	truncated bool
}

// found is a key, or a common prefix, before its inode is read.
type found struct {
	key    string
	prefix bool
	ino    objstore.InodeID
	n      *record.Inode // already at hand: a directory's own object
}

// start returns where the page begins: the smallest string that may be in it.
func (p *page) start() string {
	after, prefix := p.req.After, p.req.Prefix
	if after < prefix {
		return prefix
	}
	if after == "" {
		return ""
	}
	if common, ok := p.common(after); ok {
		return behind(common)
	}
	return after + "\x00"
}

// common returns the common prefix that a key belongs to, if any.
func (p *page) common(key string) (string, bool) {
	if p.req.Delimiter == "" || !strings.HasPrefix(key, p.req.Prefix) {
		return "", false
	}
	n := len(p.req.Prefix)
	i := strings.Index(key[n:], p.req.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:n+i+len(p.req.Delimiter)], true
}

// behind returns the smallest string that is greater than all that begin with p.
func behind(p string) string {
	if end := meta.PrefixEnd([]byte(p)); end != nil {
		return string(end)
	}
	return "\xff" // no valid key reaches it
}

// visit takes the next key and returns where to go on.
func (p *page) visit(f found) (next string, err error) {
	if len(p.list) == p.max {
		p.truncated = true
		return "", errEnough
	}
	next = f.key + "\x00"
	if common, ok := p.common(f.key); ok {
		f = found{key: common, prefix: true}
		next = behind(common)
	}
	p.list = append(p.list, f)
	return next, nil
}

// result reads the inodes of the page.
func (p *page) result(s *Store, r reader) (objstore.ListResult, error) {
	res := objstore.ListResult{Truncated: p.truncated, Entries: make([]objstore.ListEntry, len(p.list))}
	var inos []objstore.InodeID
	for _, f := range p.list {
		if f.ino != 0 {
			inos = append(inos, f.ino)
		}
	}
	inodes, err := s.intact(r, "list", inos)
	if err != nil {
		return objstore.ListResult{}, err
	}
	for i, f := range p.list {
		n := f.n
		if f.ino != 0 {
			n, inodes = inodes[0], inodes[1:]
		}
		e := &res.Entries[i]
		e.Key, e.Prefix = f.key, f.prefix
		if n == nil {
			continue
		}
		s.entry(e, n)
	}
	if p.truncated {
		res.Next = p.list[len(p.list)-1].key
	}
	return res, nil
}

// entry tells of an object what a listing tells.
func (s *Store) entry(e *objstore.ListEntry, n *record.Inode) {
	e.Size, e.ETag, e.LastModified = n.Size, etagOf(s, n), n.Mtime
	e.ChecksumAlgo, e.ChecksumType = n.Content.ChecksumAlgo, n.Content.ChecksumType
	if n.Meta != nil {
		e.StorageClass, e.Restored = n.Meta.StorageClass, s.restored(n)
	}
}

// errEnough ends a walk.
var errEnough = errors.New("engine: enough")

// walker visits the keys of a bucket in byte order: those from from on that
// begin with prefix. visit returns the string to go on from, which is greater
// than the key, and so may pass over any number of keys without their being read.
type walker struct {
	ctx    context.Context
	s      *Store
	r      reader
	from   string
	prefix string
	visit  func(found) (next string, err error)
}

// walk visits the keys of a directory, all of which begin with path: empty for
// a bucket's root, otherwise with a slash at its end.
func (w *walker) walk(dir objstore.InodeID, path string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.own(dir, path); err != nil {
		return err
	}
	for {
		start, ok := w.enter(path)
		if !ok {
			return nil
		}
		again, err := w.scan(dir, path, start)
		if err != nil || !again {
			return err
		}
	}
}

// enter returns the stored name at which the keys from w.from on begin in the
// directory of a path. ok is false when they are all behind it.
func (w *walker) enter(path string) (stored string, ok bool) {
	if w.from <= path {
		return "", true
	}
	rest, ok := strings.CutPrefix(w.from, path)
	if !ok {
		return "", false
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest = rest[:i+1] // the directory that w.from lies in
	}
	return rest, true
}

// scan visits the entries of a directory from a stored name on. again is true
// when a visit passed over entries, and the scan is to begin anew behind them.
func (w *walker) scan(dir objstore.InodeID, path, start string) (again bool, err error) {
	rng := meta.Prefix(record.DirentPrefix(dir))
	rng.Start = record.DirentKey(dir, start)
	for p, err := range w.r.Scan(rng) {
		if err != nil {
			return false, err
		}
		stored, err := record.DirentName(p.Key)
		if err != nil {
			return false, err
		}
		key := path + stored
		_, isDir := record.SplitStored(stored)
		if key < w.from && !(isDir && strings.HasPrefix(w.from, key)) {
			return true, nil
		}
		if !strings.HasPrefix(key, w.prefix) && !strings.HasPrefix(w.prefix, key) {
			return false, errEnough // keys only get greater from here on
		}
		if len(key) > objstore.MaxKeyLen || !utf8.ValidString(stored) {
			continue // no key is, or begins, like this
		}
		d, err := record.ParseDirent(p.Value)
		if err != nil {
			return false, err
		}
		switch {
		case isDir:
			err = w.walk(d.Inode, key)
		case d.Type == objstore.TypeRegular && key != "":
			w.from, err = w.visit(found{key: key, ino: d.Inode})
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// own visits the key of an explicit directory that has no marker entry. A
// directory whose inode is damaged has none, and what is in it is still listed.
func (w *walker) own(dir objstore.InodeID, path string) error {
	if path == "" || path < w.from || !strings.HasPrefix(path, w.prefix) {
		return nil
	}
	list, err := w.s.intact(w.r, "list", []objstore.InodeID{dir})
	if err != nil {
		return err
	}
	n := list[0]
	if n == nil || !n.Explicit || n.HasMarker {
		return nil
	}
	w.from, err = w.visit(found{key: path, n: directoryObject(n)})
	return err
}
