package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
)

// A mix has several clients that change the same few names of a versioned bucket
// through both doors: objects and versions are put, deleted and locked, files written,
// linked and removed, names and whole prefixes renamed onto each other. When all are
// done, and nobody knows any more in what order, the bucket must still be one that
// could be: what each key lists is what can be read there, nothing is lost that nobody
// deleted, and nothing is left of what was.

// mixKinds says what happens in a mix beside the rest.
type mixKinds struct {
	suspend bool // versioning is suspended now and then
	link    bool // files get further names
	lock    bool // from the second round on, versions are locked and no prefix is renamed
}

type versionMix struct {
	*versionedBucket
	mixKinds

	mu     sync.Mutex // guards the fields below
	bodies int
	sure   map[string]bool // bodies that are there
	gone   map[string]bool // bodies whose only version was deleted
	locked map[lockedVersion]string
}

type lockedVersion struct {
	key string
	id  objstore.VersionID
}

var (
	mixDirs  = []string{"", "p/", "q/", "p/s/", "q/s/"}
	mixNames = []string{"x", "y", "s"}
)

// mixTime bounds how long a test of mixes goes on to make new ones.
func mixTime() time.Duration {
	if long {
		return 5 * time.Minute
	}
	return time.Second
}

func TestVersionsStandAMixOfBothDoors(t *testing.T) {
	for _, k := range []mixKinds{{}, {suspend: true}, {link: true}, {suspend: true, link: true}, {lock: true}} {
		t.Run(fmt.Sprintf("%+v", k), func(t *testing.T) {
			s, _ := treeStore(t)
			for seed, end := uint64(1), time.Now().Add(mixTime()); seed == 1 || time.Now().Before(end); seed++ {
				for _, clients := range []int{1, 4} {
					name := fmt.Sprintf("mix-%d-%d", clients, seed)
					m := &versionMix{versionedBucket: &versionedBucket{t: t, s: s, name: name, root: makeBucket(t, s, name)}, mixKinds: k,
						sure: map[string]bool{}, gone: map[string]bool{}, locked: map[lockedVersion]string{}}
					if m.run(clients, seed); t.Failed() {
						t.Fatalf("seed %d with %d clients", seed, clients)
					}
				}
			}
		})
	}
}

func (m *versionMix) run(clients int, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		m.putBody(rnd, pickKey(rnd))
	}
	m.set(objstore.VersioningEnabled)
	locking := false
	for round := range 3 {
		if locking = m.lock && round > 0; locking {
			m.must(m.s.SetLockDefault(bg, s3C, m.name, objstore.DefaultRetention{}))
		}
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(round*clients+c+1)))
				for range 40 / clients {
					m.step(rnd, locking)
				}
			})
		}
		wg.Wait()
		if m.check(); m.t.Failed() {
			return
		}
	}
	m.empty()
}

func pickKey(rnd *rand.Rand) string {
	return mixDirs[rnd.IntN(len(mixDirs))] + mixNames[rnd.IntN(2)]
}

// pickPlace is a name of the mount; ok is false where it has no directory.
func (m *versionMix) pickPlace(rnd *rand.Rand) (dir objstore.InodeID, name string, ok bool) {
	dir = m.root
	path := mixDirs[rnd.IntN(len(mixDirs))]
	for _, comp := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
		a, err := m.s.Lookup(bg, dir, comp)
		if err != nil || a.Type != objstore.TypeDirectory {
			return 0, "", false
		}
		dir = a.Inode
	}
	if dir == m.root && rnd.IntN(2) == 0 {
		return dir, []string{"p", "q"}[rnd.IntN(2)], true
	}
	return dir, mixNames[rnd.IntN(len(mixNames))], true
}

// step does one operation. That it fails is no failure: others may have taken its names.
func (m *versionMix) step(rnd *rand.Rand, locking bool) {
	dir, name, ok := m.pickPlace(rnd)
	dir2, name2, ok2 := m.pickPlace(rnd)
	switch op := rnd.IntN(20); {
	case op < 4:
		m.putBody(rnd, pickKey(rnd))
	case op < 6:
		m.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: m.name, Key: pickKey(rnd)})
	case op < 8:
		m.onVersion(rnd, m.deleteVersion)
	case op == 8 && locking:
		m.onVersion(rnd, m.lockVersion)
	case op == 8 && m.suspend:
		m.s.SetBucketVersioning(bg, s3C, m.name, []objstore.Versioning{objstore.VersioningEnabled, objstore.VersioningSuspended}[rnd.IntN(2)])
	case op < 10:
		m.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: m.name, SrcKey: pickKey(rnd), DstKey: pickKey(rnd)})
	case op < 12:
		m.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: m.name, SrcKey: mixDirs[1+rnd.IntN(4)], DstKey: mixDirs[1+rnd.IntN(4)]})
	case !ok:
	case op == 12:
		m.write(dir, name)
	case op == 13:
		m.s.Unlink(bg, mountC, dir, name)
	case op == 14:
		m.s.Rmdir(bg, mountC, dir, name)
	case op == 15:
		m.s.Mkdir(bg, mountC, dir, name, 0755)
	case !ok2:
	case op == 16 && m.link:
		if a, err := m.s.Lookup(bg, dir, name); err == nil {
			m.s.Link(bg, mountC, a.Inode, dir2, name2)
		}
	case op < 19:
		m.s.Rename(bg, mountC, dir, name, dir2, name2, 0)
	default:
		m.s.Rename(bg, mountC, dir, name, dir2, name2, objstore.RenameExchange)
	}
}

func (m *versionMix) body(rnd *rand.Rand) string {
	m.mu.Lock()
	m.bodies++
	text := fmt.Sprintf("body %d", m.bodies)
	m.mu.Unlock()
	if rnd.IntN(8) == 0 {
		text += strings.Repeat(" and so on", 10<<10) // in extents
	}
	return text
}

func (m *versionMix) putBody(rnd *rand.Rand, key string) {
	body := m.body(rnd)
	if state, err := m.s.BucketVersioning(bg, s3C, m.name); err != nil || state != objstore.VersioningOff && !m.suspend {
		m.note(body, true)
	}
	_, err := m.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: m.name, Key: key, Body: strings.NewReader(body), Size: int64(len(body))})
	if err != nil {
		m.note(body, false)
	}
}

// note notes whether a body is sure to be there until it is deleted.
func (m *versionMix) note(body string, sure bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if delete(m.sure, body); sure {
		m.sure[body] = true
	}
}

// write is a session of the mount. Its version can be deleted before it ends, and
// what it holds with it.
func (m *versionMix) write(dir objstore.InodeID, name string) {
	_, f, err := m.s.Create(bg, mountC, dir, name, 0644, objstore.OpenFlags{Write: true, Truncate: true}, false)
	if err != nil {
		return
	}
	m.mu.Lock()
	m.bodies++
	text := fmt.Sprintf("file %d", m.bodies)
	m.mu.Unlock()
	_, err = f.WriteAt(bg, []byte(text), 0)
	if err := errors.Join(err, f.Close(bg)); err != nil {
		m.t.Errorf("write %q: %v", name, err)
	}
}

// onVersion does something to one of the versions that are listed.
func (m *versionMix) onVersion(rnd *rand.Rand, fn func(e *objstore.VersionEntry, body string)) {
	res, err := m.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: m.name, MaxKeys: 1000})
	if err != nil {
		m.t.Errorf("list versions: %v", err)
	}
	if len(res.Entries) == 0 {
		return
	}
	e := &res.Entries[rnd.IntN(len(res.Entries))]
	body := ""
	if !e.DeleteMarker {
		if body, err = m.get(e.Key, e.Version); err != nil && kindOf(err) != objstore.KindNoSuchVersion && kindOf(err) != objstore.KindDeleteMarker {
			m.t.Errorf("get %q %q: %v", e.Key, e.Version, err)
		}
	}
	fn(e, body)
}

func (m *versionMix) deleteVersion(e *objstore.VersionEntry, body string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Version == objstore.NullVersion && body != "" {
		// It may be another one by now: only who holds that still knows.
		now, err := m.get(e.Key, e.Version)
		if err != nil || now != body {
			return
		}
	}
	res, err := m.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: m.name, Key: e.Key, Version: e.Version})
	if err != nil || !res.Existed || body == "" {
		return
	}
	delete(m.sure, body)
	if e.Version != objstore.NullVersion && !m.link && strings.HasPrefix(body, "body") {
		m.gone[body] = true
	}
}

func (m *versionMix) lockVersion(e *objstore.VersionEntry, body string) {
	if body == "" || strings.HasPrefix(body, "file") || e.Version == objstore.NullVersion {
		return
	}
	to := objstore.Retention{Mode: objstore.LockGovernance, Until: m.s.now() + objstore.Time(time.Hour)}
	if _, err := m.s.SetRetention(bg, s3C, objstore.LockRequest{Bucket: m.name, Key: e.Key, Version: e.Version}, to, false); err == nil {
		m.mu.Lock()
		m.locked[lockedVersion{e.Key, e.Version}] = body
		m.mu.Unlock()
	}
}

// check compares what the bucket tells about itself.
func (m *versionMix) check() {
	all := m.listAll(1000)
	for _, max := range []int{1, 3} {
		if paged := m.listAll(max); fmt.Sprint(paged) != fmt.Sprint(all) {
			m.t.Errorf("in pages of %d: %v\nnot %v", max, paged, all)
		}
	}
	held := map[string]bool{}
	var current []string
	for i := range all {
		e := &all[i]
		first := i == 0 || all[i-1].Key != e.Key
		if e.Latest != first {
			m.t.Errorf("%q version %q: latest is %v", e.Key, e.Version, e.Latest)
		}
		if again := slices.IndexFunc(all[:i], func(o objstore.VersionEntry) bool { return o.Key == e.Key && o.Version == e.Version }); again >= 0 {
			m.t.Errorf("%q version %q is listed twice: %+v and %+v", e.Key, e.Version, all[again], *e)
		}
		if first {
			m.checkCurrent(e)
			if !e.DeleteMarker {
				current = append(current, e.Key)
			}
		}
		body, err := m.get(e.Key, e.Version)
		if e.DeleteMarker {
			if kindOf(err) != objstore.KindDeleteMarker {
				m.t.Errorf("%q version %q: %v", e.Key, e.Version, err)
			}
			continue
		}
		if err != nil || int64(len(body)) != e.Size {
			m.t.Errorf("%+v holds %d bytes: %v", *e, len(body), err)
		}
		held[body] = true
		if m.gone[body] {
			m.t.Errorf("%q version %q holds %q, which was deleted", e.Key, e.Version, body[:7])
		}
	}
	res, err := m.s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: m.name, MaxKeys: 1000})
	m.must(err)
	if live := keysOf(res.Entries); !slices.Equal(live, current) {
		m.t.Errorf("objects %q, not those whose latest version is one: %q", live, current)
	}
	for body := range m.sure {
		if !held[body] {
			m.t.Errorf("%.10q is lost", body)
		}
	}
	for v, body := range m.locked {
		if got, err := m.get(v.key, v.id); err != nil || got != body {
			m.t.Errorf("locked %+v holds %.10q, not %.10q: %v", v, got, body, err)
		}
	}
	if err := checkStore(m.s); err != nil {
		m.t.Error(err)
	}
}

// listAll lists the bucket in pages of max.
func (m *versionMix) listAll(max int) []objstore.VersionEntry {
	return m.pages(objstore.ListVersionsRequest{Bucket: m.name, MaxKeys: max})
}

func keysOf(list []objstore.ListEntry) (keys []string) {
	for _, e := range list {
		keys = append(keys, e.Key)
	}
	return keys
}

// checkCurrent checks what a key is without a version: e is the latest.
func (m *versionMix) checkCurrent(e *objstore.VersionEntry) {
	info, err := m.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: m.name, Key: e.Key})
	if !e.DeleteMarker {
		if err != nil || info.Version != e.Version || info.ETag != e.ETag || info.Size != e.Size {
			m.t.Errorf("%q is %+v, %v, not the latest: %+v", e.Key, info, err, *e)
		}
		return
	}
	var said *objstore.Error
	if !errors.As(err, &said) || said.Kind != objstore.KindNotFound || said.Marker != e.Version {
		m.t.Errorf("%q: %v, not deleted by %q", e.Key, err, e.Version)
	}
}

// empty deletes all versions and checks that nothing is left of them.
func (m *versionMix) empty() {
	for _, e := range m.pages(objstore.ListVersionsRequest{Bucket: m.name, MaxKeys: 7}) {
		if _, err := m.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: m.name, Key: e.Key, Version: e.Version, Bypass: true}); err != nil {
			m.t.Errorf("delete %q version %q: %v", e.Key, e.Version, err)
		}
	}
	if left := m.listAll(100); len(left) != 0 {
		m.t.Errorf("left: %v", left)
	}
	m.must(m.s.view(bg, "count", "", func(r reader) error {
		for p, err := range r.Scan(meta.Prefix([]byte{'v'})) {
			m.t.Errorf("a record is left: %q %v", p.Key, err)
		}
		return nil
	}))
	if err := checkStore(m.s); err != nil {
		m.t.Error(err)
	}
}
