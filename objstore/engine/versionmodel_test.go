package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

// modelVersion is a version, or a delete marker, of the model.
type modelVersion struct {
	seq    int // 0: made without versioning
	marker bool
	null   bool
	body   string
	names  int  // of a current version: more than 1 where a file has several names
	dir    bool // it is the object that a directory of the mount is
	lock   modelLock
}

// modelLock is what protects a version.
type modelLock struct{ hold, governance bool }

func (l modelLock) holds(bypass bool) bool { return l.hold || l.governance && !bypass }

// modelKey is what a key has: its current version, and the others, the newest first.
type modelKey struct {
	live *modelVersion
	old  []modelVersion
}

// versionModel says what a bucket holds after each operation, by S3's rules.
type versionModel struct {
	state objstore.Versioning
	keys  map[string]*modelKey
	seq   int
}

func (m *versionModel) key(k string) *modelKey {
	if m.keys[k] == nil {
		m.keys[k] = &modelKey{}
	}
	return m.keys[k]
}

func (m *versionModel) next(body string, marker bool) modelVersion {
	v := modelVersion{body: body, marker: marker}
	m.number(&v)
	return v
}

// number makes a version the newest of all.
func (m *versionModel) number(v *modelVersion) {
	v.seq, v.null = 0, m.state != objstore.VersioningEnabled
	if m.state != objstore.VersioningOff {
		m.seq++
		v.seq = m.seq
	}
}

func (k *modelKey) keep(v modelVersion) {
	k.old = append(k.old, v)
	slices.SortStableFunc(k.old, func(a, b modelVersion) int { return b.seq - a.seq })
}

// apart lets of the null versions only the one stay one: the current version live, or
// else the newest.
func (k *modelKey) apart(live *modelVersion) {
	one := live != nil && live.null
	for i := range k.old {
		k.old[i].null = k.old[i].null && !one
		one = one || k.old[i].null
	}
}

func (k *modelKey) dropNull() {
	k.apart(nil)
	k.old = slices.DeleteFunc(k.old, func(v modelVersion) bool { return v.null })
}

// retire takes the current version away.
func (m *versionModel) retire(k *modelKey) {
	if v := k.live; v != nil && !v.dir && m.state != objstore.VersioningOff {
		k.apart(v)
		if v.names <= 1 && (m.state == objstore.VersioningEnabled || !v.null) {
			k.keep(*v)
		}
	}
	k.live = nil
}

func (m *versionModel) put(key, body string) {
	k := m.key(key)
	m.retire(k)
	if m.state == objstore.VersioningSuspended {
		k.dropNull()
	}
	v := m.next(body, false)
	k.live = &v
}

func (m *versionModel) delete(key string) {
	k := m.key(key)
	if m.state != objstore.VersioningOff {
		k.apart(k.live)
	}
	m.retire(k)
	m.mark(k)
}

func (m *versionModel) mark(k *modelKey) {
	switch m.state {
	case objstore.VersioningOff:
		return
	case objstore.VersioningSuspended:
		k.dropNull()
	}
	k.keep(m.next("", true))
}

// remove removes a version for good: the one at a place in the listing of its key.
func (m *versionModel) remove(key string, at int) {
	k := m.key(key)
	if m.state != objstore.VersioningOff {
		k.apart(k.live)
	}
	if k.live != nil {
		if at == 0 {
			k.live = nil
		} else {
			k.old = slices.Delete(k.old, at-1, at)
		}
	} else {
		k.old = slices.Delete(k.old, at, at+1)
	}
	if k.live == nil && len(k.old) > 0 && !k.old[0].marker {
		v := k.old[0]
		k.live, k.old = &v, k.old[1:]
	}
}

func (m *versionModel) rename(from, to string) {
	v := m.key(from).live
	m.retire(m.key(to))
	m.leave(m.key(from))
	m.settle(m.key(to), v)
}

// leave takes a key's current version, which moves to another key: a delete marker
// stays before older ones.
func (m *versionModel) leave(k *modelKey) {
	k.apart(k.live)
	if k.live = nil; len(k.old) > 0 && !k.old[0].marker {
		m.mark(k)
	}
}

// settle makes a version that has moved a key's current one.
func (m *versionModel) settle(k *modelKey, v *modelVersion) {
	if m.state == objstore.VersioningSuspended {
		k.dropNull()
	}
	if m.number(v); !v.lock.holds(false) {
		v.lock = modelLock{}
	}
	k.live = v
}

// write is a session of the mount.
func (m *versionModel) write(key, body string) {
	if k := m.key(key); k.live != nil && m.state == objstore.VersioningSuspended && k.live.null {
		k.live.body = body
		return
	}
	m.put(key, body)
}

func (m *versionModel) list() (out []string) {
	var keys []string
	for k := range m.keys {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, key := range keys {
		k := m.keys[key]
		all := k.old
		if k.live != nil {
			all = append([]modelVersion{*k.live}, k.old...)
		}
		null := false
		for i, v := range all {
			line := key
			if i == 0 {
				line += "*"
			}
			if v.marker {
				line += " marker"
			} else {
				line += " " + v.body
			}
			if v.null && !null {
				line += " null"
				null = true
			}
			out = append(out, line)
		}
	}
	return out
}

// TestVersionsAgreeWithModel: S3 and the mount change the same names, in all states
// of versioning, and what is listed, and held by each version, is what the model says.
func TestVersionsAgreeWithModel(t *testing.T) {
	s, _ := treeStore(t)
	bucket := 0
	rapid.Check(t, func(rt *rapid.T) {
		bucket++
		b := &versionedBucket{t: t, s: s, name: fmt.Sprintf("model-%d", bucket)}
		b.root = makeBucket(t, s, b.name)
		m := &versionModel{keys: map[string]*modelKey{}}
		keys := []string{"a", "a-b", "d/x", "d/e/y", "d"}
		files := []string{"a", "a-b", "d/x", "f"} // of the mount
		body := func() string { return fmt.Sprint("body", rapid.IntRange(0, 99).Draw(rt, "body")) }
		place := func(path string) (objstore.InodeID, string, bool) {
			dir, name := b.root, path
			if d, n, ok := strings.Cut(path, "/"); ok {
				a, err := s.Lookup(bg, b.root, d)
				if err != nil || a.Type != objstore.TypeDirectory {
					return 0, "", false
				}
				dir, name = a.Inode, n
			}
			return dir, name, true
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch op := rapid.SampledFrom([]string{"put", "put", "put", "delete", "remove", "remove", "state", "write", "unlink", "rename"}).Draw(rt, "op"); op {
			case "put":
				k, text := rapid.SampledFrom(keys).Draw(rt, "key"), body()
				b.put(k, text)
				m.put(k, text)
			case "delete":
				k := rapid.SampledFrom(keys).Draw(rt, "key")
				b.del(k, "")
				m.delete(k)
			case "remove":
				all := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 1000})
				all = slices.DeleteFunc(all, func(e objstore.VersionEntry) bool { return strings.HasSuffix(e.Key, "/") })
				if len(all) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(all)-1).Draw(rt, "version")
				at := 0
				for j := i; j > 0 && all[j-1].Key == all[i].Key; j-- {
					at++
				}
				if res := b.del(all[i].Key, all[i].Version); m.state != objstore.VersioningOff && res.Marker != all[i].DeleteMarker {
					rt.Fatalf("%+v of %+v", res, all[i])
				}
				m.remove(all[i].Key, at)
			case "state":
				m.state = rapid.SampledFrom([]objstore.Versioning{objstore.VersioningEnabled, objstore.VersioningEnabled, objstore.VersioningSuspended}).Draw(rt, "state")
				b.set(m.state)
			case "write":
				k, text := rapid.SampledFrom(files).Draw(rt, "file"), body()
				if dir, name, ok := place(k); ok {
					b.file(dir, name, text)
					m.write(k, text)
				}
			case "unlink":
				k := rapid.SampledFrom(files).Draw(rt, "file")
				dir, name, ok := place(k)
				if err := s.Unlink(bg, mountC, dir, name); ok && err == nil {
					m.delete(k)
				}
			case "rename":
				from, to := rapid.SampledFrom(files).Draw(rt, "from"), rapid.SampledFrom(files).Draw(rt, "to")
				d1, n1, ok1 := place(from)
				d2, n2, ok2 := place(to)
				if !ok1 || !ok2 || from == to {
					continue
				}
				if err := s.Rename(bg, mountC, d1, n1, d2, n2, 0); err == nil {
					m.rename(from, to)
				} else if kindOf(err) != objstore.KindNotFound {
					rt.Fatal(err)
				}
			}
			want := m.list()
			for _, max := range []int{1 + rapid.IntRange(0, 4).Draw(rt, "page"), 1000} {
				got := slices.DeleteFunc(b.versions(max), func(line string) bool { return strings.Contains(line, "/ ") || strings.Contains(line, "/* ") })
				if !slices.Equal(got, want) {
					rt.Fatalf("in pages of %d:\n%s\nnot\n%s", max, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
			for key, k := range m.keys {
				got, err := b.get(key, "")
				if k.live == nil && kindOf(err) != objstore.KindNotFound || k.live != nil && (err != nil || got != k.live.body) {
					rt.Fatalf("%q holds %q: %v", key, got, err)
				}
			}
		}
		if err := checkTree(bg, s); err != nil {
			rt.Fatal(err)
		}
		for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 7}) {
			b.del(e.Key, e.Version)
		}
		if left := b.versions(100); len(left) != 0 {
			rt.Fatalf("left: %v", left)
		}
		if err := checkStore(s); err != nil {
			rt.Fatal(err)
		}
	})
}
