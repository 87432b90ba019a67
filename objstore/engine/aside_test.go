package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
	"pgregory.net/rapid"
)

func TestFirstChangeOfAWriteSessionSetsTheContentAside(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.file(b.root, "f", "one") // making it is part of the session: no empty version
	b.listed("f* one")
	f := b.open(b.root, "f")
	g := b.open(b.root, "f")
	write := func(text string) {
		t.Helper()
		if _, err := f.WriteAt(bg, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(bg); err != nil {
			t.Fatal(err)
		}
	}
	write("two")
	b.listed("f* two", "f one")
	id := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 1})[0].Version
	write("TWO")
	b.want("f", id, "TWO") // the session goes on
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if _, err := g.WriteAt(bg, []byte("2"), 0); err != nil { // still the session: g was open
		t.Fatal(err)
	}
	if err := g.Close(bg); err != nil {
		t.Fatal(err)
	}
	b.listed("f* 2WO", "f one")
	f = b.open(b.root, "f")
	write("three")
	if err := f.Truncate(bg, 2); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	b.listed("f* th", "f 2WO", "f one")
	b.file(b.root, "f", "four") // O_TRUNC
	b.listed("f* four", "f th", "f 2WO", "f one")
	if _, err := b.s.SetAttr(bg, mountC, mustLookup(t, b, "f"), objstore.SetAttr{Size: new(int64)}); err != nil {
		t.Fatal(err)
	}
	if len(b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10})) != 5 {
		t.Error("truncate(2) left no version")
	}
}

func mustLookup(t rapid.TB, b *versionedBucket, name string) objstore.InodeID {
	t.Helper()
	a, err := b.s.Lookup(bg, b.root, name)
	if err != nil {
		t.Fatal(err)
	}
	return a.Inode
}

// The content that goes on shares the chunks of the one that was set aside,
// whatever the sizes, and each has its own bytes afterwards.
func TestContentsThatWereSetAsideKeepTheirBytes(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 100_000, 5 << 20, record.MaxChunk + 12345} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if raceDetector && !long && size > 8<<20 {
				t.Skip("long, and of bytes rather than of threads")
			}
			k, _ := newStack(t, func(k *stack) { k.options.WriteBufferBytes = 8 << 20 })
			if _, err := k.s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "aside"}); err != nil {
				t.Fatal(err)
			}
			b := &versionedBucket{t: t, s: k.s, name: "aside"}
			b.set(objstore.VersioningEnabled)
			k.s.shareStep = 1
			rnd := rand.New(rand.NewPCG(1, uint64(size)))
			body := make([]byte, size)
			for i := range body {
				body[i] = byte(rnd.Uint32())
			}
			want := map[objstore.VersionID][]byte{}
			v := b.put("f", string(body))
			want[v] = bytes.Clone(body)
			root := bucketRootOf(t, k.s, "aside")
			for range 4 {
				f := b.open(root, "f")
				for range 3 {
					off := rnd.IntN(len(body) + 1)
					p := []byte(strings.Repeat("x", 1+rnd.IntN(70_000)))
					if _, err := f.WriteAt(bg, p, int64(off)); err != nil {
						t.Fatal(err)
					}
					if end := off + len(p); end > len(body) {
						body = append(body, make([]byte, end-len(body))...)
					}
					copy(body[off:], p)
					if rnd.IntN(2) == 0 {
						if err := f.Sync(bg); err != nil {
							t.Fatal(err)
						}
					}
				}
				if rnd.IntN(3) == 0 {
					n := rnd.IntN(len(body))
					if err := f.Truncate(bg, int64(n)); err != nil {
						t.Fatal(err)
					}
					body = body[:n]
				}
				if err := f.Close(bg); err != nil {
					t.Fatal(err)
				}
				info, err := k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "aside", Key: "f"})
				if err != nil {
					t.Fatal(err)
				}
				want[info.Version] = bytes.Clone(body)
			}
			if got := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 100}); len(got) != 5 {
				t.Fatalf("%d versions", len(got))
			}
			for round := range 2 {
				for id, body := range want {
					if got, err := b.get("f", id); err != nil || got != string(body) {
						t.Errorf("round %d: version of %d bytes holds %d: %v", round, len(body), len(got), err)
					}
				}
				k.reopen()
				b.s = k.s
			}
			for id := range want {
				b.del("f", id)
			}
			if err := b.s.reapGarbage(bg); err != nil {
				t.Fatal(err)
			}
			if err := checkStore(b.s); err != nil {
				t.Error(err)
			}
			countRecords(t, b.s, map[byte]int{'c': 0, 'D': 0, 'k': 0, 'e': 0, 'v': 0})
		})
	}
}

func TestWhatIsOpenWhileItIsReplacedChangesNoVersion(t *testing.T) {
	for what, replace := range map[string]func(b *versionedBucket){
		"PUT":    func(b *versionedBucket) { b.put("f", "new") },
		"DELETE": func(b *versionedBucket) { b.del("f", "") },
		"unlink": func(b *versionedBucket) {
			if err := b.s.Unlink(bg, mountC, b.root, "f"); err != nil {
				b.t.Fatal(err)
			}
		},
		"rename": func(b *versionedBucket) {
			b.file(b.root, "g", "new")
			if err := b.s.Rename(bg, mountC, b.root, "g", b.root, "f", 0); err != nil {
				b.t.Fatal(err)
			}
		},
	} {
		for _, session := range []bool{false, true} {
			t.Run(fmt.Sprint(what, session), func(t *testing.T) {
				b := newVersioned(t, objstore.VersioningEnabled)
				b.put("f", "old content")
				f := b.open(b.root, "f")
				want := "old content"
				if session {
					want = "OLD content"
					if _, err := f.WriteAt(bg, []byte("OLD"), 0); err != nil {
						t.Fatal(err)
					}
					if err := f.Flush(bg); err != nil {
						t.Fatal(err)
					}
				}
				replace(b)
				before := b.versions(100)
				if _, err := f.WriteAt(bg, []byte("private"), 0); err != nil {
					t.Fatal(err)
				}
				if err := f.Flush(bg); err != nil {
					t.Fatal(err)
				}
				p := make([]byte, 100)
				if n, err := f.ReadAt(bg, p, 0); err != nil || string(p[:n]) != "private"+want[7:] {
					t.Errorf("whoever has it open reads %q: %v", p[:n], err)
				}
				if err := f.Truncate(bg, 3); err != nil {
					t.Fatal(err)
				}
				if after := b.versions(100); strings.Join(after, "\n") != strings.Join(before, "\n") {
					t.Errorf("%s\nbecame\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
				}
				if !strings.Contains(strings.Join(before, "\n"), want) {
					t.Errorf("%q is in none of\n%s", want, strings.Join(before, "\n"))
				}
				if err := f.Close(bg); err != nil {
					t.Fatal(err)
				}
				if err := checkTree(bg, b.s); err != nil {
					t.Error(err)
				}
				if after := b.versions(100); strings.Join(after, "\n") != strings.Join(before, "\n") {
					t.Errorf("after close: %s", strings.Join(after, "\n"))
				}
			})
		}
	}
}

// The first change to a file that was replaced while it was open can be a cut: that
// takes the file's last name from within.
func TestFirstChangeOfWhatWasReplacedCanBeACut(t *testing.T) {
	for what, cut := range map[string]func(f *File) error{
		"truncate": func(f *File) error { return f.Truncate(bg, 3) },
		"to 0":     func(f *File) error { return f.Truncate(bg, 0) },
		"hole": func(f *File) error {
			return f.Allocate(bg, objstore.AllocatePunchHole|objstore.AllocateKeepSize, 0, 5)
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := newVersioned(t, objstore.VersioningEnabled)
			b.put("f", "old content")
			f := b.open(b.root, "f")
			b.put("f", "new")
			if err := cut(f); err != nil {
				t.Fatal(err)
			}
			b.listed("f* new", "f old content")
			if err := f.Close(bg); err != nil {
				t.Fatal(err)
			}
			b.listed("f* new", "f old content")
			if _, err := b.s.GetAttr(bg, f.Inode()); !objstore.IsKind(err, objstore.KindStale) {
				t.Errorf("the file that nobody has open any more: %v", err)
			}
		})
	}
}

func TestVersionThatIsDeletedStaysReadableWhileItIsOpen(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	v := b.put("f", "old content")
	f := b.open(b.root, "f")
	b.put("f", "new")
	b.del("f", v)
	p := make([]byte, 100)
	if n, err := f.ReadAt(bg, p, 0); err != nil || string(p[:n]) != "old content" {
		t.Errorf("%q %v", p[:n], err)
	}
	if err := checkTree(bg, b.s); err != nil {
		t.Error(err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	b.listed("f* new")
}

func TestMountLeavesMarkersAndVersions(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	mount := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b.file(b.root, "a", "one")
	mount(b.s.Unlink(bg, mountC, b.root, "a"))
	b.listed("a* marker", "a one")
	b.file(b.root, "a", "two")
	b.listed("a* two", "a marker", "a one")
	// A rename sets its target aside, and leaves a marker where there are older
	// versions; the current one moves.
	b.file(b.root, "b", "target")
	mount(b.s.Rename(bg, mountC, b.root, "a", b.root, "b", 0))
	b.listed("a* marker", "a one", "b* two", "b target")
	b.file(b.root, "tmp", "three")
	mount(b.s.Rename(bg, mountC, b.root, "tmp", b.root, "b", 0))
	b.listed("a* marker", "a one", "b* three", "b two", "b target")
	b.file(b.root, "c", "four")
	mount(b.s.Rename(bg, mountC, b.root, "c", b.root, "b", objstore.RenameExchange))
	b.listed("a* marker", "a one", "b* four", "b two", "b target", "c* three")
	mount(b.s.Unlink(bg, mountC, b.root, "c"))
	mount(b.s.Unlink(bg, mountC, b.root, "b"))
	b.listed("a* marker", "a one", "b* marker", "b four", "b two", "b target", "c* marker", "c three")
	if ents, _, _, err := b.s.ReadDir(bg, b.root, "", 10, false); err != nil || len(ents) != 0 {
		t.Errorf("the mount shows %v: %v", ents, err)
	}
}

func TestRenamedDirectoryTakesItsVersionsAlong(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	mkdir := func(name string) objstore.InodeID {
		t.Helper()
		a, err := b.s.Mkdir(bg, mountC, b.root, name, 0755)
		if err != nil {
			t.Fatal(err)
		}
		return a.Inode
	}
	d := mkdir("d")
	b.put("d/f", "one")
	b.put("d/f", "two")
	b.put("d/g", "three")
	b.del("d/g", "")
	if err := b.s.Rename(bg, mountC, b.root, "d", b.root, "e", 0); err != nil {
		t.Fatal(err)
	}
	b.listed("e/*  null", "e/f* two", "e/f one", "e/g* marker", "e/g three")
	// A new directory of the old name has nothing to do with it.
	mkdir("d")
	b.listed("d/*  null", "e/*  null", "e/f* two", "e/f one", "e/g* marker", "e/g three")
	// One that takes the place of a directory that is gone has the history of both.
	if err := b.s.Unlink(bg, mountC, d, "f"); err != nil {
		t.Fatal(err)
	}
	if err := b.s.Rmdir(bg, mountC, b.root, "e"); err != nil {
		t.Fatal(err)
	}
	b.listed("d/*  null", "e/f* marker", "e/f two", "e/f one", "e/g* marker", "e/g three")
	b.put("d/f", "four")
	b.put("d/f", "five")
	if err := b.s.Rename(bg, mountC, b.root, "d", b.root, "e", 0); err != nil {
		t.Fatal(err)
	}
	b.listed("e/*  null", "e/f* five", "e/f four", "e/f marker", "e/f two", "e/f one", "e/g* marker", "e/g three")
	for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 100}) {
		b.del(e.Key, e.Version)
	}
	b.listed()
	if err := b.s.DeleteBucket(bg, s3C, b.name); err != nil {
		t.Error(err)
	}
	b.name = "versioned-2"
	b.root = makeBucket(t, b.s, b.name)
}

func TestHardLinksOfVersionedFiles(t *testing.T) {
	b := newVersioned(t, objstore.VersioningOff)
	b.file(b.root, "a", "one")
	ino := mustLookup(t, b, "a")
	if _, err := b.s.Link(bg, mountC, ino, b.root, "b"); err != nil {
		t.Fatal(err)
	}
	b.set(objstore.VersioningEnabled)
	if _, err := b.s.Link(bg, mountC, ino, b.root, "c"); err != nil {
		t.Fatal(err)
	}
	if err := b.s.Unlink(bg, mountC, b.root, "a"); err != nil {
		t.Fatal(err)
	}
	b.listed("a* marker", "b* one null", "c* one null")
	f := b.open(b.root, "b")
	if _, err := f.WriteAt(bg, []byte("two"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	b.listed("a* marker", "b* two", "c* two", "c one null")
}

func bucketRootOf(t testing.TB, s *Store, name string) objstore.InodeID {
	t.Helper()
	a, err := s.Lookup(bg, objstore.RootInode, name)
	if err != nil {
		t.Fatal(err)
	}
	return a.Inode
}
