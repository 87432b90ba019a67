package engine

import (
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// nameSource is one of the sorted lists of names that a path has: the entries of its
// directory, or one of its histories.
type nameSource struct {
	in   history // zero: the directory
	pair meta.Pair
	ok   bool
	next func() (meta.Pair, error, bool)
	stop func()
	// stored is the name of pair; at is what its key says, of a history.
	stored string
	at     record.VersionKeyParts
}

// step goes on to the next record.
func (c *nameSource) step() (err error) {
	if c.pair, err, c.ok = c.next(); err != nil || !c.ok {
		return err
	}
	if c.in.id == 0 {
		c.stored, err = record.DirentName(c.pair.Key)
		return err
	}
	c.at, err = record.ParseVersionKey(c.pair.Key)
	c.stored = c.at.Stored
	return err
}

// open returns the sources of a path from a stored name on, each at its first.
func (w *versionWalker) open(dir objstore.InodeID, in []history, path, start string) (list []*nameSource, err error) {
	add := func(h history, rng meta.Range) error {
		c := &nameSource{in: h}
		c.next, c.stop = iter.Pull2(w.r.Scan(rng))
		list = append(list, c)
		return c.step()
	}
	if dir != 0 {
		rng := meta.Prefix(record.DirentPrefix(dir))
		rng.Start = record.DirentKey(dir, start)
		if err := add(history{}, rng); err != nil {
			return list, err
		}
	}
	// The versions of a key with a slash at its end have the empty name in the
	// directory: that of the directory itself has none.
	_, isDir := record.SplitStored(start)
	resumed := path+start == w.resumed && !isDir
	for _, h := range in {
		rng := meta.Prefix(record.HistoryPrefix(h.id))
		rng.Start = record.HistoryFrom(h.id, start)
		switch name, behind := strings.CutSuffix(start, "\x00"); {
		case behind: // the versions of the name itself have a NUL next
			rng.Start = record.HistoryFrom(h.id, name+"\x01")
		case w.seen > 1 && resumed:
			rng.Start = record.VersionKey(h.id, start, w.seen-1)
		case w.seen == madeWithout && resumed && w.wasSeen(in, h.id, w.seen):
			rng.Start = record.VersionKey(h.id, start, 0)
		case w.seen == madeWithout && resumed:
			rng.Start = record.VersionKey(h.id, start, madeWithout)
		}
		if err := add(h, rng); err != nil {
			return list, err
		}
	}
	return list, nil
}

// scan visits the names of a path from a stored one on. again is true when a visit
// passed over names, and the scan is to begin anew behind them.
func (w *versionWalker) scan(dir objstore.InodeID, in []history, path, start string) (again bool, err error) {
	sources, err := w.open(dir, in, path, start)
	defer func() {
		for _, c := range sources {
			c.stop()
		}
	}()
	if err != nil {
		return false, err
	}
	own, err := w.own(dir, path)
	if err != nil {
		return false, err
	}
	for {
		stored, ok := first(sources)
		if own != nil && start == "" && (!ok || stored != "") {
			stored, ok = "", true
		}
		if !ok {
			return false, nil
		}
		key := path + stored
		_, isDir := record.SplitStored(stored)
		switch {
		case key < w.from && !(isDir && strings.HasPrefix(w.from, key)):
			return true, nil
		case !strings.HasPrefix(key, w.page.req.Prefix) && !strings.HasPrefix(w.page.req.Prefix, key):
			return false, errEnough // keys only get greater from here on
		}
		here := take(sources, stored)
		made := own
		if stored == "" {
			own = nil
		} else {
			made = nil
		}
		switch {
		case len(key) > objstore.MaxKeyLen || !utf8.ValidString(stored):
			err = here.pass() // no key is, or begins, like this
		case isDir:
			err = w.descend(here, key)
		case key == "" || !strings.HasPrefix(key, w.page.req.Prefix):
			err = here.pass()
		default:
			err = w.versions(here, in, key, stored, made)
		}
		if err != nil {
			return false, err
		}
	}
}

// own returns the object of an explicit directory that has no marker entry; nil
// when there is none.
func (w *versionWalker) own(dir objstore.InodeID, path string) (*record.Inode, error) {
	if dir == 0 || path == "" || path < w.from {
		return nil, nil
	}
	list, err := w.s.intact(w.r, "list versions", []objstore.InodeID{dir})
	if err != nil || list[0] == nil || !list[0].Explicit || list[0].HasMarker {
		return nil, err
	}
	return directoryObject(list[0]), nil
}

// first is the first of the names that sources are at.
func first(sources []*nameSource) (stored string, ok bool) {
	for _, c := range sources {
		if c.ok && (!ok || c.stored < stored) {
			stored, ok = c.stored, true
		}
	}
	return stored, ok
}

// group are the sources that have a name.
type group struct {
	stored string
	list   []*nameSource
}

// take returns the sources that are at a name.
func take(sources []*nameSource, stored string) group {
	g := group{stored: stored}
	for _, c := range sources {
		if c.ok && c.stored == stored {
			g.list = append(g.list, c)
		}
	}
	return g
}

// at reports whether a source is still at the name.
func (g *group) at(c *nameSource) bool { return c.ok && c.stored == g.stored }

// pass goes on behind the name.
func (g *group) pass() error {
	for _, c := range g.list {
		for g.at(c) {
			if err := c.step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// newest returns the source that is at the newest version of the name, nil when
// none is at one.
func (g *group) newest() (best *nameSource, err error) {
	for _, c := range g.list {
		if c.in.id == 0 {
			continue
		}
		if g.at(c) && c.at.Number == 0 { // it says which of them is the null version
			if err := c.step(); err != nil {
				return nil, err
			}
		}
		if g.at(c) && (best == nil || c.at.Number > best.at.Number) {
			best = c
		}
	}
	return best, nil
}
