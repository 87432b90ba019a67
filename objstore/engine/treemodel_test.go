package engine

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
)

// The reference model of the tree: plain maps, no stored names, no shadowed
// bits, no link counts. An error is a Kind; ok is no error.

const ok = objstore.Kind(255)

type mfile struct {
	ino    objstore.InodeID
	typ    objstore.FileType
	target string
}

type mdir struct {
	ino      objstore.InodeID
	up       *mdir
	files    map[string]*mfile // "" is the marker
	dirs     map[string]*mdir
	explicit bool
}

func newMdir(up *mdir, ino objstore.InodeID, explicit bool) *mdir {
	return &mdir{ino: ino, up: up, files: make(map[string]*mfile), dirs: make(map[string]*mdir), explicit: explicit}
}

func mountable(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255
}

// see returns what the mount shows under a name.
func (d *mdir) see(name string) (f *mfile, sub *mdir) {
	if sub = d.dirs[name]; sub != nil {
		return nil, sub
	}
	return d.files[name], nil
}

// bare reports whether there is nothing but, perhaps, a marker.
func (d *mdir) bare() bool {
	n := len(d.files)
	if d.files[""] != nil {
		n--
	}
	return n+len(d.dirs) == 0
}

func (d *mdir) below(other *mdir) bool {
	for ; d != nil; d = d.up {
		if d == other {
			return true
		}
	}
	return false
}

func (d *mdir) add(name string, f *mfile) objstore.Kind {
	if g, sub := d.see(name); g != nil || sub != nil {
		return objstore.KindExists
	}
	d.explicit = true
	d.files[name] = f
	return ok
}

func (d *mdir) mkdir(name string, ino objstore.InodeID) objstore.Kind {
	if g, sub := d.see(name); g != nil || sub != nil {
		return objstore.KindExists
	}
	d.explicit = true
	d.dirs[name] = newMdir(d, ino, true)
	return ok
}

func (d *mdir) unlink(name string) objstore.Kind {
	f, sub := d.see(name)
	switch {
	case sub != nil:
		return objstore.KindIsDirectory
	case f == nil:
		return objstore.KindNotFound
	}
	d.explicit = true
	delete(d.files, name)
	return ok
}

func (d *mdir) rmdir(name string) objstore.Kind {
	f, sub := d.see(name)
	switch {
	case f != nil:
		return objstore.KindNotDirectory
	case sub == nil:
		return objstore.KindNotFound
	case !sub.bare():
		return objstore.KindNotEmpty
	}
	d.explicit = true
	delete(d.dirs, name)
	return ok
}

func rename(from *mdir, name string, to *mdir, newName string, flags objstore.RenameFlags) objstore.Kind {
	f, sub := from.see(name)
	g, target := to.see(newName)
	taken := g != nil || target != nil
	switch {
	case f == nil && sub == nil:
		return objstore.KindNotFound
	case taken && flags == objstore.RenameNoReplace:
		return objstore.KindExists
	case !taken && flags == objstore.RenameExchange:
		return objstore.KindNotFound
	case f != nil && f == g, sub != nil && sub == target:
		return ok
	case sub != nil && to.below(sub):
		return objstore.KindInvalidArgument
	}
	if flags == objstore.RenameExchange {
		if target != nil && from.below(target) {
			return objstore.KindInvalidArgument
		}
		if sub == nil && target != nil && to.files[newName] != nil || sub != nil && target == nil && from.files[name] != nil {
			return objstore.KindExists
		}
		drop(from, name, f, sub)
		drop(to, newName, g, target)
		place(to, newName, f, sub)
		place(from, name, g, target)
	} else {
		switch {
		case target != nil && sub == nil:
			return objstore.KindIsDirectory
		case g != nil && sub != nil:
			return objstore.KindNotDirectory
		case target != nil && !target.bare():
			return objstore.KindNotEmpty
		}
		drop(to, newName, g, target)
		drop(from, name, f, sub)
		place(to, newName, f, sub)
	}
	from.explicit, to.explicit = true, true
	return ok
}

func drop(d *mdir, name string, f *mfile, sub *mdir) {
	if sub != nil {
		delete(d.dirs, name)
	} else if f != nil {
		delete(d.files, name)
	}
}

func place(d *mdir, name string, f *mfile, sub *mdir) {
	if sub != nil {
		d.dirs[name], sub.up, sub.explicit = sub, d, true
		return
	}
	d.files[name] = f
}

func (d *mdir) put(key string, f *mfile) {
	comp, rest, deeper := strings.Cut(key, "/")
	if deeper {
		if d.dirs[comp] == nil {
			d.dirs[comp] = newMdir(d, 0, false)
		}
		d.dirs[comp].put(rest, f)
		return
	}
	d.files[comp] = f
	if comp == "" {
		d.explicit = true
	}
}

func (d *mdir) del(key string) (existed bool) {
	comp, rest, deeper := strings.Cut(key, "/")
	if deeper {
		sub := d.dirs[comp]
		if sub == nil || !sub.del(rest) {
			return false
		}
		if !sub.explicit && len(sub.files)+len(sub.dirs) == 0 {
			delete(d.dirs, comp)
		}
		return true
	}
	if comp == "" {
		if d.up == nil || !d.explicit {
			return false
		}
		delete(d.files, "")
		d.explicit = false
		return true
	}
	if f := d.files[comp]; f == nil || f.typ != objstore.TypeRegular {
		return false
	}
	delete(d.files, comp)
	return true
}

// keys returns what S3 lists: key and inode number, 0 for a directory that is
// explicit without an object of its own.
func (d *mdir) keys(path string, into map[string]objstore.InodeID) {
	for name, f := range d.files {
		if f.typ == objstore.TypeRegular && validKey(path+name) {
			into[path+name] = f.ino
		}
	}
	if d.explicit && path != "" && d.files[""] == nil && validKey(path) {
		into[path] = 0
	}
	for name, sub := range d.dirs {
		sub.keys(path+name+"/", into)
	}
}

func validKey(k string) bool { return k != "" && len(k) <= 1024 && utf8.ValidString(k) }

// tree renders what the mount shows, one line for each entry. links counts the
// names of each file over the whole bucket.
func (d *mdir) tree(path string, links map[*mfile]int, out *[]string) {
	names := make(map[string]bool)
	for name := range d.files {
		names[name] = true
	}
	subdirs := 0
	for name := range d.dirs {
		names[name] = true
		if mountable(name) {
			subdirs++
		}
	}
	*out = append(*out, fmt.Sprintf("%s/ nlink %d", path, 2+subdirs))
	for name := range names {
		if !mountable(name) {
			continue
		}
		if f, sub := d.see(name); sub != nil {
			sub.tree(path+"/"+name, links, out)
		} else {
			*out = append(*out, fmt.Sprintf("%s/%s type %d ino %d nlink %d %s", path, name, f.typ, f.ino, links[f], f.target))
		}
	}
}

func (d *mdir) count(links map[*mfile]int) {
	for _, f := range d.files {
		links[f]++
	}
	for _, sub := range d.dirs {
		sub.count(links)
	}
}

func (d *mdir) render() []string {
	links := make(map[*mfile]int)
	d.count(links)
	var out []string
	d.tree("", links, &out)
	sort.Strings(out)
	return out
}

// all returns every directory below that the mount can reach, by path.
func (d *mdir) all(path string, into map[string]*mdir) {
	into[path] = d
	for name, sub := range d.dirs {
		if mountable(name) {
			sub.all(path+"/"+name, into)
		}
	}
}
