package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
	"pgregory.net/rapid"
)

var (
	bg      = context.Background()
	mountC  = objstore.Caller{Origin: 1, UID: 1000, GID: 1000}
	s3C     = objstore.S3Caller("AKIATEST")
	longest = strings.Repeat("l", 256) // too long for the mount
)

// kindOf is the model's view of an error.
func kindOf(err error) objstore.Kind {
	if err == nil {
		return ok
	}
	return objstore.KindOf(err)
}

// makeBucket makes a bucket and returns its root.
func makeBucket(t interface {
	Helper()
	Fatalf(string, ...any)
}, s *Store, name string) objstore.InodeID {
	t.Helper()
	info, err := s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: name})
	if err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	return info.Root
}

// putKey puts an empty object as S3 would.
func putKey(s *Store, root objstore.InodeID, key string) (objstore.InodeID, error) {
	ino, err := s.newInode(bg)
	if err != nil {
		return 0, err
	}
	err = s.update(bg, s3C, "put", key, func(x *tx) error {
		n := &record.Inode{Type: objstore.TypeRegular, Mtime: x.now, Ctime: x.now, Btime: x.now}
		n.Content.ID = newContentID()
		n.Content.ETag = record.ETagRandom
		n.Content.ETagSum = [16]byte{byte(ino >> 8), byte(ino)}
		return x.putKey(root, key, ino, n)
	})
	return ino, err
}

func deleteKey(s *Store, root objstore.InodeID, key string) (existed bool, err error) {
	err = s.update(bg, s3C, "delete", key, func(x *tx) (err error) {
		res, err := x.deleteKey(root, key)
		existed = res.Existed
		return err
	})
	return existed, err
}

// mountTree renders what the mount shows, as mdir.render does.
func mountTree(s *Store, dir objstore.InodeID, path string, out *[]string) error {
	a, err := s.GetAttr(bg, dir)
	if err != nil {
		return err
	}
	*out = append(*out, fmt.Sprintf("%s/ nlink %d", path, a.Nlink))
	var pos objstore.DirPos
	for {
		ents, attrs, end, err := s.ReadDir(bg, dir, pos, 3, true)
		if err != nil {
			return err
		}
		for i, e := range ents {
			if found, err := s.Lookup(bg, dir, e.Name); err != nil || found != attrs[i] || e.Inode != found.Inode || e.Type != found.Type {
				return fmt.Errorf("%q: entry %+v, lookup %+v, %v", path+"/"+e.Name, e, found, err)
			}
			pos = e.Pos
			if e.Type == objstore.TypeDirectory {
				if up, err := s.Parent(bg, e.Inode); err != nil || up != dir {
					return fmt.Errorf("%q: parent is %d, %v", path+"/"+e.Name, up, err)
				}
				if err := mountTree(s, e.Inode, path+"/"+e.Name, out); err != nil {
					return err
				}
				continue
			}
			target := ""
			if e.Type == objstore.TypeSymlink {
				if target, err = s.Readlink(bg, e.Inode); err != nil {
					return err
				}
			}
			*out = append(*out, fmt.Sprintf("%s/%s type %d ino %d nlink %d %s", path, e.Name, e.Type, e.Inode, attrs[i].Nlink, target))
		}
		if end {
			return nil
		}
	}
}

// treeRun is one bucket and its model.
type treeRun struct {
	s    *Store
	root objstore.InodeID
	name string
	m    *mdir
	log  []string
	open []*File
}

// resolve returns the inode of a directory of the model.
func (r *treeRun) resolve(path string) (objstore.InodeID, error) {
	at := r.root
	for _, name := range strings.Split(path, "/")[1:] {
		a, err := r.s.Lookup(bg, at, name)
		if err != nil {
			return 0, err
		}
		at = a.Inode
	}
	return at, nil
}

var (
	mountNames = rapid.SampledFrom([]string{"a", "b", "a-b", "a0", "\xff"})
	components = rapid.SampledFrom([]string{"a", "b", "a-b", "a0", "", ".", longest})
)

func drawKey(t *rapid.T) string {
	for {
		key := strings.Join(rapid.SliceOfN(components, 1, 4).Draw(t, "key"), "/")
		if objstore.CheckKey("draw", key) == nil {
			return key
		}
	}
}

func (r *treeRun) dir(t *rapid.T, label string) (*mdir, objstore.InodeID) {
	dirs := make(map[string]*mdir)
	r.m.all("", dirs)
	paths := make([]string, 0, len(dirs))
	for p := range dirs {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	path := rapid.SampledFrom(paths).Draw(t, label)
	ino, err := r.resolve(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	r.log = append(r.log, fmt.Sprintf("  %s %q = %d", label, path, ino))
	return dirs[path], ino
}

// step does one operation on both sides and compares what they say.
func (r *treeRun) step(t *rapid.T) {
	op := rapid.SampledFrom([]string{"mkdir", "mknod", "fifo", "symlink", "link", "unlink", "rmdir", "rename", "rename", "put", "put", "put", "delete", "delete", "setattr", "open", "write", "close"}).Draw(t, "op")
	s := r.s
	var want, got objstore.Kind
	switch op {
	case "put":
		key := drawKey(t)
		r.log = append(r.log, fmt.Sprintf("put %q", key))
		ino, err := putKey(s, r.root, key)
		want, got = ok, kindOf(err)
		r.m.put(key, &mfile{ino: ino, typ: objstore.TypeRegular})
	case "delete":
		key := drawKey(t)
		r.log = append(r.log, fmt.Sprintf("delete %q", key))
		existed, err := deleteKey(s, r.root, key)
		want, got = ok, kindOf(err)
		if gone := r.m.del(key); gone != existed {
			t.Fatalf("delete %q: existed %v, want %v\n%s", key, existed, gone, strings.Join(r.log, "\n"))
		}
	case "write", "close":
		want, got = ok, ok
		if len(r.open) == 0 {
			break
		}
		i := rapid.IntRange(0, len(r.open)-1).Draw(t, "file")
		f := r.open[i]
		r.log = append(r.log, fmt.Sprintf("%s %d", op, f.Inode()))
		if op == "write" {
			_, err := f.WriteAt(bg, []byte("content"), 0)
			got = kindOf(err)
			break
		}
		r.open = slices.Delete(r.open, i, i+1)
		got = kindOf(f.Close(bg))
	default:
		want, got = r.mountStep(t, op)
	}
	if want != got {
		t.Fatalf("%s: got %v, want %v\n%s", op, got, want, strings.Join(r.log, "\n"))
	}
}

func (r *treeRun) mountStep(t *rapid.T, op string) (want, got objstore.Kind) {
	s := r.s
	d, ino := r.dir(t, "in")
	name := mountNames.Draw(t, "name")
	r.log = append(r.log, fmt.Sprintf("%s %q", op, name))
	switch op {
	case "mkdir":
		a, err := s.Mkdir(bg, mountC, ino, name, 0750)
		return d.mkdir(name, a.Inode), kindOf(err)
	case "mknod", "fifo":
		typ := objstore.TypeRegular
		if op == "fifo" {
			typ = objstore.TypeFIFO
		}
		a, err := s.Mknod(bg, mountC, ino, name, typ, 0640, 0)
		return d.add(name, &mfile{ino: a.Inode, typ: typ}), kindOf(err)
	case "symlink":
		a, err := s.Symlink(bg, mountC, ino, name, "x/y")
		return d.add(name, &mfile{ino: a.Inode, typ: objstore.TypeSymlink, target: "x/y"}), kindOf(err)
	case "unlink":
		err := s.Unlink(bg, mountC, ino, name)
		return d.unlink(name), kindOf(err)
	case "rmdir":
		err := s.Rmdir(bg, mountC, ino, name)
		return d.rmdir(name), kindOf(err)
	case "open":
		f, _ := d.see(name)
		if f == nil || f.typ != objstore.TypeRegular {
			return ok, ok
		}
		h, err := s.Open(bg, mountC, f.ino, objstore.OpenFlags{Read: true, Write: true})
		if err == nil {
			r.open = append(r.open, h)
		}
		return ok, kindOf(err)
	case "setattr":
		mode := uint32(0700)
		_, err := s.SetAttr(bg, mountC, ino, objstore.SetAttr{Mode: &mode})
		d.explicit = true
		return ok, kindOf(err)
	}
	to, toIno := r.dir(t, "to")
	newName := mountNames.Draw(t, "new name")
	if op == "link" {
		f, _ := d.see(name)
		if f == nil {
			return ok, ok
		}
		r.log = append(r.log, fmt.Sprintf("link %q", newName))
		_, err := s.Link(bg, mountC, f.ino, toIno, newName)
		return to.add(newName, f), kindOf(err)
	}
	flags := objstore.RenameFlags(rapid.IntRange(0, 2).Draw(t, "flags"))
	r.log = append(r.log, fmt.Sprintf("rename to %q flags %d", newName, flags))
	err := s.Rename(bg, mountC, ino, name, toIno, newName, flags)
	return rename(d, name, to, newName, flags), kindOf(err)
}

// compare compares everything that both doors show, and checks the records.
func (r *treeRun) compare(t rapid.TB) {
	fail := func(format string, args ...any) {
		t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(r.log, "\n"))
	}
	if err := checkTree(bg, r.s); err != nil {
		fail("%v", err)
	}
	var got []string
	if err := mountTree(r.s, r.root, "", &got); err != nil {
		fail("%v", err)
	}
	sort.Strings(got)
	if want := r.m.render(); !slices.Equal(got, want) {
		fail("mount shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	keys := make(map[string]objstore.InodeID)
	r.m.keys("", keys)
	want := make([]string, 0, len(keys))
	for k := range keys {
		want = append(want, k)
	}
	sort.Strings(want)
	res, err := r.s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: r.name, MaxKeys: 1000})
	if err != nil {
		fail("%v", err)
	}
	var list []string
	for _, e := range res.Entries {
		list = append(list, e.Key)
		err := r.s.view(bg, "find", e.Key, func(rd reader) error {
			ino, n, err := rd.findKey(r.root, e.Key)
			if err == nil && (keys[e.Key] != 0 && ino != keys[e.Key] || etagOf(r.s, n) != e.ETag) {
				err = fmt.Errorf("found inode %d with ETag %s, want %d with %s", ino, etagOf(r.s, n), keys[e.Key], e.ETag)
			}
			return err
		})
		if err != nil {
			fail("find %q: %v", e.Key, err)
		}
	}
	if !slices.Equal(list, want) {
		fail("S3 lists\n%q\nwant\n%q", list, want)
	}
}

func TestTreeAgreesWithModelThroughBothDoors(t *testing.T) {
	s, _ := treeStore(t)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		r := &treeRun{s: s, name: fmt.Sprintf("bucket-%d", n), m: newMdir(nil, 0, true)}
		r.root = makeBucket(t, s, r.name)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			r.step(t)
			r.compare(t)
		}
		r.empty(t)
	})
}

// empty removes everything, through S3 and then through the mount, and the bucket.
func (r *treeRun) empty(t *rapid.T) {
	for _, f := range r.open {
		if err := f.Close(bg); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	// Keys that the mount hides, below a name that S3 hides, are out of reach of
	// both until that name is changed.
	if err := spell(r.s, r.root); err != nil {
		t.Fatalf("rename: %v", err)
	}
	res, err := r.s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: r.name, MaxKeys: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Entries {
		if existed, err := deleteKey(r.s, r.root, e.Key); err != nil || !existed {
			t.Fatalf("delete %q: %v, %v", e.Key, existed, err)
		}
	}
	if err := removeAll(r.s, r.root); err != nil {
		t.Fatalf("remove: %v", err)
	}
	if err := r.s.DeleteBucket(bg, s3C, r.name); err != nil {
		t.Fatalf("delete bucket: %v", err)
	}
	if err := checkTree(bg, r.s); err != nil {
		t.Fatalf("at the end: %v", err)
	}
}

// spell gives names that are not UTF-8 others that are.
func spell(s *Store, dir objstore.InodeID) error {
	ents, _, _, err := s.ReadDir(bg, dir, "", 1000, false)
	if err != nil {
		return err
	}
	for _, e := range ents {
		if e.Name == "\xff" {
			if err := s.Rename(bg, mountC, dir, e.Name, dir, "ff", 0); err != nil {
				return err
			}
		}
		if e.Type == objstore.TypeDirectory {
			if err := spell(s, e.Inode); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeAll is rm -rf of what is in a directory, again and again: a directory
// that goes can bring to light what it hid.
func removeAll(s *Store, dir objstore.InodeID) error {
	for {
		ents, _, _, err := s.ReadDir(bg, dir, "", 100, false)
		if err != nil || len(ents) == 0 {
			return err
		}
		for _, e := range ents {
			if e.Type != objstore.TypeDirectory {
				err = s.Unlink(bg, mountC, dir, e.Name)
			} else if err = removeAll(s, e.Inode); err == nil {
				err = s.Rmdir(bg, mountC, dir, e.Name)
			}
			if err != nil {
				return err
			}
		}
	}
}

// TestTreeStaysWholeUnderConcurrentOperations lets both doors work on the same
// few names at once. What they are told is of no interest, as long as nothing
// is reported as damage or as a bug.
func TestTreeStaysWholeUnderConcurrentOperations(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "concurrent")
	names := []string{"a", "b", "c"}
	work := func(seed uint64) error {
		rnd := rand.New(rand.NewPCG(seed, 1))
		pick := func() string { return names[rnd.IntN(len(names))] }
		dir := func() objstore.InodeID {
			at := root
			for range rnd.IntN(4) {
				a, err := s.Lookup(bg, at, pick())
				if err != nil || a.Type != objstore.TypeDirectory {
					break
				}
				at = a.Inode
			}
			return at
		}
		for range 400 {
			var err error
			switch rnd.IntN(9) {
			case 0:
				_, err = s.Mkdir(bg, mountC, dir(), pick(), 0755)
			case 1:
				var f *File
				if _, f, err = s.Create(bg, mountC, dir(), pick(), 0644, objstore.OpenFlags{Write: true}, false); err == nil {
					_, err = f.WriteAt(bg, []byte("x"), 0)
					err = errors.Join(err, f.Close(bg))
				}
			case 2, 3:
				err = s.Rename(bg, mountC, dir(), pick(), dir(), pick(), objstore.RenameFlags(rnd.IntN(3)))
			case 4:
				err = s.Unlink(bg, mountC, dir(), pick())
			case 5:
				err = s.Rmdir(bg, mountC, dir(), pick())
			case 6, 7:
				_, err = putKey(s, root, pick()+"/"+pick()+"/"+pick())
			case 8:
				_, err = deleteKey(s, root, pick()+"/"+pick()+"/"+pick())
			}
			if err != nil && (kindOf(err) == objstore.KindInternal || kindOf(err) == objstore.KindCorrupt) {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			if err := work(seed); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}
