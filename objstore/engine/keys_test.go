package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// deksOf returns the data key records of a store, and the sealed keys in them.
func deksOf(t testing.TB, s *Store) map[string]*record.DEK {
	t.Helper()
	all := map[string]*record.DEK{}
	err := s.view(bg, "test", "", func(r reader) error {
		for p, err := range r.Scan(meta.Prefix(record.DEKPrefix())) {
			if err != nil {
				return err
			}
			k, err := record.ParseDEK(bytes.Clone(p.Value))
			if err != nil {
				return err
			}
			all[string(p.Key)] = k
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// stale counts the data keys that are not under the newest version.
func stale(t testing.TB, k *stack) (n int) {
	t.Helper()
	for _, d := range deksOf(t, k.s) {
		sealed, err := k.keys.Rewrap(bg, d.Sealed, d.Context)
		if err != nil {
			t.Fatal(err)
		}
		if sealed != nil {
			n++
		}
	}
	return n
}

func TestRequestsNameKeysAsAWSDoes(t *testing.T) {
	k, _ := newStack(t, func(k *stack) { k.options.Region = "eu-west-1" })
	if err := k.keys.Create(bg, "backup", "photos"); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]kms.KeyID{
		"backup": "backup", "alias/photos": "backup",
		"arn:aws:kms:eu-west-1:000000000000:key/backup":   "backup",
		"arn:aws:kms:eu-west-1:000000000000:alias/photos": "backup",
		"": "aws-s3", "alias/aws/s3": "aws-s3",
	} {
		info, err := k.s.resolveKey(bg, "put", text)
		if err != nil || info.ID != want {
			t.Errorf("%q: %+v, %v", text, info, err)
		}
	}
	for text, want := range map[string]string{
		"fake-key-id": "Invalid keyId 'fake-key-id'",
		"store":       "Invalid keyId 'store'", // nobody's but the store's
		"sse-s3":      "Invalid keyId 'sse-s3'",
		"arn:aws:kms:eu-west-1:000000000000:key/sse-s3": "Key 'arn:aws:kms:eu-west-1:000000000000:key/sse-s3' does not exist",
		"arn:aws:kms:us-east-1:000000000000:key/backup": "Invalid arn us-east-1",
		"alias/none": "Alias arn:aws:kms:eu-west-1:000000000000:alias/none is not found.",
	} {
		_, err := k.s.resolveKey(bg, "put", text)
		var e *objstore.Error
		if !errors.As(err, &e) || e.Kind != objstore.KindNoSuchKey || e.Msg != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if arn := k.s.keyARN("backup"); arn != "arn:aws:kms:eu-west-1:000000000000:key/backup" {
		t.Error(arn)
	}
}

func TestForgottenKeysAreAskedForAgain(t *testing.T) {
	k, _ := newStack(t, nil)
	if err := k.keys.Create(bg, "other"); err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:kms:us-east-1:000000000000:key/sse-s3"
	data := bytesOf(1, 100_000)
	put(t, k.s, "a", data)
	read := func() error {
		p, _, err := get(k.s, objstore.GetRequest{Bucket: "bucket", Key: "a"})
		if err == nil && !bytes.Equal(p, data) {
			t.Error("other bytes came back")
		}
		return err
	}
	for _, lock := range []struct {
		do, undo func() error
		kind     objstore.Kind
		msg      string
	}{
		{func() error { return k.keys.Disable(bg, EKSSES3) }, func() error { return k.keys.Enable(bg, EKSSES3) },
			objstore.KindKeyDisabled, arn + " is disabled."},
		{func() error { return k.keys.ScheduleDeletion(bg, EKSSES3, k.s.o.Now().Add(1)) },
			func() error { return errors.Join(k.keys.CancelDeletion(bg, EKSSES3), k.keys.Enable(bg, EKSSES3)) },
			objstore.KindKeyPendingDeletion, arn + " is pending deletion."},
	} {
		if err := errors.Join(read(), lock.do()); err != nil {
			t.Fatal(err)
		}
		k.s.ForgetKeys("other")
		if err := read(); err != nil {
			t.Fatalf("another key was forgotten too: %v", err)
		}
		k.s.ForgetKeys(EKSSES3)
		err := read()
		var e *objstore.Error
		if !errors.As(err, &e) || e.Kind != lock.kind || e.Msg != lock.msg {
			t.Errorf("%v, want %q", err, lock.msg)
		}
		if err := errors.Join(lock.undo(), read()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRewrapMovesEveryDataKey(t *testing.T) {
	k, _ := newStack(t, nil)
	// More than one step, some of them under another key, one of which is locked.
	for i := range rewrapStep + 10 {
		if err := k.s.SetSetting(bg, fmt.Sprintf("s%d", i), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	data := bytesOf(2, 70_000)
	put(t, k.s, "a", data)
	if err := errors.Join(k.keys.Create(bg, "k1"), k.keys.Create(bg, "locked")); err != nil {
		t.Fatal(err)
	}
	var mine []string
	for _, id := range []kms.KeyID{"k1", "locked"} {
		d, rec, err := k.s.newDEK(bg, id, kms.Context{"a": "b"})
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, string(record.DEKKey(d)))
		if err := k.s.update(bg, objstore.Caller{}, "test", "", func(x *tx) error {
			x.txn.Set(record.DEKKey(d), rec.Append(nil))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := k.s.RewrapKeys(bg, ""); n != 0 || err != nil {
		t.Fatalf("nothing was rotated: %d, %v", n, err)
	}
	for _, id := range []kms.KeyID{EKSSES3, "k1", "locked"} {
		if err := k.keys.Rotate(bg, id); err != nil {
			t.Fatal(err)
		}
	}
	before := deksOf(t, k.s)
	if err := k.keys.Disable(bg, "locked"); err != nil {
		t.Fatal(err)
	}
	if n, err := k.s.RewrapKeys(bg, "k1"); n != 1 || err != nil {
		t.Fatalf("k1: %d, %v", n, err)
	}
	if n, err := k.s.RewrapKeys(bg, ""); n != len(before)-2 || err != nil {
		t.Fatalf("%d of %d, %v", n, len(before), err)
	}
	after := deksOf(t, k.s)
	for key, d := range before {
		if moved := !bytes.Equal(after[key].Sealed, d.Sealed); moved == (key == mine[1]) {
			t.Errorf("data key %x under %s: moved %v", key, d.KeyID, moved)
		}
	}
	if err := k.keys.Enable(bg, "locked"); err != nil {
		t.Fatal(err)
	}
	if n, err := k.s.RewrapKeys(bg, ""); n != 1 || err != nil {
		t.Fatalf("the rest: %d, %v", n, err)
	}
	if n := stale(t, k); n != 0 {
		t.Errorf("%d data keys are under an older version", n)
	}
	k.reopen()
	if p, _, err := get(k.s, objstore.GetRequest{Bucket: "bucket", Key: "a"}); err != nil || !bytes.Equal(p, data) {
		t.Error(err)
	}
	for i := range rewrapStep + 10 {
		if v, err := k.s.Setting(bg, fmt.Sprintf("s%d", i)); err != nil || v[0] != byte(i) {
			t.Error(i, err)
		}
	}
}

// TestRewrapIsFinishedAfterACrash: whatever a crash in the middle leaves opens,
// and another call moves the rest.
func TestRewrapIsFinishedAfterACrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	k, _ := newStack(t, nil)
	for i := range 2*rewrapStep + 10 {
		if err := k.s.update(bg, objstore.Caller{}, "test", "", func(x *tx) error {
			id, rec, err := k.s.newDEK(bg, EKSSES3, kms.Context{"i": fmt.Sprint(i)})
			x.txn.Set(record.DEKKey(id), rec.Append(nil))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	data := bytesOf(3, 70_000)
	put(t, k.s, "a", data)
	if err := errors.Join(k.s.durable(bg), k.keys.Rotate(bg, EKSSES3)); err != nil {
		t.Fatal(err)
	}
	total := len(deksOf(t, k.s))
	// The middle: two of three steps are taken, and not made durable.
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	service := &countedRewrapper{Builtin: k.keys, left: rewrapStep + 5, stop: cancel}
	k.s.o.KMS = service
	if n, err := k.s.RewrapKeys(ctx, ""); err == nil || n != rewrapStep {
		t.Fatalf("interrupted: %d, %v", n, err)
	}
	for _, percent := range []int{0, 50, 100} {
		c := k.crash(rng, percent)
		if err := c.open(false); err != nil {
			t.Fatal(err)
		}
		left := stale(t, c)
		if left != total && left != total-rewrapStep {
			t.Errorf("%d %% kept: %d of %d are under the old version: half a step", percent, left, total)
		}
		if n, err := c.s.RewrapKeys(bg, ""); err != nil || n != left || stale(t, c) != 0 {
			t.Errorf("%d %% kept: moved %d of %d, %v", percent, n, left, err)
		}
		if p, _, err := get(c.s, objstore.GetRequest{Bucket: "bucket", Key: "a"}); err != nil || !bytes.Equal(p, data) {
			t.Error(err)
		}
		c.close()
	}
}

// countedRewrapper cancels after so many calls.
type countedRewrapper struct {
	*kms.Builtin
	left int
	stop func()
}

func (c *countedRewrapper) Rewrap(ctx context.Context, sealed []byte, kc kms.Context) ([]byte, error) {
	if c.left--; c.left < 0 {
		c.stop()
	}
	return c.Builtin.Rewrap(ctx, sealed, kc)
}

func TestRewrapPassesDamageBy(t *testing.T) {
	k, _ := newStack(t, nil)
	var bad record.DEKID
	if err := k.s.update(bg, objstore.Caller{}, "test", "", func(x *tx) error {
		id, rec, err := k.s.newDEK(bg, EKSSES3, kms.Context{"i": "1"})
		rec.Sealed[len(rec.Sealed)-1] ^= 1
		x.txn.Set(record.DEKKey(id), rec.Append(nil))
		bad = id
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := k.keys.Rotate(bg, EKSSES3); err != nil {
		t.Fatal(err)
	}
	all := len(deksOf(t, k.s))
	n, err := k.s.RewrapKeys(bg, "")
	if err != nil || n != all-1 || k.s.corruptions.Load() != 1 {
		t.Errorf("moved %d of %d, %d damaged: %v", n, all, k.s.corruptions.Load(), err)
	}
	if _, err := k.s.dek(bg, bad); !objstore.IsKind(err, objstore.KindCorrupt) || strings.Contains(err.Error(), "not found") {
		t.Errorf("damaged data key: %v", err)
	}
}

// TestFileUnderAnExternalKeyStaysUnderIt: whatever a mount writes to it, though
// its bucket's default is another; and opens while the key is enabled, whoever
// has it open already.
func TestFileUnderAnExternalKeyStaysUnderIt(t *testing.T) {
	for _, mode := range []objstore.SSEMode{objstore.SSEKMS, objstore.SSEDSSE} {
		for _, size := range []int{20, 150_000} {
			k, root := newStack(t, nil)
			if err := k.keys.Create(bg, "k1"); err != nil {
				t.Fatal(err)
			}
			_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{
				Bucket: "bucket", Key: "f", Body: bytes.NewReader(bytesOf(1, size)), Size: int64(size),
				Encryption: objstore.Encryption{Mode: mode, KMSKeyID: "k1"},
			})
			if err != nil {
				t.Fatal(err)
			}
			a, err := k.s.Lookup(bg, root, "f")
			if err != nil {
				t.Fatal(err)
			}
			is := func(want []byte) {
				t.Helper()
				p, info, err := get(k.s, objstore.GetRequest{Key: "f"})
				if err != nil || !bytes.Equal(p, want) || info.SSE.Mode != mode || info.SSE.KMSKeyID != k.s.keyARN("k1") {
					t.Errorf("mode %d: %d bytes, want %d; %+v, %v", mode, len(p), len(want), info.SSE, err)
				}
			}
			f, err := k.s.Open(bg, here, a.Inode, objstore.OpenFlags{Write: true, Truncate: true})
			if err != nil {
				t.Fatal(err)
			}
			is(nil)
			if _, err := f.WriteAt(bg, bytesOf(2, size+5), 0); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(bg); err != nil {
				t.Fatal(err)
			}
			is(bytesOf(2, size+5))

			if err := k.keys.Disable(bg, "k1"); err != nil {
				t.Fatal(err)
			}
			k.s.ForgetKeys("k1")
			if _, err := k.s.Open(bg, there, a.Inode, reading); !objstore.IsKind(err, objstore.KindKeyDisabled) {
				t.Errorf("opened beside who has it open: %v", err)
			}
			if _, err := f.WriteAt(bg, []byte("on"), 0); err != nil {
				t.Error(err)
			}
			if err := f.Close(bg); err != nil { // the file was open
				t.Error(err)
			}
			if _, err := k.s.Open(bg, here, a.Inode, reading); !objstore.IsKind(err, objstore.KindKeyDisabled) {
				t.Errorf("opened under a disabled key: %v", err)
			}
			if err := k.keys.Enable(bg, "k1"); err != nil {
				t.Fatal(err)
			}
			is(append([]byte("on"), bytesOf(2, size+5)[2:]...))
			k.reopen()
			is(append([]byte("on"), bytesOf(2, size+5)[2:]...))
			k.close()
		}
	}
}

// TestErasedKeyLosesItsObjectsAlone: they can be listed and removed, and a key
// that is made anew under the name is another one.
func TestErasedKeyLosesItsObjectsAlone(t *testing.T) {
	k, root := newStack(t, nil)
	putUnder := func(name, key string) error {
		_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{
			Bucket: "bucket", Key: name, Body: strings.NewReader("what " + name + " holds"), Size: -1,
			Encryption: objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: key},
		})
		return err
	}
	reads := func(name string) error {
		p, _, err := get(k.s, objstore.GetRequest{Key: name})
		if err == nil && string(p) != "what "+name+" holds" {
			err = fmt.Errorf("it holds %q", p)
		}
		return err
	}
	absent := func(err error) {
		t.Helper()
		var e *objstore.Error
		if !errors.As(err, &e) || e.Kind != objstore.KindNoSuchKey || !strings.Contains(e.Msg, "k1") {
			t.Errorf("%v, want that there is no such key", err)
		}
	}
	if err := errors.Join(k.keys.Create(bg, "k1"), k.keys.Create(bg, "k2"), putUnder("a", "k1"), putUnder("b", "k2"), reads("a")); err != nil {
		t.Fatal(err)
	}
	// A copy under another key needs the erased one no more, though it shares bytes.
	if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{
		SrcBucket: "bucket", SrcKey: "a", DstBucket: "bucket", DstKey: "copy",
		Encryption: objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: "k2"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := k.keys.ScheduleDeletion(bg, "k1", k.s.o.Now()); err != nil {
		t.Fatal(err)
	}
	if gone, err := k.keys.EraseDue(bg, k.s.o.Now().Add(1)); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	k.s.ForgetKeys("k1")
	for range 2 {
		absent(reads("a"))
		absent(putUnder("c", "k1"))
		if err := reads("b"); err != nil {
			t.Error(err)
		}
		if p, _, err := get(k.s, objstore.GetRequest{Key: "copy"}); err != nil || string(p) != "what a holds" {
			t.Errorf("the copy holds %q, %v", p, err)
		}
		list, err := k.s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "bucket", MaxKeys: 10})
		if err != nil || len(list.Entries) != 3 {
			t.Errorf("%v, %v", list, err)
		}
		k.reopen()
	}
	if err := errors.Join(k.keys.Create(bg, "k1"), putUnder("c", "k1"), reads("c")); err != nil {
		t.Errorf("the key made anew: %v", err)
	}
	absent(reads("a"))
	a, err := k.s.Lookup(bg, root, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.Open(bg, here, a.Inode, reading); !objstore.IsKind(err, objstore.KindNoSuchKey) {
		t.Errorf("opened: %v", err)
	}
	if err := k.s.Unlink(bg, here, root, "a"); err != nil {
		t.Error(err)
	}
}
