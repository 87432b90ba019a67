package engine

import (
	"slices"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func (b *versionedBucket) rename(from, to string) {
	b.t.Helper()
	if err := b.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: b.name, SrcKey: from, DstKey: to}); err != nil {
		b.t.Fatalf("rename %q to %q: %v", from, to, err)
	}
}

// dir is the directory of a path below the root.
func (b *versionedBucket) dir(path ...string) objstore.InodeID {
	b.t.Helper()
	at := b.root
	for _, name := range path {
		a, err := b.s.Lookup(bg, at, name)
		if err != nil {
			b.t.Fatal(err)
		}
		at = a.Inode
	}
	return at
}

func (b *versionedBucket) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// headed checks that each version that is listed is described as it is listed.
func (b *versionedBucket) headed() {
	b.t.Helper()
	for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 1}) {
		info, err := b.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: b.name, Key: e.Key, Version: e.Version})
		if e.DeleteMarker {
			if kindOf(err) != objstore.KindDeleteMarker {
				b.t.Errorf("%q version %q: %v", e.Key, e.Version, err)
			}
			continue
		}
		if err != nil || info.Size != e.Size || info.ETag != e.ETag || info.Version != e.Version {
			b.t.Errorf("%+v is %+v: %v", e, info, err)
		}
	}
}

// Of the null versions that come together when a prefix is renamed to where another
// one was, the current one is it, or the newest. The others keep what they hold, and
// get numbers.
func TestKeyHasOneNullVersionAfterItsPrefixWasRenamed(t *testing.T) {
	b := newVersioned(t, objstore.VersioningOff)
	b.put("one/k", "first")
	b.put("two/k", "the second")
	b.put("three/k", "and the third")
	b.set(objstore.VersioningEnabled)
	b.del("three/k", "")
	b.rename("one/", "three/")
	b.listed("three/k* first null", "three/k marker", "three/k and the third", "two/k* the second null")
	b.headed()
	b.del("three/k", "")
	b.rename("two/", "three/")
	b.listed("three/k* the second null", "three/k marker", "three/k marker", "three/k and the third", "three/k first")
	b.headed()

	// What is done to the null version is not done to the others.
	b.set(objstore.VersioningSuspended)
	b.put("three/k", "new")
	b.listed("three/k* new null", "three/k marker", "three/k marker", "three/k and the third", "three/k first")
	b.headed()
	b.del("three/k", objstore.NullVersion)
	b.want("three/k", objstore.NullVersion, "")
	for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 1}) {
		b.del(e.Key, e.Version)
	}
	b.listed()
	if err := checkStore(b.s); err != nil {
		t.Error(err)
	}
}

// The pages of a listing may end between versions that were made without versioning.
func TestDisplacedNullVersionsCanBeDeletedByTheirIDs(t *testing.T) {
	b := newVersioned(t, objstore.VersioningOff)
	for _, p := range []string{"a/", "b/", "c/"} {
		b.put(p+"k", "of "+p)
	}
	b.set(objstore.VersioningEnabled)
	for _, p := range []string{"b/", "c/"} {
		m := b.del("a/k", "")
		b.rename(p, "a/")
		b.del("a/k", m.Version)
	}
	b.listed("a/k* of c/ null", "a/k of b/", "a/k of a/")
	b.headed()
	all := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10})
	info, err := b.s.SetObjectTags(bg, s3C, objstore.TagsRequest{Bucket: b.name, Key: "a/k", Version: all[2].Version}, []objstore.Tag{{Key: "t", Value: "v"}})
	if err != nil || info.Version != all[2].Version {
		t.Errorf("%+v, %v", info, err)
	}
	b.listed("a/k* of c/ null", "a/k of b/", "a/k of a/")
	b.headed()
	b.del("a/k", all[1].Version)
	b.listed("a/k* of c/ null", "a/k of a/")
	b.del("a/k", objstore.NullVersion)
	b.listed("a/k* of a/")
	b.want("a/k", all[2].Version, "of a/")
}

// A directory takes along what is kept of others that had its path, however often it
// is renamed, and nothing of it stays at a name that it had.
func TestRenamedDirectoryTakesAllHistoriesAlong(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.put("a/k", "old a")
	b.put("a/sub/k", "old below a")
	b.del("a/k", "")
	b.del("a/sub/k", "")
	b.put("b/k", "b")
	b.rename("b/", "a/")
	marker := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10})[1]
	b.del("a/k", marker.Version) // what is older has no marker before it now
	b.must(b.s.Rename(bg, mountC, b.root, "a", b.root, "c", 0))
	b.listed("c/*  null", "c/k* b", "c/k old a", "c/sub/k* marker", "c/sub/k old below a")
	b.must(b.s.Rename(bg, mountC, b.dir("c"), "k", b.root, "k", 0))
	b.listed("c/*  null", "c/k* marker", "c/k old a", "c/sub/k* marker", "c/sub/k old below a", "k* b")
	b.must(b.s.Rmdir(bg, mountC, b.root, "c"))
	b.listed("c/k* marker", "c/k old a", "c/sub/k* marker", "c/sub/k old below a", "k* b")
	if _, err := b.s.Mkdir(bg, mountC, b.root, "c", 0755); err != nil {
		t.Fatal(err)
	}
	b.must(b.s.Rename(bg, mountC, b.root, "k", b.dir("c"), "k", 0))
	b.must(b.s.Rename(bg, mountC, b.root, "c", b.root, "d", 0))
	b.rename("d/", "e/f/")
	for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10}) {
		b.del(e.Key, e.Version)
	}
	b.listed()
}

// Two directories that change places take their versions with them.
func TestExchangedDirectoriesTakeTheirVersions(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.put("a/k", "a one")
	b.put("a/k", "a two")
	b.put("b/k", "b one")
	b.put("b/j", "b two")
	b.del("b/j", "")
	b.must(b.s.Rename(bg, mountC, b.root, "a", b.root, "b", objstore.RenameExchange))
	b.listed("a/*  null", "a/j* marker", "a/j b two", "a/k* b one", "b/*  null", "b/k* a two", "b/k a one")
}

// Who takes a file's name without being an object leaves a delete marker, as rm.
func TestNameTakenByWhatIsNoObjectGetsAMarker(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.put("f", "one")
	b.put("f", "two")
	b.put("g", "other")
	if _, err := b.s.Symlink(bg, mountC, b.root, "l", "target"); err != nil {
		t.Fatal(err)
	}
	b.must(b.s.Rename(bg, mountC, b.root, "l", b.root, "g", 0))
	b.want("g", "", "")
	b.listed("f* two", "f one", "g* marker", "g other")
	b.must(b.s.Rename(bg, mountC, b.root, "g", b.root, "f", objstore.RenameExchange))
	b.want("f", "", "")
	b.listed("f* marker", "f one", "g* two", "g marker", "g other")
}

// Who deletes a delete marker has the object again, whatever has its name in the mount.
func TestVersionThatIsCurrentAgainTakesItsName(t *testing.T) {
	for typ, take := range map[objstore.FileType]func(*versionedBucket, objstore.InodeID, string) error{
		objstore.TypeSymlink: func(b *versionedBucket, dir objstore.InodeID, name string) error {
			_, err := b.s.Symlink(bg, mountC, dir, name, "target")
			return err
		},
		objstore.TypeFIFO: func(b *versionedBucket, dir objstore.InodeID, name string) error {
			_, err := b.s.Mknod(bg, mountC, dir, name, objstore.TypeFIFO, 0644, 0)
			return err
		},
		objstore.TypeCharDev: func(b *versionedBucket, dir objstore.InodeID, name string) error {
			_, err := b.s.Mknod(bg, mountC, dir, name, objstore.TypeCharDev, 0644, 0x103)
			return err
		},
		objstore.TypeDirectory: func(b *versionedBucket, dir objstore.InodeID, name string) error {
			_, err := b.s.Mkdir(bg, mountC, dir, name, 0755)
			return err
		},
	} {
		b := newVersioned(t, objstore.VersioningEnabled)
		b.put("d/k", "one")
		b.put("d/k", "two")
		b.put("d/other", "x")
		m := b.del("d/k", "")
		b.must(take(b, b.dir("d"), "k"))
		if _, err := b.s.Link(bg, mountC, b.dir("d", "k"), b.root, "link"); err != nil && typ != objstore.TypeDirectory {
			t.Fatal(err)
		}
		changes := changesOf(t, b.s, func() { b.del("d/k", m.Version) })
		a, err := b.s.Lookup(bg, b.dir("d"), "k")
		b.must(err)
		if typ == objstore.TypeDirectory { // both have the name
			b.listed("d/*  null", "d/k* two", "d/k one", "d/k/*  null", "d/other* x")
			if a.Type != typ {
				t.Errorf("%v: %v", typ, a.Type)
			}
			b.must(b.s.Rmdir(bg, mountC, b.dir("d"), "k"))
			continue
		}
		b.listed("d/*  null", "d/k* two", "d/k one", "d/other* x")
		b.want("d/k", "", "two")
		b.headed()
		if a.Type != objstore.TypeRegular || a.Size != 3 || !slices.ContainsFunc(changes, func(c objstore.Change) bool { return c.Name == "k" }) {
			t.Errorf("%v: the mount shows %+v, was told %+v", typ, a, changes)
		}
		if l := b.dir("link"); l == a.Inode {
			t.Errorf("%v: %+v", typ, l)
		}
	}
}

// The object that a directory is has versions behind it, and stays the current one when
// one of them is deleted.
func TestDirectoryStaysTheCurrentVersionOfItsKey(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.put("d/", "one")
	m := b.del("d/", "")
	if _, err := b.s.Mkdir(bg, mountC, b.root, "d", 0755); err != nil {
		t.Fatal(err)
	}
	b.listed("d/*  null", "d/ marker", "d/ one")
	b.del("d/", m.Version)
	b.listed("d/*  null", "d/ one")
	b.headed()
	b.del("d/", objstore.NullVersion)
	b.listed("d/* one")
}

// What is listed can be deleted by the ids that it was listed with.
func TestVersionsBehindADirectoryKeepTheirIDs(t *testing.T) {
	b := newVersioned(t, objstore.VersioningOff)
	b.put("d/", "one")
	b.set(objstore.VersioningEnabled)
	b.must(b.s.Rmdir(bg, mountC, b.root, "d"))
	if _, err := b.s.Mkdir(bg, mountC, b.root, "d", 0755); err != nil {
		t.Fatal(err)
	}
	b.listed("d/*  null", "d/ marker", "d/ one")
	for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10}) {
		b.del(e.Key, e.Version)
	}
	b.listed()
}

// A further name for a file that is a null version takes no null version's place.
func TestLinkedNullVersionLeavesTheOther(t *testing.T) {
	b := newVersioned(t, objstore.VersioningOff)
	b.put("a", "of a")
	b.put("b", "of b")
	b.set(objstore.VersioningEnabled)
	b.del("b", "")
	ino := b.dir("a")
	if _, err := b.s.Link(bg, mountC, ino, b.root, "b"); err != nil {
		t.Fatal(err)
	}
	b.listed("a* of a null", "b* of a null", "b marker", "b of b")
	b.headed()
	b.must(b.s.Unlink(bg, mountC, b.root, "a"))
	b.put("b", "new")
	b.listed("a* marker", "b* new", "b marker", "b of b", "b of a null")
	b.headed()
}

// Suspended versioning replaces the null version, not one that a rename has brought.
func TestMountReplacesTheNullVersionOfARenamedDirectory(t *testing.T) {
	b := newVersioned(t, objstore.VersioningSuspended)
	b.put("old/k", "old")
	b.set(objstore.VersioningEnabled)
	b.del("old/k", "")
	b.put("new/j", "j")
	b.rename("new/", "old/")
	b.set(objstore.VersioningSuspended)
	b.file(b.dir("old"), "k", "written")
	b.listed("old/*  null", "old/j* j", "old/k* written null", "old/k marker")
	b.must(b.s.Unlink(bg, mountC, b.dir("old"), "k"))
	b.listed("old/*  null", "old/j* j", "old/k* marker null", "old/k marker")
}

// A file whose last link is gone has lost the name at which its versions are kept. What
// it was stays a version of the name that it has left.
func TestWrittenAfterItsOtherNameWasRemoved(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.put("d/sub/x", "old")
	b.put("e/k", "k")
	if _, err := b.s.Link(bg, mountC, b.dir("d", "sub", "x"), b.dir("e"), "y"); err != nil {
		t.Fatal(err)
	}
	b.must(b.s.Unlink(bg, mountC, b.dir("e"), "y"))
	b.file(b.dir("d", "sub"), "x", "new")
	b.file(b.dir("d", "sub"), "x", "newer")
	b.listed("d/sub/x* newer", "d/sub/x new", "d/sub/x old", "e/*  null", "e/k* k", "e/y* marker")
	b.headed()
}
