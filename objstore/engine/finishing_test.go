package engine

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// modified is the Last-Modified that S3 shows of the current version.
func (b *lockedBucket) modified(key string) objstore.Time {
	b.t.Helper()
	info, err := b.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: b.name, Key: key})
	if err != nil {
		b.t.Fatal(err)
	}
	return info.LastModified
}

// finish tries to set mtime and S3 headers of a file, and to leave both as they
// are; want is the kind of error that changing them meets.
func (b *lockedBucket) finish(what, name string, mtime objstore.Time, want objstore.Kind) {
	b.t.Helper()
	ino := mustLookup(b.t, &b.versionedBucket, name)
	was := b.modified(name)
	_, err := b.s.SetAttr(bg, mountC, ino, objstore.SetAttr{Mtime: &mtime})
	xerr := b.s.SetXattr(bg, mountC, ino, "user.s3.meta.a", []byte(what), 0)
	if want == objstore.KindInternal {
		if err != nil || xerr != nil || b.modified(name) != mtime {
			b.t.Errorf("%s: %v, %v, modified %d", what, err, xerr, b.modified(name))
		}
		return
	}
	if kindOf(err) != want || kindOf(xerr) != want || b.modified(name) != was {
		b.t.Errorf("%s: %v, %v, modified %d, was %d", what, err, xerr, b.modified(name), was)
	}
	mode := uint32(0600)
	if _, err := b.s.SetAttr(bg, mountC, ino, objstore.SetAttr{Mtime: &was, Atime: &mtime, Mode: &mode}); err != nil {
		b.t.Errorf("%s: what S3 does not see: %v", what, err)
	}
	for _, name := range []string{"user.s3.tag.t", "user.other"} {
		if err := b.s.SetXattr(bg, mountC, ino, name, []byte("1"), 0); err != nil {
			b.t.Errorf("%s: %s: %v", what, name, err)
		}
	}
}

const finishes = objstore.KindInternal // no error

func TestLockedVersionIsFinishedByWhoMadeItAlone(t *testing.T) {
	b := newLocked(t, objstore.DefaultRetention{Mode: objstore.LockCompliance, Days: 1})
	b.file(b.root, "f", "one")
	b.finish("right after writing", "f", 1000, finishes)
	b.finish("again", "f", 2000, finishes)
	b.now = b.now.Add(finishTime)
	b.finish("a minute later", "f", 3000, objstore.KindLocked)

	f := b.open(b.root, "f")
	b.finish("opened for writing", "f", 3000, objstore.KindLocked)
	if _, err := f.WriteAt(bg, []byte("two"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(bg); err != nil {
		t.Fatal(err)
	}
	b.finish("flushed", "f", 5000, finishes)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	b.finish("closed", "f", 6000, finishes)
	all := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10})
	if len(all) != 2 || all[0].LastModified != 6000 || all[1].LastModified != 2000 {
		t.Errorf("%+v", all)
	}

	b.put("g", "three")
	b.finish("put by S3", "g", 7000, objstore.KindLocked)
	b.now = b.now.Add(25 * time.Hour)
	b.finish("when the retention is over", "g", 7000, finishes)
}

// The kernel tells of a close when it has told the program: the times that are set
// right after it come beside it.
func TestVersionIsFinishedWhileItsSessionEnds(t *testing.T) {
	b := newLocked(t, objstore.DefaultRetention{Mode: objstore.LockCompliance, Days: 1})
	rounds := 300
	if long {
		rounds = 10000
	}
	for i := range rounds {
		_, f, err := b.s.Create(bg, mountC, b.root, "f"+strconv.Itoa(i), 0644, objstore.OpenFlags{Write: true}, true)
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan error)
		go func() { closed <- f.Close(bg) }()
		for n := range 4 {
			mtime := objstore.Time(i + n)
			if _, err := b.s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Mtime: &mtime}); err != nil {
				t.Errorf("round %d: %v", i, err)
			}
			runtime.Gosched()
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
	}
}

func TestVersionThatS3LocksIsFinished(t *testing.T) {
	for what, lock := range map[string]func(b *lockedBucket) error{
		"hold": func(b *lockedBucket) error {
			_, err := b.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "f"}, objstore.HoldOn)
			return err
		},
		"the retention that it has": func(b *lockedBucket) error {
			return b.retain("f", "", objstore.LockCompliance, b.in(24*time.Hour), false)
		},
	} {
		b := newLocked(t, objstore.DefaultRetention{Mode: objstore.LockCompliance, Days: 1})
		b.file(b.root, "f", "one")
		if err := lock(b); err != nil {
			t.Fatal(err)
		}
		b.finish(what, "f", 1000, objstore.KindLocked)
	}
}
