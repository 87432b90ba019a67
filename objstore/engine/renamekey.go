package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// RenameObject gives an object another key in its bucket, or, of two keys that
// end in a slash, all keys below a prefix another prefix: atomically, durably,
// and without touching what is renamed. An object at the new key is replaced. A
// prefix moves as one directory, whatever is below it; its new place must be
// free, or an empty directory.
//
// What an object is stays as it is: content, ETag, metadata, encryption, tags,
// time of its last change. Keys that become longer than MaxKeyLen can no longer
// be listed, as those that a mount's rename makes so.
//
// KindNotFound: nothing is at the old key. KindNotEmpty: the new prefix has keys.
// KindPreconditionFailed. KindIdempotency: the token was used for another rename.
func (s *Store) RenameObject(ctx context.Context, c objstore.Caller, req objstore.RenameRequest) error {
	const op = "rename"
	for _, key := range [...]string{req.SrcKey, req.DstKey} {
		if err := objstore.CheckKey(op, key); err != nil {
			return err
		}
	}
	prefix := strings.HasSuffix(req.SrcKey, "/")
	if prefix != strings.HasSuffix(req.DstKey, "/") {
		return objstore.E(objstore.KindInvalidRequest, op, req.SrcKey, "A prefix, which ends in a slash, can be renamed to a prefix only, and an object to an object.")
	}
	m := &keyMove{req: req, prefix: prefix, move: move{op: op, name: req.SrcKey}}
	defer m.unlock(s)
	for {
		var e ends
		err := s.update(ctx, c, op, req.DstKey, func(x *tx) (err error) {
			if err = m.open(x); err != nil || m.done {
				return err
			}
			if e, err = m.find(x); err != nil {
				return err
			}
			if !m.ready(s, e) {
				return errUnready
			}
			return m.run(x, e)
		})
		if err == nil {
			s.renames.add(m.token, m.sum)
			return s.durable(context.WithoutCancel(ctx))
		}
		if !errors.Is(err, errUnready) {
			return err
		}
		if err := m.prepare(ctx, s, e); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return s.wrap(op, req.SrcKey, err)
		}
	}
}

// keyMove is one RenameObject. What it finds is found anew in each try.
type keyMove struct {
	move
	req    objstore.RenameRequest
	prefix bool
	root   objstore.InodeID
	path   []step          // to the directory that has the old name
	old    string          // the old name in it
	token  renameToken     // zero: the client gave none
	sum    record.RenameID // of token and keys
	done   bool            // an earlier request with that token did it
}

// open finds the bucket, and what became of an earlier request with the token.
func (m *keyMove) open(x *tx) (err error) {
	if m.root, err = x.bucketRoot(m.req.Bucket); err != nil || m.req.Token == "" {
		return err
	}
	m.token = renameToken(x.s.tokenSum(m.root, m.req.Token))
	m.sum = x.s.tokenSum(m.root, m.req.Token, m.req.SrcKey, m.req.DstKey)
	earlier, ok := x.s.renames.get(m.token)
	if ok && earlier != m.sum {
		return objstore.E(objstore.KindIdempotency, m.op, m.req.SrcKey, "")
	}
	if m.done = ok; ok {
		return nil
	}
	// The daemon may have been started since: the inode remembers.
	_, n, err := m.at(x.reader, m.req.DstKey)
	if objstore.IsKind(err, objstore.KindNotFound) {
		return nil
	}
	m.done = err == nil && n.Renamed == m.sum
	return err
}

// at is what a key names: a regular file, or behind a slash a directory, whether
// S3 lists that or not.
func (m *keyMove) at(r reader, key string) (objstore.InodeID, *record.Inode, error) {
	if !m.prefix {
		return r.findKey(m.root, key)
	}
	path, err := r.pathTo(m.root, key)
	if err != nil {
		return 0, nil, err
	}
	n, err := r.named(m.op, key, path[len(path)-1].ino)
	return path[len(path)-1].ino, n, err
}

// pathTo returns the directories on the way to a key.
func (r reader) pathTo(root objstore.InodeID, key string) ([]step, error) {
	dirs, _ := splitKey(key)
	path := []step{{ino: root}}
	for _, comp := range dirs {
		d, ok, err := r.dirent(path[len(path)-1].ino, comp+"/")
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, objstore.E(objstore.KindNotFound, "key", key, "")
		}
		path = append(path, step{comp, d.Inode})
	}
	return path, nil
}

// find finds both ends and checks their conditions.
func (m *keyMove) find(x *tx) (e ends, err error) {
	if e.src.Inode, m.moved, err = m.at(x.reader, m.req.SrcKey); err != nil {
		return e, err
	}
	if m.path, err = x.pathTo(m.root, m.req.SrcKey); err != nil {
		return e, err
	}
	e.src.Type = m.moved.Type
	if _, m.old = splitKey(m.req.SrcKey); m.prefix {
		m.old = m.path[len(m.path)-1].name
		m.path = m.path[:len(m.path)-1]
	}
	if e.dst.Inode, m.target, err = m.at(x.reader, m.req.DstKey); err == nil {
		e.dst.Type = m.target.Type
	} else if !objstore.IsKind(err, objstore.KindNotFound) {
		return e, err
	}
	if !m.prefix {
		if err := x.checked(x.s, e.src.Inode, m.moved, m.req.CheckSource); err != nil {
			return e, err
		}
	}
	if err := m.checkSource(x); err != nil {
		return e, err
	}
	return e, m.checkTarget(x, e)
}

// checkSource checks the conditions on the old key. A prefix has those of the
// object that is the directory, if it has one.
func (m *keyMove) checkSource(x *tx) error {
	if m.req.SrcPrecondition.IsZero() {
		return nil
	}
	_, n, err := x.findKey(m.root, m.req.SrcKey)
	if err != nil {
		return err
	}
	return failedRead(checkRead(m.op, m.req.SrcKey, m.req.SrcPrecondition, etagOf(x.s, n), n.Mtime))
}

// checkTarget checks the conditions on the new key.
func (m *keyMove) checkTarget(x *tx, e ends) error {
	pre, key := m.req.DstPrecondition, m.req.DstKey
	if err := x.checkedIfThere(m.op, m.root, key, "", objstore.Check{Tags: pre.Tags}); err != nil {
		return err
	}
	switch {
	case pre.IsZero():
		return nil
	case pre.OnlyNew && e.dst.Inode != 0:
		return errReplaces(m.op, key)
	case pre.OnlyNew && m.prefix:
		if err := m.checkNeverThere(x, key); err != nil {
			return err
		}
	case pre.OnlyNew:
		if err := x.checkOnlyNew(m.root, key); err != nil {
			return err
		}
	}
	_, n, err := x.findKey(m.root, key)
	switch {
	case err == nil:
		return failedRead(checkRead(m.op, key, pre, etagOf(x.s, n), n.Mtime))
	case !objstore.IsKind(err, objstore.KindNotFound):
		return err
	case len(pre.IfMatch) > 0:
		return err
	case pre.IfModifiedSince != 0:
		return objstore.E(objstore.KindPreconditionFailed, m.op, key, "If-Modified-Since")
	case len(pre.IfNoneMatch) > 0 && e.dst.Inode != 0: // keys below an implicit directory
		return objstore.E(objstore.KindPreconditionFailed, m.op, key, "If-None-Match")
	}
	return nil
}

// checkNeverThere refuses a new prefix that has versions, for whoever may not replace
// objects: of two null versions of one key, one from the old prefix and one that was
// there, only one stays the null version.
func (m *keyMove) checkNeverThere(x *tx, prefix string) error {
	if b, err := x.settings(m.root); err != nil || b.Versioning == objstore.VersioningOff {
		return err
	}
	w, err := x.way(m.root, prefix)
	if err == nil && len(w.last()) > 0 {
		err = errReplaces(m.op, prefix)
	}
	return err
}

// failedRead makes of a condition that a read would answer with "not modified"
// one that failed.
func failedRead(err error) error {
	if objstore.IsKind(err, objstore.KindNotModified) {
		e := objstore.E(objstore.KindPreconditionFailed, "rename", "", "If-None-Match")
		var was *objstore.Error
		if errors.As(err, &was) {
			e.What, e.Msg = was.What, was.Msg
		}
		return e
	}
	return err
}

func (m *keyMove) run(x *tx, e ends) (err error) {
	if m.req.SrcKey == m.req.DstKey {
		return nil
	}
	if m.b, err = x.settings(m.root); err != nil {
		return err
	}
	if m.prefix && m.b.Lock.Enabled {
		return objstore.E(objstore.KindInvalidRequest, m.op, m.req.SrcKey, "A prefix of a bucket with Object Lock cannot be renamed.")
	}
	if err := m.movable(x, m.req.SrcKey, m.moved); err != nil {
		return err
	}
	dirs, last := splitKey(m.req.DstKey)
	if m.prefix {
		dirs, last = dirs[:len(dirs)-1], dirs[len(dirs)-1]
		if err := m.notInto(x.reader, e.src.Inode, dirs); err != nil {
			return err
		}
	}
	newParent, to, err := x.makeWay(m.op, m.root, dirs)
	if err != nil {
		return err
	}
	parent := m.path[len(m.path)-1].ino
	from := to
	if parent != newParent {
		if from, err = x.named(m.op, m.req.SrcKey, parent); err != nil {
			return err
		}
	}
	if err := m.carry(x, e.src.Inode, m.moved, parent, from, m.old); err != nil {
		return err
	}
	if err := x.removeEntry(parent, from, m.old, e.src.Type); err != nil {
		return err
	}
	same := e.src.Inode == e.dst.Inode // another name of the same file
	if err := m.makeRoom(x, newParent, to, last, e); err != nil {
		return err
	}
	if err := x.addEntry(newParent, to, last, record.Dirent{Type: e.src.Type, Inode: e.src.Inode}); err != nil {
		return err
	}
	if same {
		m.moved.Nlink--
	}
	m.moved.Renamed = m.sum
	if err := m.leaveMarker(x, m.moved, parent, from, m.old, nil); err != nil {
		return err
	}
	if err := m.settle(x, e.src.Inode, m.moved, newParent, to, last); err != nil {
		return err
	}
	x.touch(newParent, to)
	if parent != newParent {
		x.touch(parent, from)
	}
	if err := m.tell(x, e.src.Inode, parent, newParent, last); err != nil {
		return err
	}
	if from, err = x.named(m.op, m.req.SrcKey, parent); err != nil {
		return err
	}
	return x.prune(m.root, m.path, from, record.StoredName(m.old, m.prefix))
}

// tell tells the watchers of the old name and the new.
func (m *keyMove) tell(x *tx, ino, parent, newParent objstore.InodeID, last string) error {
	x.change(objstore.Change{Inode: ino})
	if m.prefix {
		x.entryChanged(newParent, last, ino, false)
		return x.dirGone(parent, m.old, ino)
	}
	_, twin, err := x.dirent(parent, m.old+"/")
	if err != nil {
		return err
	}
	x.objectGone(parent, m.old, ino, twin)
	return x.objectCame(newParent, last, ino)
}

// makeRoom removes what stands at the new name.
func (m *keyMove) makeRoom(x *tx, newParent objstore.InodeID, to *record.Inode, last string, e ends) error {
	d, ok, err := x.dirent(newParent, record.StoredName(last, m.prefix))
	if err != nil || !ok || d.Inode == e.src.Inode {
		return err
	}
	if m.prefix {
		for _, above := range m.path {
			if above.ino == d.Inode { // what is moved was in it
				return objstore.E(objstore.KindNotEmpty, m.op, m.req.DstKey, "")
			}
		}
		if err := x.removeDirectory(m.op, newParent, to, last, d.Inode); err != nil {
			return err
		}
	} else {
		in, err := x.histories(m.b, newParent, to)
		if err != nil {
			return err
		}
		if err := x.retire(m.b, m.op, in, last, d.Inode); err != nil {
			return err
		}
	}
	x.change(objstore.Change{Inode: d.Inode})
	return x.removeEntry(newParent, to, last, d.Type)
}

// notInto refuses to move a directory into itself. The caller holds renameMu.
func (m *keyMove) notInto(r reader, moved objstore.InodeID, dirs []string) error {
	at := m.root
	for _, comp := range dirs {
		d, ok, err := r.dirent(at, comp+"/")
		if err != nil || !ok {
			return err
		}
		if at = d.Inode; at == moved {
			return objstore.E(objstore.KindInvalidRequest, m.op, m.req.SrcKey, "A prefix cannot be renamed to one below itself.")
		}
	}
	return nil
}

// renameToken names a client's token in a bucket.
type renameToken record.RenameID

// tokenSum is a keyed hash of a client's token and what it stands for.
func (s *Store) tokenSum(root objstore.InodeID, parts ...string) (sum record.RenameID) {
	h := hmac.New(sha256.New, s.etagKey)
	h.Write(binary.BigEndian.AppendUint64([]byte("rename token"), uint64(root)))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		h.Write([]byte(p))
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// maxRenames bounds the tokens that are remembered beside those in the inodes.
const maxRenames = 1024

// renames remembers which token stood for which rename: a repeated request is
// answered without doing it again, even where the object was renamed or
// overwritten since, and a token that is used for another one is refused.
type renames struct {
	mu   sync.Mutex
	sums map[renameToken]record.RenameID // guarded by mu
}

func (r *renames) get(t renameToken) (record.RenameID, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum, ok := r.sums[t]
	return sum, ok
}

func (r *renames) add(t renameToken, sum record.RenameID) {
	if t == (renameToken{}) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sums == nil {
		r.sums = make(map[renameToken]record.RenameID)
	}
	for len(r.sums) >= maxRenames {
		dropSome(r.sums, 1)
	}
	r.sums[t] = sum
}
