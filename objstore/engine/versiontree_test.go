package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

// versionTree is a bucket that one client changes through both doors, and its model.
type versionTree struct {
	*versionedBucket
	rnd    *rand.Rand // of the step
	tree   *treeRun
	model  *treeVersions
	bodies int
	listed []objstore.VersionEntry
}

// TestVersionsInATreeAgreeWithModel: what S3 and the mount do to objects, files,
// directories and what is no object, one after the other, leaves the names and the
// versions that the model says, in listings of both kinds, in answers to GET and in
// directories.
func TestVersionsInATreeAgreeWithModel(t *testing.T) {
	checks(t, 150)
	s, _ := treeStore(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprintf("tree-%d", n)
		root := makeBucket(rt, s, name)
		m := newMdir(nil, 0, true)
		v := &versionTree{
			versionedBucket: &versionedBucket{t: rt, s: s, name: name, root: root},
			tree:            &treeRun{s: s, root: root, name: name, m: m},
			model: &treeVersions{versionModel: versionModel{keys: map[string]*modelKey{}}, root: m,
				of: map[*mfile]*modelVersion{}, home: map[*mfile]mname{}},
		}
		// Each step has a seed of its own, so that a history that fails is shortened by
		// leaving steps out: those of 0.
		kind := treeKinds[rapid.IntRange(0, len(treeKinds)-1).Draw(rt, "kind")]
		enable := rapid.IntRange(0, 10).Draw(rt, "enable")
		for i, seed := range rapid.SliceOfN(rapid.Uint64(), 40, 40).Draw(rt, "steps") {
			if v.rnd = rand.New(rand.NewPCG(seed, uint64(i))); i == enable {
				v.stepState("state")
			}
			if kind == "lock" && i == enable+5 {
				v.stepState(kind)
			}
			if seed != 0 {
				v.step(kind)
				v.compare()
			}
		}
		v.clear()
	})
}

// treeKinds are what a history has more of.
var treeKinds = []string{"link", "suspend", "lock", "special", "directories"}

func (v *versionTree) pick(list []string) string { return list[v.rnd.IntN(len(list))] }

func (v *versionTree) chance(n int) bool { return v.rnd.IntN(n) == 0 }

// key is one that an object can have, or has versions.
func (v *versionTree) key() string {
	if e := v.entry(); e != nil && v.chance(2) {
		return e.Key
	}
	if v.chance(8) {
		return v.pick(mixDirs[1:])
	}
	return v.pick(mixDirs) + v.pick(mixNames)
}

// place is a name in a directory that the mount shows.
func (v *versionTree) place() (dirs, name string, in objstore.InodeID) {
	if dirs = v.pick(mixDirs); v.chance(2) {
		dirs, name = splitPath(v.key())
	}
	if v.model.dirAt(dirs) == nil {
		dirs = ""
	}
	in, err := v.tree.resolve(strings.TrimSuffix("/"+dirs, "/"))
	v.must(err)
	if name != "" {
		return dirs, name, in
	}
	if dirs == "" && v.chance(2) {
		return dirs, v.pick([]string{"p", "q"}), in
	}
	return dirs, v.pick(mixNames), in
}

func (v *versionTree) body() string {
	v.bodies++
	return fmt.Sprintf("b%04d.....", v.bodies)
}

// agree checks that an operation fails as the model does.
func (v *versionTree) agree(what string, err error, want objstore.Kind) {
	v.t.Helper()
	if v.tree.log = append(v.tree.log, fmt.Sprint(what, " ", want)); kindOf(err) != want {
		v.fail("%s: %v, want %v", what, err, want)
	}
}

func (v *versionTree) fail(format string, args ...any) {
	v.t.Helper()
	v.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(v.tree.log, "\n"))
}

// came tells the model which inode a key has.
func (v *versionTree) came(key string) {
	if f := v.model.object(key); f != nil {
		info, err := v.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: v.name, Key: key})
		if err != nil {
			v.fail("head %q: %v", key, err)
		}
		f.ino = info.Inode
	}
}

// step does one operation to both.
func (v *versionTree) step(kind string) {
	ops := []string{"put", "put", "copy", "upload", "append", "delete", "delete", "remove", "remove", "remove", "rename key", "rename prefix",
		"write", "write", "truncate", "unlink", "mv", "mv", "exchange", "mkdir", "rmdir", "symlink", "fifo", "link"}
	switch kind {
	case "link":
		ops = append(ops, "link", "link", "link", "suspend", "state")
	case "suspend":
		ops = append(ops, "suspend", "state")
	case "lock":
		ops = append(ops, "hold", "hold", "hold", "retain", "retain", "retain", "suspend")
	case "special":
		ops = append(ops, "symlink", "symlink", "fifo", "mv", "exchange", "remove")
	case "directories":
		ops = append(ops, "mkdir", "rmdir", "rmdir", "rename prefix", "rename prefix", "mv", "exchange", "remove")
	}
	switch op := v.pick(ops); op {
	case "put", "copy", "upload", "append", "delete", "remove", "rename key", "rename prefix":
		v.stepS3(op)
	case "state", "suspend", "hold", "retain":
		v.stepState(op)
	default:
		v.stepMount(op)
	}
}

func (v *versionTree) stepS3(op string) {
	key := v.key()
	switch op {
	case "put":
		body := v.body()
		v.put(key, body)
		v.model.put(key, body)
		v.agree(fmt.Sprintf("put %q %s", key, body), nil, ok)
		v.came(key)
	case "copy":
		e := v.entry()
		if e == nil || e.DeleteMarker || e.Key == key || v.model.state == objstore.VersioningOff {
			return
		}
		body := v.model.version(e.Key, v.at(e)).body
		_, err := v.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: v.name, SrcKey: e.Key, SrcVersion: e.Version, DstBucket: v.name, DstKey: key})
		v.model.put(key, body)
		v.agree(fmt.Sprintf("copy %q %s to %q", e.Key, body, key), err, ok)
		v.came(key)
	case "upload":
		body := v.body()
		up, err := v.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: v.name, Key: key})
		v.must(err)
		part, _, err := v.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: v.name, Key: key, Upload: up.ID, Number: 1, Body: strings.NewReader(body), Size: int64(len(body))})
		v.must(err)
		_, err = v.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: v.name, Key: key, Upload: up.ID, Size: -1, Parts: []objstore.CompletePart{{Number: 1, ETag: part.ETag}}})
		v.model.put(key, body)
		v.agree(fmt.Sprintf("upload %q %s", key, body), err, ok)
		v.came(key)
	case "append":
		f := v.model.object(key)
		if f == nil {
			return
		}
		was := v.model.of[f].body
		_, err := v.s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: v.name, Key: key, Body: strings.NewReader("+"), Size: 1, Offset: int64(len(was))})
		v.model.put(key, was+"+")
		v.agree(fmt.Sprintf("append to %q %s", key, was), err, ok)
		v.came(key)
	case "delete":
		if res := v.del(key, ""); res.Existed != v.model.delete(key) {
			v.fail("delete %q: %+v", key, res)
		}
		v.agree(fmt.Sprintf("delete %q", key), nil, ok)
	case "remove":
		e, bypass := v.entry(), v.chance(2)
		if e == nil {
			return
		}
		res, err := v.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: v.name, Key: e.Key, Version: e.Version, Bypass: bypass})
		v.agree(fmt.Sprintf("delete %q version %d, bypass %v", e.Key, v.at(e), bypass), err, v.model.remove(e.Key, v.at(e), bypass))
		if err == nil && (!res.Existed || res.Marker != e.DeleteMarker) {
			v.fail("delete %+v: %+v", *e, res)
		}
		v.came(e.Key)
	case "rename key":
		from, to := v.pick(mixDirs)+v.pick(mixNames), v.pick(mixDirs)+v.pick(mixNames)
		err := v.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: v.name, SrcKey: from, DstKey: to})
		v.agree(fmt.Sprintf("rename key %q to %q", from, to), err, v.model.renameObject(from, to))
	case "rename prefix":
		from, to := v.pick(mixDirs[1:]), v.pick(mixDirs[1:])
		err := v.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: v.name, SrcKey: from, DstKey: to})
		v.agree(fmt.Sprintf("rename prefix %q to %q", from, to), err, v.model.renamePrefix(from, to))
	}
}

// entry is one of the versions, nil when there is none.
func (v *versionTree) entry() *objstore.VersionEntry {
	if len(v.listed) == 0 {
		return nil
	}
	return &v.listed[v.rnd.IntN(len(v.listed))]
}

// at is the place of an entry among those of its key.
func (v *versionTree) at(e *objstore.VersionEntry) int {
	of := slices.IndexFunc(v.listed, func(o objstore.VersionEntry) bool { return o.Key == e.Key })
	return slices.IndexFunc(v.listed[of:], func(o objstore.VersionEntry) bool { return o.Version == e.Version })
}

func (v *versionTree) stepState(op string) {
	m := v.model
	want := ok
	switch op {
	case "state", "suspend":
		state := objstore.VersioningEnabled
		if op == "suspend" {
			state = objstore.VersioningSuspended
		}
		if m.lock && op == "suspend" {
			want = objstore.KindBucketState
		} else {
			m.state = state
		}
		v.agree(fmt.Sprint(state), v.s.SetBucketVersioning(bg, s3C, v.name, state), want)
	case "lock":
		if m.state != objstore.VersioningEnabled {
			want = objstore.KindBucketState
		} else {
			m.lock = true
		}
		v.agree("lock", v.s.SetLockDefault(bg, s3C, v.name, objstore.DefaultRetention{}), want)
	case "hold", "retain":
		e := v.entry()
		if e == nil || e.DeleteMarker {
			return
		}
		is := m.version(e.Key, v.at(e))
		if is.dir {
			return // it would become another one
		}
		if !m.lock {
			want = objstore.KindNoObjectLock
		}
		if e.Latest {
			if f := m.object(e.Key); want == ok && m.home[f].name == "" {
				m.housed(f, e.Key)
			}
		} else if want == ok {
			m.key(e.Key).apart(m.key(e.Key).live)
		}
		if op == "hold" {
			on := objstore.HoldOff
			if !is.lock.hold {
				on = objstore.HoldOn
			}
			_, err := v.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: v.name, Key: e.Key, Version: e.Version}, on)
			v.agree(fmt.Sprintf("hold %q version %d: %v", e.Key, v.at(e), on), err, want)
			is.lock.hold = is.lock.hold != (want == ok)
			return
		}
		bypass := v.chance(2)
		to := objstore.Retention{Mode: objstore.LockGovernance, Until: v.s.now() + objstore.Time(time.Hour)}
		if is.lock.governance {
			if to = (objstore.Retention{}); !bypass {
				want = objstore.KindLocked
			}
		}
		_, err := v.s.SetRetention(bg, s3C, objstore.LockRequest{Bucket: v.name, Key: e.Key, Version: e.Version}, to, bypass)
		v.agree(fmt.Sprintf("retain %q version %d: %+v", e.Key, v.at(e), to.Mode), err, want)
		is.lock.governance = is.lock.governance != (want == ok)
	}
}

func (v *versionTree) stepMount(op string) {
	m := v.model
	dirs, name, in := v.place()
	f, sub := m.dirAt(dirs).see(name)
	what := fmt.Sprintf("%s %q", op, dirs+name)
	switch op {
	case "write", "truncate":
		v.stepWrite(op, dirs, name, in, f, sub)
	case "unlink":
		v.agree(what, v.s.Unlink(bg, mountC, in, name), m.unlink(dirs, name))
	case "mkdir":
		a, err := v.s.Mkdir(bg, mountC, in, name, 0755)
		kind := m.dirAt(dirs).mkdir(name, a.Inode)
		m.sync()
		v.agree(what, err, kind)
	case "rmdir":
		v.agree(what, v.s.Rmdir(bg, mountC, in, name), m.rmdir(dirs, name))
	case "symlink":
		a, err := v.s.Symlink(bg, mountC, in, name, "x/y")
		v.agree(what, err, m.create(dirs, name, &mfile{ino: a.Inode, typ: objstore.TypeSymlink, target: "x/y"}, ""))
	case "fifo":
		a, err := v.s.Mknod(bg, mountC, in, name, objstore.TypeFIFO, 0644, 0)
		v.agree(what, err, m.create(dirs, name, &mfile{ino: a.Inode, typ: objstore.TypeFIFO}, ""))
	case "link", "mv", "exchange":
		newDirs, newName, to := v.place()
		what += fmt.Sprintf(" %q", newDirs+newName)
		if op == "link" {
			if f == nil {
				return
			}
			_, err := v.s.Link(bg, mountC, f.ino, to, newName)
			v.agree(what, err, m.link(f, newDirs, newName))
			return
		}
		flags := objstore.RenameFlags(0)
		if op == "exchange" {
			flags = objstore.RenameExchange
		}
		v.agree(what, v.s.Rename(bg, mountC, in, name, to, newName, flags), m.mount(dirs, name, newDirs, newName, flags))
	}
}

// stepWrite makes a file, writes it anew or cuts it.
func (v *versionTree) stepWrite(op, dirs, name string, in objstore.InodeID, f *mfile, sub *mdir) {
	m := v.model
	if sub != nil || f != nil && f.typ != objstore.TypeRegular || f == nil && op == "truncate" {
		return
	}
	what := fmt.Sprintf("%s %q", op, dirs+name)
	body := v.body()
	if op == "truncate" {
		was := m.of[f].body
		if len(was) <= 5 {
			return
		}
		body = was[:len(was)-1]
	}
	if f != nil && !m.write(f, body) {
		return
	}
	if f == nil {
		m.create(dirs, name, &mfile{typ: objstore.TypeRegular}, body)
	}
	if op == "write" {
		v.file(in, name, body)
	} else {
		size := int64(len(body))
		_, err := v.s.SetAttr(bg, mountC, f.ino, objstore.SetAttr{Size: &size})
		v.must(err)
	}
	v.agree(what+" "+body, nil, ok)
	v.came(dirs + name)
}

// compare compares all that both doors show.
func (v *versionTree) compare() {
	v.tree.compare(v.t)
	v.listed = v.pages(objstore.ListVersionsRequest{Bucket: v.name, MaxKeys: 1000})
	got := v.versions(1000)
	v.model.adopt(got)
	want := v.model.list()
	if !slices.Equal(got, want) {
		v.fail("versions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	page := 1 + v.rnd.IntN(5)
	if small := v.pages(objstore.ListVersionsRequest{Bucket: v.name, MaxKeys: page}); !slices.Equal(small, v.listed) {
		v.fail("versions in pages of %d\n%+v\nwant\n%+v", page, small, v.listed)
	}
	if v.model.state != objstore.VersioningOff {
		v.headed()
	}
	for key, k := range v.model.keys {
		got, err := v.get(key, "")
		if k.live == nil && kindOf(err) != objstore.KindNotFound || k.live != nil && (err != nil || got != k.live.body) {
			v.fail("%q holds %q: %v", key, got, err)
		}
	}
	for i, e := range v.listed {
		is := v.model.version(e.Key, v.at(&v.listed[i]))
		if lock := (modelLock{e.Lock.Hold == objstore.HoldOn, e.Lock.Mode == objstore.LockGovernance}); lock != is.lock {
			v.fail("%+v has the lock %+v, want %+v", e, lock, is.lock)
		}
	}
}

// clear deletes all versions and checks that nothing but files of the mount is left.
func (v *versionTree) clear() {
	for _, e := range v.pages(objstore.ListVersionsRequest{Bucket: v.name, MaxKeys: 7}) {
		if e.Lock.Hold == objstore.HoldOn {
			_, err := v.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: v.name, Key: e.Key, Version: e.Version}, objstore.HoldOff)
			v.must(err)
		}
		if _, err := v.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: v.name, Key: e.Key, Version: e.Version, Bypass: true}); err != nil {
			v.fail("delete %+v: %v", e, err)
		}
	}
	if left := v.versions(100); len(left) != 0 {
		v.fail("left: %v", left)
	}
	v.must(removeAll(v.s, v.root))
	for _, e := range v.pages(objstore.ListVersionsRequest{Bucket: v.name, MaxKeys: 100}) {
		v.del(e.Key, e.Version)
	}
	if err := v.s.DeleteBucket(bg, s3C, v.name); err != nil {
		v.fail("delete the bucket: %v", err)
	}
	if err := checkStore(v.s); err != nil {
		v.fail("%v", err)
	}
}
