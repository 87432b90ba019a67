package engine

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
)

// Two mounts.
var (
	here  = objstore.Caller{Origin: 7, UID: 1, GID: 1}
	there = objstore.Caller{Origin: 8, UID: 1, GID: 1}
)

// putSSEC stores an object under a customer's key and returns its inode.
func putSSEC(t *testing.T, k *stack, root objstore.InodeID, name string, p []byte, key *secret.Key) objstore.InodeID {
	t.Helper()
	_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{
		Bucket: "bucket", Key: name, Body: bytes.NewReader(p), Size: int64(len(p)),
		Encryption: objstore.Encryption{Mode: objstore.SSEC, CustomerKey: key},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.s.Lookup(bg, root, name)
	if err != nil {
		t.Fatal(err)
	}
	return a.Inode
}

// getSSEC reads an object with a customer's key.
func getSSEC(k *stack, name string, key *secret.Key) ([]byte, error) {
	req := objstore.GetRequest{Key: name}
	if key != nil {
		req.CustomerKey = objstore.Encryption{Mode: objstore.SSEC, CustomerKey: key}
	}
	p, info, err := get(k.s, req)
	if err == nil && (info.SSE.Mode == objstore.SSEC) != (key != nil) {
		err = errors.New("its mode is another one")
	}
	return p, err
}

func lend(t *testing.T, k *stack, c objstore.Caller, keys ...*secret.Key) {
	t.Helper()
	for _, key := range keys {
		if err := k.s.LendKeys(c.Origin, key.Clone()); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	reading = objstore.OpenFlags{Read: true}
	writing = objstore.OpenFlags{Read: true, Write: true}
)

func TestFileUnderCustomersKeyOpensWhereItWasLent(t *testing.T) {
	k, root := newStack(t, nil)
	keys := []*secret.Key{secret.Random(), secret.Random(), secret.Random()}
	sizes := []int{10, 100_000, 9 << 20}
	var inodes []objstore.InodeID
	var data [][]byte
	for i, key := range keys {
		data = append(data, bytesOf(uint64(i), sizes[i]))
		inodes = append(inodes, putSSEC(t, k, root, "f"+string(rune('0'+i)), data[i], key))
	}
	refused := func(c objstore.Caller, ino objstore.InodeID) {
		t.Helper()
		for _, flags := range []objstore.OpenFlags{reading, writing, {Write: true, Truncate: true}} {
			if f, err := k.s.Open(bg, c, ino, flags); !objstore.IsKind(err, objstore.KindKeyRequired) || f != nil {
				t.Errorf("opened without the key: %v", err)
			}
		}
		for _, size := range []int64{0, 5} {
			if _, err := k.s.SetAttr(bg, c, ino, objstore.SetAttr{Size: &size}); !objstore.IsKind(err, objstore.KindKeyRequired) {
				t.Errorf("cut to %d without the key: %v", size, err)
			}
		}
	}
	opens := func(c objstore.Caller, i int) *File {
		t.Helper()
		f, err := k.s.Open(bg, c, inodes[i], reading)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "read with the lent key", readAll(t, f), data[i])
		return f
	}
	refused(here, inodes[0])
	lend(t, k, here, keys[1], keys[0], keys[1])
	if n := k.s.LentKeys(here.Origin); n != 2 {
		t.Errorf("%d keys are lent", n)
	}
	f := opens(here, 0)
	defer f.Close(bg)
	opens(here, 1).Close(bg)
	refused(here, inodes[2])
	// The other mount has no key, though the file is open.
	refused(there, inodes[0])
	refused(objstore.Caller{}, inodes[0])
	lend(t, k, there, keys[2], keys[0])
	opens(there, 2).Close(bg)
	opens(there, 0).Close(bg)

	// Returned, it opens no more; what is open goes on until it is closed.
	if !k.s.ReturnKey(here.Origin, keys[0]) || k.s.ReturnKey(here.Origin, keys[0]) {
		t.Error("a key is returned once")
	}
	refused(here, inodes[0])
	opens(there, 0).Close(bg)
	if n := k.s.ReturnKeys(there.Origin); n != 2 {
		t.Errorf("%d keys returned", n)
	}
	refused(there, inodes[0])
	refused(there, inodes[2])
	same(t, "open still", readAll(t, f), data[0])
	if n := k.s.CustomerKeysInUse(); n != 1 {
		t.Errorf("%d open files have keys that were returned", n)
	}
	if err := f.Close(bg); err != nil {
		t.Error(err)
	}
	if n := k.s.CustomerKeysInUse(); n != 0 {
		t.Errorf("%d open files have keys that were returned", n)
	}
	opens(here, 1).Close(bg)
}

// TestFileUnderCustomersKeyStaysUnderIt: whatever a mount writes to it.
func TestFileUnderCustomersKeyStaysUnderIt(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(*testing.T, *stack, objstore.InodeID) error
		want func([]byte) []byte
	}{
		"overwritten": {func(t *testing.T, k *stack, ino objstore.InodeID) error {
			f, err := k.s.Open(bg, here, ino, writing)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(bg, []byte("new"), 1)
			return errors.Join(err, f.Sync(bg), f.Close(bg))
		}, func(p []byte) []byte { copy(p[1:], "new"); return p }},
		"grown beyond one chunk": {func(t *testing.T, k *stack, ino objstore.InodeID) error {
			f, err := k.s.Open(bg, here, ino, writing)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(bg, bytesOf(9, 5<<20), 200_000)
			return errors.Join(err, f.Close(bg))
		}, func(p []byte) []byte {
			return append(append(p, make([]byte, 200_000-len(p))...), bytesOf(9, 5<<20)...)
		}},
		"opened with O_TRUNC and written": {func(t *testing.T, k *stack, ino objstore.InodeID) error {
			f, err := k.s.Open(bg, here, ino, objstore.OpenFlags{Write: true, Truncate: true})
			if err != nil {
				return err
			}
			_, err = f.WriteAt(bg, bytesOf(8, 300_000), 0)
			return errors.Join(err, f.Close(bg))
		}, func([]byte) []byte { return bytesOf(8, 300_000) }},
		"opened with O_TRUNC": {func(t *testing.T, k *stack, ino objstore.InodeID) error {
			f, err := k.s.Open(bg, here, ino, objstore.OpenFlags{Write: true, Truncate: true})
			if err != nil {
				return err
			}
			return f.Close(bg)
		}, func([]byte) []byte { return nil }},
		"cut to nothing, closed, and written": {func(t *testing.T, k *stack, ino objstore.InodeID) error {
			zero := int64(0)
			if _, err := k.s.SetAttr(bg, here, ino, objstore.SetAttr{Size: &zero}); err != nil {
				return err
			}
			f, err := k.s.Open(bg, here, ino, writing)
			if err != nil {
				return err
			}
			_, err = f.Append(bg, []byte("tail"))
			return errors.Join(err, f.Close(bg))
		}, func([]byte) []byte { return []byte("tail") }},
		"cut": {func(t *testing.T, k *stack, ino objstore.InodeID) error {
			size := int64(17)
			_, err := k.s.SetAttr(bg, here, ino, objstore.SetAttr{Size: &size})
			return err
		}, func(p []byte) []byte { return p[:17] }},
		"renamed and linked": {func(t *testing.T, k *stack, ino objstore.InodeID) error {
			b, err := k.s.HeadBucket(bg, s3C, "bucket")
			if err != nil {
				return err
			}
			if _, err := k.s.Link(bg, here, ino, b.Root, "g"); err != nil {
				return err
			}
			return k.s.Rename(bg, there, b.Root, "g", b.Root, "f", 0)
		}, func(p []byte) []byte { return p }},
	} {
		for _, size := range []int{20, 150_000} {
			t.Run(name, func(t *testing.T) {
				k, root := newStack(t, nil)
				key := secret.Random()
				was := bytesOf(1, size)
				ino := putSSEC(t, k, root, "f", was, key)
				lend(t, k, here, key)
				if err := change.do(t, k, ino); err != nil {
					t.Fatal(err)
				}
				want := change.want(bytes.Clone(was))
				for range 2 {
					if p, err := getSSEC(k, "f", key); err != nil || !bytes.Equal(p, want) {
						t.Errorf("%d bytes with the key, want %d: %v", len(p), len(want), err)
					}
					if _, err := getSSEC(k, "f", nil); !objstore.IsKind(err, objstore.KindKeyRequired) {
						t.Errorf("without the key: %v", err)
					}
					if _, err := getSSEC(k, "f", secret.Random()); !objstore.IsKind(err, objstore.KindWrongKey) {
						t.Errorf("with another key: %v", err)
					}
					k.reopen()
				}
			})
		}
	}
}

// TestVersionsSetAsideStayUnderTheirKey: what a mount writes in a bucket with
// versions leaves the one before, under the same key, also where the bucket
// refuses new objects under customers' keys.
func TestVersionsSetAsideStayUnderTheirKey(t *testing.T) {
	for _, blocked := range []bool{false, true} {
		for _, size := range []int{20, 150_000} {
			for _, flags := range []objstore.OpenFlags{writing, {Write: true, Truncate: true}} {
				k, root := newStack(t, nil)
				if err := k.s.SetBucketVersioning(bg, s3C, "bucket", objstore.VersioningEnabled); err != nil {
					t.Fatal(err)
				}
				key := secret.Random()
				was := bytesOf(1, size)
				ino := putSSEC(t, k, root, "f", was, key)
				if err := k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: objstore.SSES3, BlockSSEC: blocked}); err != nil {
					t.Fatal(err)
				}
				lend(t, k, here, key)
				f, err := k.s.Open(bg, here, ino, flags)
				if err != nil {
					t.Fatal(err)
				}
				now := bytesOf(2, size+100)
				if _, err := f.WriteAt(bg, now, 0); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(bg); err != nil {
					t.Fatal(err)
				}
				list, err := k.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 10})
				if err != nil || len(list.Entries) != 2 {
					t.Fatalf("%+v, %v", list, err)
				}
				for i, want := range [][]byte{now, was} {
					req := objstore.GetRequest{Key: "f", Version: list.Entries[i].Version}
					if _, _, err := get(k.s, req); !objstore.IsKind(err, objstore.KindKeyRequired) {
						t.Errorf("version %d without the key: %v", i, err)
					}
					req.CustomerKey = objstore.Encryption{Mode: objstore.SSEC, CustomerKey: key}
					if p, _, err := get(k.s, req); err != nil || !bytes.Equal(p, want) {
						t.Errorf("version %d: %d bytes, want %d: %v", i, len(p), len(want), err)
					}
				}
				k.close()
			}
		}
	}
}

func TestReturnedKeysAreWiped(t *testing.T) {
	k, _ := newStack(t, nil)
	var lent []*secret.Key
	for i := range 4 {
		key := secret.Random()
		lent = append(lent, key)
		if err := k.s.LendKeys(uint32(7+i/2), key); err != nil {
			t.Fatal(err)
		}
	}
	wiped := func() (n int) {
		for _, key := range lent {
			if key.String() == "key:wiped" {
				n++
			}
		}
		return n
	}
	k.s.ReturnKey(7, lent[0].Clone())
	if wiped() != 1 {
		t.Error("one was returned")
	}
	k.s.ReturnKeys(7)
	if wiped() != 2 {
		t.Error("two were returned")
	}
	k.close()
	if wiped() != 4 {
		t.Error("the store is closed")
	}
}

// TestKeysAreReturnedUnderReaders: with -race, and no use of a wiped key.
func TestKeysAreReturnedUnderReaders(t *testing.T) {
	k, root := newStack(t, nil)
	key := secret.Random()
	data := bytesOf(1, 70_000)
	ino := putSSEC(t, k, root, "f", data, key)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				f, err := k.s.Open(bg, here, ino, reading)
				if objstore.IsKind(err, objstore.KindKeyRequired) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				p := make([]byte, len(data))
				if _, err := f.ReadAt(bg, p, 0); err != nil || !bytes.Equal(p, data) {
					t.Errorf("other bytes, %v", err)
				}
				f.Close(bg)
			}
		})
	}
	for range 200 {
		lend(t, k, here, key)
		k.s.ReturnKey(here.Origin, key)
	}
	wg.Wait()
}

func underCustomersKey(mode objstore.SSEMode, _ kms.KeyID) bool { return mode == objstore.SSEC }

func TestFilesUnderCustomersKeysAreFound(t *testing.T) {
	k, root := newStack(t, nil)
	var want []objstore.InodeID
	for i := range 2100 { // more than one step
		name := "f" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		if i%700 == 0 {
			want = append(want, putSSEC(t, k, root, name, []byte("x"), secret.Random()))
		} else if _, err := putKey(k.s, root, name); err != nil {
			t.Fatal(err)
		}
	}
	var got []objstore.InodeID
	for ino, err := range k.s.FilesUnder(bg, underCustomersKey) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ino)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
