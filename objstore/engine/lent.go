package engine

import (
	"context"
	"iter"

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

// LendKeys lends customers' keys to the mount of an origin, not 0: all of them or,
// with an error, none. The keys are the store's from then on. Lending one twice is
// the same as once. Error: KindInvalidArgument when the mount would have more than
// 64.
func (s *Store) LendKeys(origin uint32, keys ...*secret.Key) error {
	return s.lent.Lend(origin, keys...)
}

// ReturnKey takes a key back from a mount and wipes what was lent; key stays the
// caller's. It reports whether the mount had it.
func (s *Store) ReturnKey(origin uint32, key *secret.Key) bool {
	had := s.lent.Return(origin, key)
	if had {
		s.extents.ForgetKeys()
	}
	return had
}

// ReturnKeys takes all keys back from a mount, and returns how many it had.
func (s *Store) ReturnKeys(origin uint32) int {
	n := s.lent.ReturnAll(origin)
	if n > 0 {
		s.extents.ForgetKeys()
	}
	return n
}

// ShareLentKeys lends the keys of one mount to another that takes its place.
func (s *Store) ShareLentKeys(from, to uint32) error { return s.lent.Share(from, to) }

// LentKeys returns how many keys a mount has been lent.
func (s *Store) LentKeys(origin uint32) int { return s.lent.Count(origin) }

// CustomerKeysInUse counts the open files that have a copy of a customer's key
// of which their mount has been lent none, or none any more.
func (s *Store) CustomerKeysInUse() (n int) {
	for _, node := range s.nodes.all() {
		node.mu.RLock()
		key := node.customer
		if key != nil && !s.lent.AnyHas(key) {
			n++
		}
		node.mu.RUnlock()
		s.releaseNode(context.Background(), node)
	}
	return n
}

// openLent opens the object key of an SSE-C content with one of the keys that
// the caller's mount has been lent, and returns a copy of that key too. The
// caller wipes both. KindKeyRequired: none of them is the one.
func (s *Store) openLent(ctx context.Context, c objstore.Caller, content *record.Content) (*extent.Keys, *secret.Key, error) {
	var oek *extent.Keys
	key, err := s.lent.Try(c.Origin, func(k *secret.Key) (opens bool, err error) {
		oek, err = s.openOEK(ctx, content, k)
		if objstore.IsKind(err, objstore.KindWrongKey) {
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, nil, err
	}
	if key == nil {
		return nil, nil, objstore.E(objstore.KindKeyRequired, "open", "", "the file is encrypted with a customer's key, which the mount has not been lent")
	}
	return oek, key, nil
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
			err := s.view(ctx, "list files", "", func(r reader) (err error) {
				found, next, err = readPage(r, rg, step, func(p meta.Pair) (ino objstore.InodeID, ok bool, err error) {
					if ino, err = record.ParseInodeKey(p.Key); err != nil {
						return ino, false, err
					}
					n, err := record.ParseInode(p.Value)
					return ino, err == nil && under(n.Content.Mode, kms.KeyID(n.Content.KMSKeyID)), err
				})
				return err
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
