package engine

import (
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// The reference model of a versioned bucket with both doors: the tree of
// treemodel_test.go says what has which name, the keys of versionmodel_test.go what
// versions there are. Each operation is done to the tree first, which says whether it
// fails; what it does to versions is said of the keys as they were before it; sync then
// takes over what has become current.

type treeVersions struct {
	versionModel
	root *mdir
	lock bool                     // the bucket has Object Lock
	of   map[*mfile]*modelVersion // what files are, under all of their names
	home map[*mfile]mname         // the name that is kept with a file
}

// mname is a name in a directory, wherever that is; without a name, any in it.
type mname struct {
	dir  *mdir
	name string
}

// dirAt returns the directory of a path that is empty or ends in a slash, nil when it
// is not there.
func (m *treeVersions) dirAt(path string) *mdir {
	d := m.root
	for path != "" && d != nil {
		comp, rest, _ := strings.Cut(path, "/")
		d, path = d.dirs[comp], rest
	}
	return d
}

// object returns the file that a key names, nil when that is none.
func (m *treeVersions) object(key string) *mfile {
	dirs, name := splitPath(key)
	d := m.dirAt(dirs)
	if d == nil || d.files[name] == nil || d.files[name].typ != objstore.TypeRegular {
		return nil
	}
	return d.files[name]
}

func splitPath(key string) (dirs, name string) {
	i := strings.LastIndexByte(key, '/') + 1
	return key[:i], key[i:]
}

// sync takes over what is current after a change of the tree.
func (m *treeVersions) sync() {
	for _, k := range m.keys {
		k.live = nil
	}
	links := map[*mfile]int{}
	m.root.count(links)
	m.root.objects("", func(key string, f *mfile) {
		v := &modelVersion{null: true, dir: true}
		if f != nil {
			v = m.of[f]
			v.names = links[f]
		}
		m.key(key).live = v
	})
}

// objects visits all objects with their keys; f is nil of a directory's own.
func (d *mdir) objects(path string, visit func(key string, f *mfile)) {
	for name, f := range d.files {
		if f.typ == objstore.TypeRegular {
			visit(path+name, f)
		}
	}
	if d.explicit && d.up != nil && d.files[""] == nil {
		visit(path, nil)
	}
	for name, sub := range d.dirs {
		sub.objects(path+name+"/", visit)
	}
}

// puts makes a new object of a key, whose version is current in keys already.
func (m *treeVersions) puts(key string) {
	f := &mfile{typ: objstore.TypeRegular}
	m.root.put(key, f)
	m.of[f] = m.key(key).live
	m.housed(f, key)
}

// housed keeps a key with a file as its name.
func (m *treeVersions) housed(f *mfile, key string) {
	dirs, name := splitPath(key)
	if m.state == objstore.VersioningOff {
		name = ""
	}
	m.home[f] = mname{m.dirAt(dirs), name}
}

func (m *treeVersions) put(key, body string) {
	m.versionModel.put(key, body)
	m.puts(key)
	m.sync()
}

func (m *treeVersions) delete(key string) (existed bool) {
	m.versionModel.delete(key)
	existed = m.root.del(key)
	m.sync()
	return existed
}

// version returns one of a key by its place in the listing.
func (m *treeVersions) version(key string, at int) *modelVersion {
	k := m.key(key)
	switch {
	case k.live == nil:
		return &k.old[at]
	case at == 0:
		return k.live
	}
	return &k.old[at-1]
}

func (m *treeVersions) remove(key string, at int, bypass bool) objstore.Kind {
	if m.version(key, at).lock.holds(bypass) {
		return objstore.KindLocked
	}
	was := m.key(key).live
	m.versionModel.remove(key, at)
	if was != nil && at == 0 {
		m.root.del(key)
	}
	if v := m.key(key).live; v != nil && v != was {
		m.puts(key)
	}
	m.sync()
	return ok
}

// create adds what the mount makes in the directory of a path.
func (m *treeVersions) create(dirs, name string, f *mfile, body string) objstore.Kind {
	kind := m.dirAt(dirs).add(name, f)
	if kind == ok && f.typ == objstore.TypeRegular {
		m.versionModel.put(dirs+name, body)
		m.of[f] = m.key(dirs + name).live
		m.housed(f, dirs+name)
	}
	m.sync()
	return kind
}

// write is a session of the mount: it leaves the version at the name that is kept with
// the file. known is false where that is none, and which other one is taken is open.
func (m *treeVersions) write(f *mfile, body string) (known bool) {
	v := m.of[f]
	if m.state == objstore.VersioningOff || m.state == objstore.VersioningSuspended && v.null {
		v.body = body
		return true
	}
	key, known := m.nameOf(f)
	if !known {
		return false
	}
	k := m.key(key)
	k.apart(v)
	if m.state == objstore.VersioningSuspended {
		k.dropNull()
	}
	k.keep(*v)
	m.number(v)
	v.body, v.lock = body, modelLock{}
	m.housed(f, key)
	m.sync()
	return true
}

// nameOf is the name that is kept with a file, or else the first in that directory, or
// else the only other one.
func (m *treeVersions) nameOf(f *mfile) (key string, known bool) {
	home := m.home[f]
	var here, all []string
	m.root.objects("", func(k string, g *mfile) {
		if g != f {
			return
		}
		all = append(all, k)
		if dirs, name := splitPath(k); m.dirAt(dirs) == home.dir {
			if here = append(here, k); name == home.name {
				key = k
			}
		}
	})
	slices.Sort(here)
	switch {
	case key != "":
		return key, true
	case len(here) > 0:
		return here[0], true
	}
	return all[0], len(all) == 1
}

func (m *treeVersions) unlink(dirs, name string) objstore.Kind {
	f := m.object(dirs + name)
	kind := m.dirAt(dirs).unlink(name)
	if kind == ok && f != nil {
		m.versionModel.delete(dirs + name)
	}
	m.sync()
	return kind
}

func (m *treeVersions) rmdir(dirs, name string) objstore.Kind {
	kind := m.dirAt(dirs).rmdir(name)
	if kind == ok {
		m.directoryGoes(dirs + name + "/")
	}
	m.sync()
	return kind
}

// directoryGoes says what a directory that is removed leaves: a marker, if somebody had
// put its object.
func (m *treeVersions) directoryGoes(path string) {
	k := m.key(path)
	if k.live != nil && !k.live.dir {
		m.versionModel.delete(path)
	}
	k.live = nil
}

func (m *treeVersions) link(f *mfile, dirs, name string) objstore.Kind {
	regular := f.typ == objstore.TypeRegular
	if g, sub := m.dirAt(dirs).see(name); regular && m.lock && g == nil && sub == nil {
		return objstore.KindNotPermitted
	}
	kind := m.dirAt(dirs).add(name, f)
	if kind == ok && regular && m.state != objstore.VersioningOff {
		m.key(dirs + name).apart(m.of[f])
		m.housed(f, dirs+name)
	}
	m.sync()
	return kind
}

// mount is rename(2) of a name, or renameat2(2) of two.
func (m *treeVersions) mount(dirs, name, newDirs, newName string, flags objstore.RenameFlags) objstore.Kind {
	from, to := m.dirAt(dirs), m.dirAt(newDirs)
	f, sub := from.see(name)
	g, target := to.see(newName)
	exchange := flags == objstore.RenameExchange
	switch {
	case f == nil && sub == nil:
		return objstore.KindNotFound
	case m.lock && (sub != nil || exchange && target != nil):
		return objstore.KindCrossBucket
	case exchange && g == nil && target == nil:
		return objstore.KindNotFound
	case f != nil && f == g || sub != nil && sub == target:
		return ok
	case m.locked(f), exchange && m.locked(g):
		return objstore.KindCrossBucket
	}
	kind := rename(from, name, to, newName, flags)
	if kind != ok {
		return kind
	}
	a, b := m.key(dirs+name), m.key(newDirs+newName)
	va, vb := m.of[f], m.of[g]
	switch {
	case exchange:
		if sub != nil {
			m.move(dirs+name+"/", swapped)
		}
		if target != nil {
			m.move(newDirs+newName+"/", dirs+name+"/")
		}
		m.move(swapped, newDirs+newName+"/")
		m.departs(a, va, vb)
		m.departs(b, vb, va)
		m.arrives(b, f, mname{to, newName})
		m.arrives(a, g, mname{from, name})
	case sub != nil:
		if target != nil {
			m.directoryGoes(newDirs + newName + "/")
		}
		m.move(dirs+name+"/", newDirs+newName+"/")
	default:
		if vb != nil {
			if m.retire(b); va == nil {
				m.mark(b)
			}
		}
		m.departs(a, va, nil)
		m.arrives(b, f, mname{to, newName})
	}
	m.sync()
	return ok
}

func (m *treeVersions) locked(f *mfile) bool {
	return f != nil && f.typ == objstore.TypeRegular && m.of[f].lock.holds(false)
}

// departs takes a key's current version v, if it is one; other is what comes instead.
func (m *treeVersions) departs(k *modelKey, v, other *modelVersion) {
	switch {
	case v == nil || m.state == objstore.VersioningOff:
	case other == nil:
		m.leave(k)
	default:
		k.apart(v)
	}
}

// arrives makes a file, if it is one, a key's current version.
func (m *treeVersions) arrives(k *modelKey, f *mfile, at mname) {
	if f == nil || f.typ != objstore.TypeRegular {
		return
	}
	if m.state == objstore.VersioningOff {
		at.name = ""
	}
	m.home[f] = at
	m.settle(k, m.of[f])
}

// move gives all versions of a directory another path.
func (m *treeVersions) move(from, to string) {
	if from == to {
		return
	}
	for key, k := range m.keys {
		if rest, below := strings.CutPrefix(key, from); below {
			delete(m.keys, key)
			at := m.key(to + rest)
			for _, v := range k.old {
				at.keep(v)
			}
		}
	}
}

// swapped is where versions are while two directories change places.
const swapped = "\x00/"

// renameObject is RenameObject of one key.
func (m *treeVersions) renameObject(from, to string) objstore.Kind {
	f, g := m.object(from), m.object(to)
	switch {
	case f == nil:
		return objstore.KindNotFound
	case from == to:
		return ok
	case m.locked(f):
		return objstore.KindCrossBucket
	}
	if g != nil && g != f {
		m.retire(m.key(to))
	}
	m.root.put(to, f)
	m.root.del(from)
	m.departs(m.key(from), m.of[f], nil)
	dirs, name := splitPath(to)
	m.arrives(m.key(to), f, mname{m.dirAt(dirs), name})
	m.sync()
	return ok
}

// renamePrefix is RenameObject of two keys that end in a slash.
func (m *treeVersions) renamePrefix(from, to string) objstore.Kind {
	d, target := m.dirAt(from), m.dirAt(to)
	switch {
	case d == nil:
		return objstore.KindNotFound
	case from == to:
		return ok
	case m.lock, strings.HasPrefix(to, from):
		return objstore.KindInvalidRequest
	case target != nil && !target.bare():
		return objstore.KindNotEmpty
	}
	if target != nil {
		m.directoryGoes(to)
	}
	m.root.put(to, &mfile{}) // makes the directories
	at := m.dirAt(to)
	above := at.up
	_, name := splitPath(strings.TrimSuffix(to, "/"))
	was := d.up
	for sub, e := range was.dirs {
		if e == d {
			delete(was.dirs, sub)
		}
	}
	above.dirs[name], d.up = d, above
	for ; was.up != nil && !was.explicit && len(was.files)+len(was.dirs) == 0; was = was.up {
		for sub, e := range was.up.dirs {
			if e == was {
				delete(was.up.dirs, sub)
			}
		}
	}
	m.move(from, to)
	m.sync()
	return ok
}

// adopt takes over in what order versions are listed that were made without versioning:
// they come from several directories, and have no time.
func (m *treeVersions) adopt(listed []string) {
	at := func(v modelVersion) int {
		return slices.IndexFunc(listed, func(line string) bool { return strings.Contains(line, " "+v.body) })
	}
	for _, k := range m.keys {
		slices.SortStableFunc(k.old, func(a, b modelVersion) int {
			if a.seq != 0 || b.seq != 0 {
				return b.seq - a.seq
			}
			return at(a) - at(b)
		})
	}
}
