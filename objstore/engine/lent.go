package engine

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Customers' keys that were lent to mounts. A mount opens the files that are
// encrypted under one of its keys; which one that is tells the commitment beside
// the sealed object key, compared in constant time. A file that was opened has a
// copy of its key until it is closed, so that it can be written and truncated:
// returning a key keeps files from being opened and takes none away.

// maxLent bounds the keys lent to one mount: each costs a derivation whenever a
// file under a later one is opened.
const maxLent = 64

// lentKeys are the keys of all mounts, by Caller.Origin.
type lentKeys struct {
	mu     sync.RWMutex // guards the keys too: held while one is used, and to wipe it
	mounts map[uint32][]*secret.Key
}

// LendKeys lends customers' keys to the mount of an origin, not 0: all of them or,
// with an error, none. The keys are the store's from then on. Lending one twice is
// the same as once. Error: KindInvalidArgument when the mount would have more than
// 64.
func (s *Store) LendKeys(origin uint32, keys ...*secret.Key) error {
	l := &s.lent
	l.mu.Lock()
	defer l.mu.Unlock()
	lent := slices.Clone(l.mounts[origin])
	had := len(lent)
	for i, key := range keys {
		if slices.IndexFunc(lent, key.Equal) >= 0 {
			key.Wipe()
			continue
		}
		if len(lent) == maxLent {
			for _, k := range slices.Concat(lent[had:], keys[i:]) {
				k.Wipe()
			}
			return objstore.E(objstore.KindInvalidArgument, "lend key", "", "a mount is lent 64 keys at most")
		}
		lent = append(lent, key)
	}
	if l.mounts == nil {
		l.mounts = map[uint32][]*secret.Key{}
	}
	l.mounts[origin] = lent
	return nil
}

// ReturnKey takes a key back from a mount and wipes what was lent; key stays the
// caller's. It reports whether the mount had it.
func (s *Store) ReturnKey(origin uint32, key *secret.Key) bool {
	l := &s.lent
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(origin, key)
	if i < 0 {
		return false
	}
	l.mounts[origin][i].Wipe()
	l.mounts[origin] = slices.Delete(l.mounts[origin], i, i+1)
	s.extents.ForgetKeys()
	return true
}

// ReturnKeys takes all keys back from a mount, and returns how many it had.
func (s *Store) ReturnKeys(origin uint32) int {
	l := &s.lent
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.mounts[origin])
	for _, k := range l.mounts[origin] {
		k.Wipe()
	}
	delete(l.mounts, origin)
	if n > 0 {
		s.extents.ForgetKeys()
	}
	return n
}

// ShareLentKeys lends the keys of one mount to another that takes its place.
func (s *Store) ShareLentKeys(from, to uint32) error {
	s.lent.mu.RLock()
	var keys []*secret.Key
	for _, k := range s.lent.mounts[from] {
		keys = append(keys, k.Clone())
	}
	s.lent.mu.RUnlock()
	return s.LendKeys(to, keys...)
}

// LentKeys returns how many keys a mount has been lent.
func (s *Store) LentKeys(origin uint32) int {
	s.lent.mu.RLock()
	defer s.lent.mu.RUnlock()
	return len(s.lent.mounts[origin])
}

// CustomerKeysInUse counts the open files that have a copy of a customer's key
// of which their mount has been lent none, or none any more.
func (s *Store) CustomerKeysInUse() (n int) {
	for _, node := range s.nodes.all() {
		node.mu.RLock()
		key := node.customer
		if key != nil && !s.lent.anyHas(key) {
			n++
		}
		node.mu.RUnlock()
		s.releaseNode(context.Background(), node)
	}
	return n
}

// find returns the place of a key among those of a mount, or -1; mu is held.
func (l *lentKeys) find(origin uint32, key *secret.Key) int {
	return slices.IndexFunc(l.mounts[origin], key.Equal)
}

// has reports whether a mount has been lent a key.
func (l *lentKeys) has(origin uint32, key *secret.Key) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.find(origin, key) >= 0
}

// anyHas reports whether any mount has.
func (l *lentKeys) anyHas(key *secret.Key) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for origin := range l.mounts {
		if l.find(origin, key) >= 0 {
			return true
		}
	}
	return false
}

// drop wipes all keys.
func (l *lentKeys) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, keys := range l.mounts {
		for _, k := range keys {
			k.Wipe()
		}
	}
	l.mounts = nil
}

// openLent opens the object key of an SSE-C content with one of the keys that
// the caller's mount has been lent, and returns a copy of that key too. The
// caller wipes both. KindKeyRequired: none of them is the one.
func (s *Store) openLent(ctx context.Context, c objstore.Caller, content *record.Content) (*extent.Keys, *secret.Key, error) {
	s.lent.mu.RLock()
	defer s.lent.mu.RUnlock()
	for _, k := range s.lent.mounts[c.Origin] {
		oek, err := s.openOEK(ctx, content, k)
		if objstore.IsKind(err, objstore.KindWrongKey) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		return oek, k.Clone(), nil
	}
	return nil, nil, objstore.E(objstore.KindKeyRequired, "open", "", "the file is encrypted with a customer's key, which the mount has not been lent")
}

// FilesUnder are the files that are encrypted in a mode and under an external
// key ("" for SSE-C) that under likes: what a kernel may have pages of when a key
// is locked or returned. It ends with the first error. Files that are made
// meanwhile may be missing.
func (s *Store) FilesUnder(ctx context.Context, under func(mode objstore.SSEMode, key kms.KeyID) bool) iter.Seq2[objstore.InodeID, error] {
	const step = 1024 // inodes looked at in one snapshot
	return func(yield func(objstore.InodeID, error) bool) {
		for rg := meta.Prefix(record.InodePrefix()); rg.Start != nil; {
			var found []objstore.InodeID
			var next []byte
			err := s.view(ctx, "list files", "", func(r reader) error {
				found, next = nil, nil
				seen := 0
				for p, err := range r.Scan(rg) {
					if err != nil {
						return err
					}
					if seen++; seen > step {
						next = slices.Clone(p.Key)
						return nil
					}
					ino, err := record.ParseInodeKey(p.Key)
					if err != nil {
						return err
					}
					n, err := record.ParseInode(p.Value)
					if err != nil {
						return err
					}
					if under(n.Content.Mode, kms.KeyID(n.Content.KMSKeyID)) {
						found = append(found, ino)
					}
				}
				return nil
			})
			if err != nil {
				yield(0, err)
				return
			}
			for _, ino := range found {
				if !yield(ino, nil) {
					return
				}
			}
			rg.Start = next
		}
	}
}
