package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
)

// lockedBucket is a bucket with Object Lock, and the clock of its store.
type lockedBucket struct {
	versionedBucket
	now time.Time
}

func newLocked(t testing.TB, d objstore.DefaultRetention) *lockedBucket {
	t.Helper()
	return newLockedOver(t, d, nil)
}

func newLockedOver(t testing.TB, d objstore.DefaultRetention, wrap func(meta.Store) meta.Store) *lockedBucket {
	t.Helper()
	b := &lockedBucket{now: time.Unix(1_700_000_000, 0)}
	k, _ := newStack(t, func(k *stack) {
		k.options.Now = func() time.Time { return b.now }
		k.wrapKV = wrap
	})
	info, err := k.s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "locked", ObjectLock: true})
	if err != nil {
		t.Fatal(err)
	}
	b.versionedBucket = versionedBucket{t: t, s: k.s, name: "locked", root: info.Root}
	if d != (objstore.DefaultRetention{}) {
		if err := k.s.SetLockDefault(bg, s3C, "locked", d); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := checkStore(b.s); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *lockedBucket) in(d time.Duration) objstore.Time { return objstore.TimeOf(b.now.Add(d)) }

func (b *lockedBucket) refused(key string, id objstore.VersionID, bypass bool) {
	b.t.Helper()
	_, err := b.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: b.name, Key: key, Version: id, Bypass: bypass})
	if kindOf(err) != objstore.KindLocked {
		b.t.Errorf("delete %q version %q, bypass %v: %v", key, id, bypass, err)
	}
}

func (b *lockedBucket) retain(key string, id objstore.VersionID, mode objstore.LockMode, until objstore.Time, bypass bool) error {
	_, err := b.s.SetRetention(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: key, Version: id}, objstore.Retention{Mode: mode, Until: until}, bypass)
	return err
}

func TestLockedVersionsCannotBeDeleted(t *testing.T) {
	for _, current := range []bool{true, false} {
		for _, mode := range []objstore.LockMode{objstore.LockGovernance, objstore.LockCompliance} {
			t.Run(fmt.Sprint(mode, current), func(t *testing.T) {
				b := newLocked(t, objstore.DefaultRetention{})
				v := b.put("k", "one")
				if err := b.retain("k", v, mode, b.in(time.Hour), false); err != nil {
					t.Fatal(err)
				}
				if !current {
					b.put("k", "two")
				}
				b.refused("k", v, false)
				if mode == objstore.LockCompliance {
					b.refused("k", v, true)
				}
				b.del("k", "") // a marker hides it, and keeps it
				b.want("k", v, "one")
				b.refused("k", v, false)
				if l, id, err := b.s.ObjectLock(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "k", Version: v}); err != nil || l.Mode != mode || id != v {
					t.Errorf("%+v %q %v", l, id, err)
				}
				b.now = b.now.Add(time.Hour - 1)
				b.refused("k", v, false)
				b.now = b.now.Add(1)
				b.del("k", v)
				b.want("k", v, "")
			})
		}
	}
}

func TestBypassAndLegalHold(t *testing.T) {
	b := newLocked(t, objstore.DefaultRetention{Mode: objstore.LockGovernance, Days: 1})
	v := b.put("k", "one")
	if l, _, err := b.s.ObjectLock(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "k"}); err != nil || l.Mode != objstore.LockGovernance || l.Until != b.in(24*time.Hour) {
		t.Errorf("by default %+v %v", l, err)
	}
	hold := func(h objstore.LegalHold) {
		t.Helper()
		if _, err := b.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "k", Version: v}, h); err != nil {
			t.Fatal(err)
		}
	}
	hold(objstore.HoldOn)
	b.refused("k", v, true) // a hold is not bypassed
	hold(objstore.HoldOff)
	b.refused("k", v, false)
	for _, c := range []struct {
		mode   objstore.LockMode
		until  time.Duration
		bypass bool
		want   objstore.Kind
	}{
		{objstore.LockGovernance, 23 * time.Hour, false, objstore.KindLocked},
		{objstore.LockGovernance, 25 * time.Hour, false, ok},
		{objstore.LockGovernance, 23 * time.Hour, true, ok},
		{objstore.LockNone, 0, false, objstore.KindLocked},
		{objstore.LockNone, 0, true, ok},
		{objstore.LockGovernance, -1, false, objstore.KindInvalidArgument},
		{objstore.LockCompliance, time.Hour, false, ok},
		{objstore.LockGovernance, 2 * time.Hour, false, objstore.KindLocked},
		{objstore.LockCompliance, time.Minute, true, objstore.KindLocked},
		{objstore.LockNone, 0, true, objstore.KindLocked},
		{objstore.LockCompliance, 2 * time.Hour, false, ok},
	} {
		until := objstore.Time(0)
		if c.mode != objstore.LockNone {
			until = b.in(c.until)
		}
		if err := b.retain("k", v, c.mode, until, c.bypass); kindOf(err) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	b.refused("k", v, true)
	out, err := b.s.DeleteObjects(bg, s3C, b.name, []objstore.DeleteRequest{{Key: "k", Version: v, Bypass: true}})
	if err != nil || kindOf(out[0].Err) != objstore.KindLocked {
		t.Errorf("%+v %v", out, err)
	}
}

func TestLockWantsABucketWithIt(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.put("k", "one")
	until := objstore.TimeOf(time.Now().Add(time.Hour))
	lock := objstore.Lock{Retention: objstore.Retention{Mode: objstore.LockGovernance, Until: until}}
	_, perr := b.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: b.name, Key: "l", Body: strings.NewReader(""), Lock: lock})
	_, uerr := b.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: b.name, Key: "l", Lock: lock})
	_, cerr := b.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: b.name, SrcKey: "k", DstBucket: b.name, DstKey: "l", Lock: lock})
	_, rerr := b.s.SetRetention(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "k"}, lock.Retention, false)
	for what, err := range map[string]error{"put": perr, "upload": uerr, "copy": cerr, "retention": rerr} {
		if kindOf(err) != objstore.KindNoObjectLock {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.listed("k* one")
	b.set(objstore.VersioningSuspended)
	d := objstore.DefaultRetention{Mode: objstore.LockGovernance, Years: 1}
	if err := b.s.SetLockDefault(bg, s3C, b.name, d); kindOf(err) != objstore.KindBucketState {
		t.Errorf("lock while suspended: %v", err)
	}
	b.set(objstore.VersioningEnabled)
	if err := b.s.SetLockDefault(bg, s3C, b.name, d); err != nil {
		t.Fatal(err)
	}
	if err := b.s.SetBucketVersioning(bg, s3C, b.name, objstore.VersioningSuspended); kindOf(err) != objstore.KindBucketState {
		t.Errorf("suspended with a lock: %v", err)
	}
}

func TestMountKeepsLockedVersions(t *testing.T) {
	b := newLocked(t, objstore.DefaultRetention{Mode: objstore.LockCompliance, Days: 1})
	v := b.put("f", "one")
	b.file(b.root, "f", "two")
	b.want("f", v, "one")
	v2 := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 1})[0].Version
	b.refused("f", v2, true) // the default holds for what the mount writes
	if err := b.s.Unlink(bg, mountC, b.root, "f"); err != nil {
		t.Fatal(err)
	}
	b.listed("f* marker", "f two", "f one")
	// What would take a locked version from its key is refused.
	b.file(b.root, "g", "three")
	if err := b.s.Rename(bg, mountC, b.root, "g", b.root, "h", 0); kindOf(err) != objstore.KindCrossBucket {
		t.Errorf("rename of a locked file: %v", err)
	}
	if _, err := b.s.Link(bg, mountC, mustLookup(t, &b.versionedBucket, "g"), b.root, "h"); kindOf(err) != objstore.KindNotPermitted {
		t.Errorf("link: %v", err)
	}
	b.now = b.now.Add(finishTime)
	if err := b.s.SetXattr(bg, mountC, mustLookup(t, &b.versionedBucket, "g"), "user.s3.meta.a", []byte("1"), 0); kindOf(err) != objstore.KindLocked {
		t.Errorf("metadata of a locked file: %v", err)
	}
	a, err := b.s.Mkdir(bg, mountC, b.root, "dir", 0755)
	if err != nil {
		t.Fatal(err)
	}
	b.file(a.Inode, "x", "four")
	if err := b.s.Rename(bg, mountC, b.root, "dir", b.root, "moved", 0); kindOf(err) != objstore.KindCrossBucket {
		t.Errorf("rename of a directory: %v", err)
	}
	if err := b.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: b.name, SrcKey: "dir/", DstKey: "moved/"}); err == nil {
		t.Error("RenameObject of a prefix")
	}
	if err := b.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: b.name, SrcKey: "g", DstKey: "h"}); err == nil {
		t.Error("RenameObject of a locked object")
	}
	b.now = b.now.Add(25 * time.Hour)
	if err := b.s.Rename(bg, mountC, b.root, "g", b.root, "h", 0); err != nil {
		t.Errorf("rename when the retention is over: %v", err)
	}
	b.listed("dir/*  null", "dir/x* four", "f* marker", "f two", "f one", "h* three")
}

// A version that is locked while a session of the mount still writes it is not
// changed any more.
func TestLockEndsTheWriteSession(t *testing.T) {
	for what, lock := range map[string]func(b *lockedBucket) error{
		"hold": func(b *lockedBucket) error {
			_, err := b.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "f"}, objstore.HoldOn)
			return err
		},
		"retention": func(b *lockedBucket) error {
			return b.retain("f", "", objstore.LockCompliance, b.in(time.Hour), false)
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := newLocked(t, objstore.DefaultRetention{})
			_, f, err := b.s.Create(bg, mountC, b.root, "f", 0644, objstore.OpenFlags{Read: true, Write: true}, true)
			if err != nil {
				t.Fatal(err)
			}
			write := func(text string) {
				t.Helper()
				if _, err := f.WriteAt(bg, []byte(text), 0); err != nil {
					t.Fatal(err)
				}
				if err := f.Flush(bg); err != nil {
					t.Fatal(err)
				}
			}
			write("one")
			write("ONE")
			if err := lock(b); err != nil {
				t.Fatal(err)
			}
			write("two")
			write("TWO")
			if err := f.Close(bg); err != nil {
				t.Fatal(err)
			}
			b.listed("f* TWO", "f ONE")
			old := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10})[1]
			b.refused("f", old.Version, true)
		})
	}
}

// afterKV has something happen after a transaction, before who made it knows that
// it committed.
type afterKV struct {
	meta.Store
	do func() (done bool) // until it is done
}

func (a *afterKV) Update(ctx context.Context, fn func(meta.Txn) error) error {
	err := a.Store.Update(ctx, fn)
	if do := a.do; do != nil && err == nil {
		a.do = nil
		if !do() {
			a.do = do
		}
	}
	return err
}

// A version is not changed any more from when it is locked, were it before the
// mount's write that made it knows of its commit.
func TestLockRightAfterTheCommitThatMadeTheVersion(t *testing.T) {
	create := func(b *lockedBucket) *File {
		_, f, err := b.s.Create(bg, mountC, b.root, "f", 0644, objstore.OpenFlags{Read: true, Write: true}, true)
		if err != nil {
			b.t.Fatal(err)
		}
		return f
	}
	again := func(b *lockedBucket) *File {
		b.file(b.root, "f", "zero")
		return b.open(b.root, "f")
	}
	write := func(f *File, text string) error {
		if _, err := f.WriteAt(bg, []byte(text), 0); err != nil {
			return err
		}
		return f.Flush(bg)
	}
	for what, c := range map[string]struct {
		open   func(b *lockedBucket) *File
		first  func(f *File) error // nil: the version is the one that open made
		locked string
		any    bool // the version need not be a new one
	}{
		"create":   {create, nil, "", false},
		"write":    {again, func(f *File) error { return write(f, "one.") }, "one.", false},
		"truncate": {again, func(f *File) error { return f.Truncate(bg, 2) }, "ze", false},
		"empty":    {again, func(f *File) error { return f.Truncate(bg, 0) }, "", false},
		"second": {again, func(f *File) error {
			if err := write(f, "one."); err != nil {
				return err
			}
			return f.Truncate(bg, 0)
		}, "one.", false},
		"cut":       {create, func(f *File) error { return f.Truncate(bg, 2) }, "\x00\x00", true},
		"rewritten": {create, func(f *File) error { return write(f, "one.") }, "one.", true},
	} {
		for mode, d := range map[string]objstore.DefaultRetention{"bare": {}, "default": {Mode: objstore.LockGovernance, Days: 1}} {
			t.Run(what+" "+mode, func(t *testing.T) {
				kv := new(afterKV)
				b := newLockedOver(t, d, func(m meta.Store) meta.Store { kv.Store = m; return kv })
				var locked objstore.VersionID
				hold := func(h objstore.LegalHold) objstore.VersionID {
					id, err := b.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "f"}, h)
					if err != nil && kindOf(err) != objstore.KindNotFound {
						t.Error(err)
					}
					return id
				}
				arm := func() {
					before := objstore.VersionID("")
					if !c.any { // it ends the session
						before = hold(objstore.HoldOff)
					}
					kv.do = func() bool {
						id := hold(objstore.HoldOn)
						if id == before && !c.any {
							hold(objstore.HoldOff)
							return false
						}
						locked = id
						return true
					}
				}
				if c.first == nil {
					arm()
				}
				f := c.open(b)
				if c.first != nil {
					arm()
					if err := c.first(f); err != nil {
						t.Fatal(err)
					}
				}
				if locked == "" {
					t.Fatal("nothing was locked")
				}
				if err := write(f, "two."); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(bg); err != nil {
					t.Fatal(err)
				}
				if got, err := b.get("f", locked); err != nil || got != c.locked {
					t.Errorf("the locked version holds %q, not %q: %v", got, c.locked, err)
				}
				if got, err := b.get("f", ""); err != nil || got != "two." {
					t.Errorf("the file holds %q: %v", got, err)
				}
			})
		}
	}
}

// A name that a file had beside its key when the bucket got Object Lock does not let
// S3 delete the locked version.
func TestLockedVersionOfAFileWithTwoNames(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	v := b.put("k", "one")
	if _, err := b.s.Link(bg, mountC, mustLookup(t, b, "k"), b.root, "j"); err != nil {
		t.Fatal(err)
	}
	if err := b.s.SetLockDefault(bg, s3C, b.name, objstore.DefaultRetention{}); err != nil {
		t.Fatal(err)
	}
	hold := func(h objstore.LegalHold) {
		t.Helper()
		if _, err := b.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: b.name, Key: "k", Version: v}, h); err != nil {
			t.Fatal(err)
		}
	}
	hold(objstore.HoldOn)
	if _, err := b.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: b.name, Key: "k", Version: v}); kindOf(err) != objstore.KindLocked {
		t.Errorf("delete of a version on hold: %v", err)
	}
	b.want("k", v, "one")
	hold(objstore.HoldOff)
	b.del("k", v)
	b.want("k", "", "")
	b.want("j", "", "one")
}

// betweenKV has something happen once, after a snapshot.
type betweenKV struct {
	meta.Store
	do func()
}

func (k *betweenKV) View(ctx context.Context, fn func(meta.Reader) error) error {
	err := k.Store.View(ctx, fn)
	if do := k.do; do != nil {
		k.do = nil
		do()
	}
	return err
}

// A lock that is set while a request prepares another key for the object counts.
func TestLockWhileTheKeyIsUpdated(t *testing.T) {
	kv := new(betweenKV)
	b := newLockedOver(t, objstore.DefaultRetention{}, func(m meta.Store) meta.Store { kv.Store = m; return kv })
	v := b.put("k", "one")
	kv.do = func() {
		if err := b.retain("k", v, objstore.LockCompliance, b.in(time.Hour), false); err != nil {
			t.Error(err)
		}
	}
	err := b.s.UpdateEncryption(bg, s3C, objstore.UpdateEncryptionRequest{Bucket: b.name, Key: "k", Encryption: objstore.Encryption{Mode: objstore.SSEKMS}})
	if kindOf(err) != objstore.KindAccessDenied || kv.do != nil {
		t.Errorf("a locked object: %v", err)
	}
}
