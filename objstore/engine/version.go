package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Versions. The current version of an object is what its name points at, as in
// any bucket; the noncurrent ones, and delete markers, are in the family v, newest
// first, under the history of the directory (see record/version.go). A noncurrent
// version is an inode that no name points at: it has Held set, and where it is
// kept. What it holds is never changed: whoever has it open for writing gets a content
// of its own first (aside.go).
//
// An object without a current version has a delete marker for its newest one.
// Writing and deleting costs the same whatever the number of versions: numbers of
// versions ascend over the whole store, so that none has to be looked up.
//
// Only regular files with one name have versions. A name taken from a file that
// has others leaves none: what it stood for is still there. Names that no key can
// express have none either.

// versionStep is how far the numbers that a restart will not go below are ahead of
// those that are given out, in nanoseconds.
const versionStep = uint64(time.Minute)

// versionNumber returns a number that is greater than every one before it: the time
// in nanoseconds, unless the clock went backwards.
func (x *tx) versionNumber() (uint64, error) {
	s := x.s
	s.versionMu.Lock()
	n := max(uint64(max(x.now, 0)), s.lastVersion+1, madeWithout+1)
	s.lastVersion = n
	ceil := max(s.versionCeil, x.versionCeil)
	s.versionMu.Unlock()
	if n < ceil {
		return n, nil
	}
	root, err := x.root()
	if err != nil {
		return 0, err
	}
	root.VersionCeil = n + versionStep
	x.versionCeil = root.VersionCeil
	x.txn.Set(record.RootKey(), root.Append(nil))
	return n, nil
}

// versionTime is the time by the clock of the numbers, which never goes backwards.
func (x *tx) versionTime() objstore.Time {
	x.s.versionMu.Lock()
	defer x.s.versionMu.Unlock()
	return max(x.now, objstore.Time(x.s.lastVersion))
}

// raiseVersionCeil is told of a ceiling that was committed.
func (s *Store) raiseVersionCeil(ceil uint64) {
	s.versionMu.Lock()
	defer s.versionMu.Unlock()
	s.versionCeil = max(s.versionCeil, ceil)
}

// isVersion reports whether an inode is the version that is named.
func isVersion(n *record.Inode, ref versionRef) bool {
	if ref.null {
		return n.IsNull()
	}
	return !ref.current && !n.IsNull() && n.Seq == ref.number
}

// numberOf is the number under which a version is kept when it is set aside.
func numberOf(n *record.Inode) uint64 { return max(n.Seq, madeWithout) }

// madeWithout is the number of what was made without versioning. On disk.
const madeWithout = 1

// versionEncoding is base64 with the characters of AWS's ids.
var versionEncoding = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._").WithPadding(base64.NoPadding).Strict()

const versionIDLen = 32 // characters of 24 bytes

// versionID is the id of the version of a number: 16 bytes of a keyed hash, and
// the number, masked. It tells nothing, and nobody can make one up.
func (s *Store) versionID(number uint64) objstore.VersionID {
	var b [24]byte
	sum := s.versionSum("version", binary.BigEndian.AppendUint64(nil, number))
	copy(b[:16], sum[:16])
	mask := s.versionSum("version mask", b[:16])
	binary.BigEndian.PutUint64(b[16:], number^binary.BigEndian.Uint64(mask[:8]))
	return objstore.VersionID(versionEncoding.EncodeToString(b[:]))
}

func (s *Store) versionSum(label string, p []byte) (sum [32]byte) {
	m := hmac.New(sha256.New, s.etagKey)
	m.Write([]byte(label))
	m.Write([]byte{0})
	m.Write(p)
	m.Sum(sum[:0])
	return sum
}

// versionRef is a version that a request names.
type versionRef struct {
	current bool // whichever that is
	null    bool
	number  uint64
}

// parseVersion reads a version id; KindInvalidArgument for one that the store never
// made.
func (s *Store) parseVersion(op string, id objstore.VersionID) (versionRef, error) {
	switch {
	case id == "":
		return versionRef{current: true}, nil
	case id == objstore.NullVersion:
		return versionRef{null: true}, nil
	}
	bad := objstore.E(objstore.KindInvalidArgument, op, "", "Invalid version id specified")
	if len(id) != versionIDLen {
		return versionRef{}, bad
	}
	b, err := versionEncoding.DecodeString(string(id))
	if err != nil || len(b) != 24 { // the decoder passes line ends over
		return versionRef{}, bad
	}
	mask := s.versionSum("version mask", b[:16])
	number := binary.BigEndian.Uint64(b[16:]) ^ binary.BigEndian.Uint64(mask[:8])
	sum := s.versionSum("version", binary.BigEndian.AppendUint64(nil, number))
	if subtle.ConstantTimeCompare(sum[:16], b[:16]) != 1 {
		return versionRef{}, bad
	}
	return versionRef{number: number}, nil
}

// CheckVersionID returns nil for a version id that the store may have made, of
// whatever object, for NullVersion and for none; otherwise KindInvalidArgument.
func (s *Store) CheckVersionID(id objstore.VersionID) error {
	_, err := s.parseVersion("version", id)
	return err
}

// versionOf is the id of an object's version, empty in a bucket that never had versions.
func (s *Store) versionOf(b *record.Bucket, n *record.Inode) objstore.VersionID {
	switch {
	case b.Versioning == objstore.VersioningOff:
		return ""
	case n.IsNull():
		return objstore.NullVersion
	}
	return s.versionID(n.Seq)
}

// versionIn is versionOf in the bucket of a root directory.
func (r reader) versionIn(s *Store, root objstore.InodeID, n *record.Inode) (objstore.VersionID, error) {
	b, err := r.settings(root)
	if err != nil {
		return "", err
	}
	return s.versionOf(b, n), nil
}

// settings returns a bucket's record, from the cache as a rule.
func (r reader) settings(root objstore.InodeID) (*record.Bucket, error) {
	if r.cache != nil {
		var b record.Bucket
		var known bool
		if r.x == nil {
			b, known = r.cache.bucketAt(r.token, root)
		} else if !r.x.done.buckets[root] {
			b, known = r.cache.bucket(root)
		}
		if known {
			return &b, nil
		}
	}
	b, err := r.bucket(root)
	if err == nil && r.x != nil && !r.x.done.buckets[root] {
		r.x.done.noteBucket(root, *b)
	}
	return b, err
}

// way is a key in a versioned bucket: the directories on the way to it, and the
// histories of that path.
type way struct {
	root   objstore.InodeID
	dirs   []string
	name   string             // in the last of dirs
	path   []objstore.InodeID // directories that are there, the root first; not more than one for each of dirs
	levels [][]history        // of the root and of each of dirs
}

// way finds the directories and histories of a key.
func (r reader) way(root objstore.InodeID, key string) (*way, error) {
	dirs, name := splitKey(key)
	w := &way{root: root, dirs: dirs, name: name, path: []objstore.InodeID{root}, levels: [][]history{{{id: root}}}}
	for i, comp := range dirs {
		gone, err := r.gone(w.levels[i], comp)
		if err != nil {
			return nil, err
		}
		var here []history
		if len(w.path) == i+1 {
			d, ok, err := r.dirent(w.path[i], comp+"/")
			if err != nil {
				return nil, err
			}
			if ok {
				n, err := r.named("version", comp, d.Inode)
				if err != nil {
					return nil, err
				}
				w.path = append(w.path, d.Inode)
				here = historiesOf(d.Inode, n)
			}
		}
		w.levels = append(w.levels, append(here, gone...))
	}
	return w, nil
}

// dir is the directory of the key, 0 when it is not there.
func (w *way) dir() objstore.InodeID {
	if len(w.path) <= len(w.dirs) {
		return 0
	}
	return w.path[len(w.dirs)]
}

// last are the histories of the key's directory.
func (w *way) last() []history { return w.levels[len(w.dirs)] }

// kept is a noncurrent version or a delete marker.
type kept struct {
	in     history
	name   string
	number uint64
	v      record.Version
}

func (k *kept) key() []byte { return record.VersionKey(k.in.id, k.name, k.number) }

// isMarker reports whether it is a delete marker.
func (k *kept) isMarker() bool { return k.v.Inode == 0 }

// newest returns the newest noncurrent version of a name, nil when there is none.
func (r reader) newest(in []history, name string) (*kept, error) {
	var best *kept
	for _, h := range in {
		rng := meta.Prefix(record.VersionPrefix(h.id, name))
		rng.End = record.VersionKey(h.id, name, 0)
		for p, err := range r.Scan(rng) {
			if err != nil {
				return nil, err
			}
			k, err := record.ParseVersionKey(p.Key)
			if err != nil {
				return nil, err
			}
			if best == nil || k.Number > best.number {
				v, err := record.ParseVersion(p.Value)
				if err != nil {
					return nil, err
				}
				best = &kept{h, name, k.Number, v}
			}
			break
		}
	}
	return best, nil
}

// keptAs returns the noncurrent version of a number, nil when there is none.
func (r reader) keptAs(in []history, name string, number uint64) (*kept, error) {
	if number == 0 {
		return nil, nil
	}
	for _, h := range in {
		b, err := r.Get(record.VersionKey(h.id, name, number))
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v, err := record.ParseVersion(b)
		return &kept{h, name, number, v}, err
	}
	return nil, nil
}

// version returns the noncurrent version that is asked for, nil when there is none.
// live is the current version, nil when there is none.
func (r reader) version(in []history, name string, live *record.Inode, ref versionRef) (*kept, error) {
	isNull := live != nil && live.IsNull()
	if ref.null {
		if isNull {
			return nil, nil // that is the one
		}
		return r.newestNull(in, name)
	}
	k, err := r.keptAs(in, name, ref.number)
	if err == nil && k == nil {
		k, err = r.keptBy(in, name, objstore.InodeID(ref.number))
	}
	if err != nil || k == nil || !k.v.Null || isNull {
		return k, err
	}
	null, err := r.newestNull(in, name)
	if err != nil || k.in.id == null.in.id {
		return nil, err // its id is another
	}
	return k, nil
}

// findObject is findKey for a version: the current one, or the one that is named.
// The bucket's record comes with it. KindNotFound tells of the delete marker that
// is current; KindDeleteMarker: the version named is one; KindNoSuchVersion.
func (r reader) findObject(s *Store, op string, root objstore.InodeID, key string, id objstore.VersionID) (ino objstore.InodeID, n *record.Inode, b *record.Bucket, err error) {
	if b, err = r.settings(root); err != nil {
		return 0, nil, nil, err
	}
	ref, err := s.parseVersion(op, id)
	if err != nil {
		return 0, nil, nil, err
	}
	ino, n, err = r.findKey(root, key) // n is nil when there is none
	found := err == nil
	if err != nil && !objstore.IsKind(err, objstore.KindNotFound) {
		return 0, nil, nil, err
	}
	switch {
	case found && (ref.current || isVersion(n, ref)):
		return ino, n, b, nil
	case b.Versioning == objstore.VersioningOff && ref.current:
		return 0, nil, nil, err
	case b.Versioning == objstore.VersioningOff:
		return 0, nil, nil, objstore.E(objstore.KindNoSuchVersion, op, key, "")
	}
	w, werr := r.way(root, key)
	if werr != nil {
		return 0, nil, nil, werr
	}
	if ref.current {
		return 0, nil, nil, r.deleted(s, w, op, key)
	}
	if r.x != nil { // who finds it here may change it
		if err := r.x.tellNullsApart(w.last(), w.name, n); err != nil {
			return 0, nil, nil, err
		}
	}
	k, err := r.version(w.last(), w.name, n, ref)
	switch {
	case err != nil:
		return 0, nil, nil, err
	case k == nil:
		return 0, nil, nil, objstore.E(objstore.KindNoSuchVersion, op, key, "")
	case k.isMarker():
		return 0, nil, nil, &objstore.Error{Kind: objstore.KindDeleteMarker, Op: op, What: key, Marker: id, Modified: k.v.Made}
	}
	if n, err = r.named(op, key, k.v.Inode); err == nil && !ref.null {
		n.Seq, n.Null = k.numberApart(), false
	}
	return k.v.Inode, n, b, err
}

// deleted is the error for a key without a current version.
func (r reader) deleted(s *Store, w *way, op, key string) error {
	k, err := r.newest(w.last(), w.name)
	if err != nil {
		return err
	}
	e := objstore.E(objstore.KindNotFound, op, key, "")
	if k != nil && k.isMarker() { // the newest of all: if it is a null version, then the one
		e.Marker, e.Modified = s.keptID(k), k.v.Made
	}
	return e
}

// keptID is the id of a noncurrent version.
func (s *Store) keptID(k *kept) objstore.VersionID {
	if k.v.Null {
		return objstore.NullVersion
	}
	return s.versionID(k.number)
}
