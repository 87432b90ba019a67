package engine

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// A file whose key cannot be used is not made, rather than left behind empty when what
// is written to it is refused.
func TestNoFileIsMadeUnderALockedKey(t *testing.T) {
	for _, mode := range []objstore.SSEMode{objstore.SSEKMS, objstore.SSEDSSE} {
		k, root := newStack(t, nil)
		if err := errors.Join(k.keys.Create(bg, "k1"),
			k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: mode, KMSKeyID: "k1"})); err != nil {
			t.Fatal(err)
		}
		create := func(name string, excl bool) error {
			_, f, err := k.s.Create(bg, here, root, name, 0644, objstore.OpenFlags{Write: true}, excl)
			if err == nil {
				err = f.Close(bg)
			}
			return err
		}
		if err := create("before", true); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			lock, unlock func() error
			kind         objstore.Kind
		}{
			{func() error { return k.keys.Disable(bg, "k1") }, func() error { return k.keys.Enable(bg, "k1") }, objstore.KindKeyDisabled},
			{func() error {
				return k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: mode, KMSKeyID: "none"})
			}, func() error {
				return k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: mode, KMSKeyID: "k1"})
			}, objstore.KindNoSuchKey},
		} {
			if err := c.lock(); err != nil {
				t.Fatal(err)
			}
			if err := create("new", true); !objstore.IsKind(err, c.kind) {
				t.Errorf("mode %d: created: %v", mode, err)
			}
			if _, err := k.s.Mknod(bg, here, root, "new", objstore.TypeRegular, 0644, 0); !objstore.IsKind(err, c.kind) {
				t.Errorf("mode %d: made: %v", mode, err)
			}
			if _, err := k.s.Lookup(bg, root, "new"); !objstore.IsKind(err, objstore.KindNotFound) {
				t.Errorf("mode %d: it was left behind: %v", mode, err)
			}
			// What is there is there, and what has no content needs no key.
			if err := create("before", true); !objstore.IsKind(err, objstore.KindExists) {
				t.Errorf("mode %d: made again: %v", mode, err)
			}
			if err := create("before", false); err != nil {
				t.Errorf("mode %d: opened: %v", mode, err)
			}
			if _, err := k.s.Mkdir(bg, here, root, "dir-"+c.kind.String(), 0755); err != nil {
				t.Error(err)
			}
			if err := c.unlock(); err != nil {
				t.Fatal(err)
			}
			if err := create("new-"+c.kind.String(), true); err != nil {
				t.Errorf("mode %d: the key is there: %v", mode, err)
			}
		}
		k.close()
	}
}

// A transaction that ends because nobody asked for the key costs an inode number, and
// every other transaction the time it took.
func TestFileUnderAnExternalKeyIsMadeInOneTransaction(t *testing.T) {
	k, root := newStack(t, nil)
	defer k.close()
	if err := errors.Join(k.keys.Create(bg, "k1"),
		k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: objstore.SSEKMS, KMSKeyID: "k1"})); err != nil {
		t.Fatal(err)
	}
	var last objstore.InodeID
	for i := range 4 {
		a, err := k.s.Mknod(bg, here, root, fmt.Sprint("file", i), objstore.TypeRegular, 0644, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && a.Inode != last+1 {
			t.Errorf("inode %d comes behind inode %d", a.Inode, last)
		}
		last = a.Inode
	}
}
