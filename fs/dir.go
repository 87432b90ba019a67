package fs

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/objstore"
)

// A directory offset (d_off, telldir) is
//
//	bits 62..31  ordinal of the entry in this reading: "." is 1, ".." is 2
//	bits 30..0   hash of its name
//
// and stands for the place behind that entry. A dir remembers the places of
// the entries it gave out last, all of them, and of the older ones every
// stride-th. Any other place is found again by reading on from the mark before
// it until the hash matches, so that seekdir works with bounded memory and
// finds its entry although others came and went.
//
// A reading that goes on from an earlier offset numbers what follows as if
// nothing had changed before it, so an ordinal can stand for several entries. Its
// mark is the first of them: from there all are found. Reading from the start
// (rewinddir) forgets the marks.
const (
	hashBits = 31
	hashMask = 1<<hashBits - 1

	ordinalDot    = 1
	ordinalDotDot = 2

	// maxMarks bounds the marks of one dir; when it is reached every second is
	// dropped and the stride doubled.
	maxMarks    = 1024
	firstStride = 128
	// maxBatch is the most entries that one READDIR asks the store for.
	maxBatch = 1024
)

var nameSeed = maphash.MakeSeed()

func nameHash(name string) uint64 { return maphash.String(nameSeed, name) & hashMask }

// place is the position behind the entry with an ordinal.
type place struct {
	ordinal uint32
	hash    uint64
	pos     objstore.DirPos
}

// offset is the directory offset that stands for p.
func (p place) offset() uint64 { return uint64(p.ordinal)<<hashBits | p.hash }

// byOrdinal compares places for searches in what is sorted by ordinals.
func byOrdinal(p place, ordinal uint32) int { return cmp.Compare(p.ordinal, ordinal) }

// dir is an open directory of the kernel.
type dir struct {
	ino objstore.InodeID

	mu sync.Mutex // guards what follows; held during a READDIR
	// recent has the places of the entries of the last two replies, in order.
	recent, before []place
	marks          []place // ascending ordinals
	stride         uint32
}

// OpenDir opens a directory. The kernel does not cache readings: its cache
// mixes the offsets of several handles, and ours belong to one.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if st := f.gate.pass(); st != fuse.OK {
		return st
	}
	ino := f.inode(in.NodeId)
	if _, err := f.attr(ino); err != nil {
		return f.fail("opendir", &in.InHeader, err)
	}
	out.Fh = f.dirs.add(&dir{ino: ino, stride: firstStride})
	return fuse.OK
}

// ReleaseDir ends a handle.
func (f *FS) ReleaseDir(in *fuse.ReleaseIn) { f.dirs.remove(in.Fh) }

// FsyncDir makes everything durable: a name and what it points to are in
// different records, and one barrier covers all.
func (f *FS) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if err := f.store.Sync(f.ctx()); err != nil {
		return f.fail("fsyncdir", &in.InHeader, err)
	}
	return fuse.OK
}

// ReadDir returns names.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, out, false)
}

// ReadDirPlus returns names with attributes, which the kernel keeps as if it
// had looked them up.
func (f *FS) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, out, true)
}

func (f *FS) readDir(in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	d := f.dirs.get(in.Fh)
	if d == nil {
		return fuse.EBADF
	}
	d.mu.Lock()
	defer d.mu.Unlock()

	at, err := d.find(in.Offset, func(pos objstore.DirPos, max int) ([]objstore.Dirent, bool, error) {
		ents, _, end, err := f.store.ReadDir(f.ctx(), d.ino, pos, max, false)
		return ents, end, err
	})
	if err != nil {
		return f.fail("readdir", &in.InHeader, err)
	}
	if in.Offset == 0 {
		d.marks, d.stride = d.marks[:0], firstStride
	}
	if at.ordinal < ordinalDotDot && !f.dots(d, out, plus, at.ordinal) {
		return fuse.OK
	}
	at.ordinal = max(at.ordinal, ordinalDotDot)

	d.before, d.recent = d.recent, d.before[:0]
	room := int(in.Size)
	each := 24 + 24 // a dirent and a name of middling length
	if plus {
		each += 128 // and an entry_out
	}
	for {
		n := min(max((room-len(out.Bytes()))/each, 8), maxBatch)
		r := f.begin()
		ents, attrs, end, err := f.store.ReadDir(f.ctx(), d.ino, at.pos, n, plus)
		if err != nil {
			if len(d.recent) > 0 {
				return fuse.OK // what was read is good; the next call tells
			}
			return f.fail("readdir", &in.InHeader, err)
		}
		for i := range ents {
			e := &ents[i]
			next := place{ordinal: at.ordinal + 1, hash: nameHash(e.Name), pos: e.Pos}
			de := fuse.DirEntry{Name: e.Name, Ino: uint64(e.Inode), Mode: modeOf(e.Type), Off: next.offset()}
			eo, ok := addEntry(out, de, plus)
			if !ok {
				return fuse.OK
			}
			if plus && attrs[i].Inode != 0 { // 0: damaged; the name alone is given, stat tells
				f.fillEntry(eo, &attrs[i], r)
			}
			at = next
			d.remember(at)
		}
		if end || len(ents) == 0 {
			return fuse.OK
		}
	}
}

// addEntry adds an entry to a reply and reports whether there was room for it. With
// plus, eo takes its attributes.
func addEntry(out *fuse.DirEntryList, e fuse.DirEntry, plus bool) (eo *fuse.EntryOut, ok bool) {
	if !plus {
		return nil, out.AddDirEntry(e)
	}
	eo = out.AddDirLookupEntry(e)
	return eo, eo != nil
}

// dots adds "." and ".." behind the ordinal given and reports whether there is
// room for more. Their node id stays 0: the kernel knows both.
func (f *FS) dots(d *dir, out *fuse.DirEntryList, plus bool, after uint32) bool {
	add := func(ordinal uint32, name string, ino objstore.InodeID) bool {
		at := place{ordinal: ordinal, hash: nameHash(name)}
		_, ok := addEntry(out, fuse.DirEntry{Name: name, Ino: uint64(ino), Mode: syscall.S_IFDIR, Off: at.offset()}, plus)
		return ok
	}
	if after < ordinalDot && !add(ordinalDot, ".", d.ino) {
		return false
	}
	parent := d.ino
	if d.ino != f.inode(fuse.FUSE_ROOT_ID) {
		// A removed directory has lost its parent; its own number does as well.
		if p, err := f.store.Parent(f.ctx(), d.ino); err == nil {
			parent = p
		}
	}
	return add(ordinalDotDot, "..", parent)
}

// remember notes the place of an entry that was given out.
func (d *dir) remember(p place) {
	d.recent = append(d.recent, p)
	if p.ordinal%d.stride != 0 {
		return
	}
	i, found := slices.BinarySearchFunc(d.marks, p.ordinal, byOrdinal)
	if found {
		if p.pos < d.marks[i].pos {
			d.marks[i] = p
		}
		return
	}
	d.marks = slices.Insert(d.marks, i, p)
	if len(d.marks) < maxMarks {
		return
	}
	d.stride *= 2
	d.marks = slices.DeleteFunc(d.marks, func(m place) bool { return m.ordinal%d.stride != 0 })
}

// find returns the place that an offset stands for. When its entry is gone and
// its exact place forgotten, it is the mark before: rather an entry twice than
// one not at all.
func (d *dir) find(off uint64, read func(objstore.DirPos, int) ([]objstore.Dirent, bool, error)) (place, error) {
	want := place{ordinal: uint32(off >> hashBits), hash: off & hashMask}
	if want.ordinal <= ordinalDotDot {
		return want, nil
	}
	for _, run := range [...][]place{d.recent, d.before} {
		if len(run) == 0 || want.ordinal < run[0].ordinal {
			continue
		}
		if i := want.ordinal - run[0].ordinal; int(i) < len(run) && run[i].hash == want.hash {
			return run[i], nil
		}
	}
	mark := place{ordinal: ordinalDotDot}
	i, found := slices.BinarySearchFunc(d.marks, want.ordinal, byOrdinal)
	if found {
		i++
	}
	if i > 0 {
		mark = d.marks[i-1]
		if mark.ordinal == want.ordinal && mark.hash == want.hash {
			return mark, nil
		}
	}
	for pos := mark.pos; ; {
		ents, end, err := read(pos, maxBatch)
		if err != nil {
			return place{}, err
		}
		for _, e := range ents {
			if nameHash(e.Name) == want.hash {
				want.pos = e.Pos
				return want, nil
			}
			pos = e.Pos
		}
		if end || len(ents) == 0 {
			return mark, nil
		}
	}
}
