package mount

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/meta"
)

// openSmall makes a store on a small disk, which is returned.
func openSmall(t *testing.T) (s *store, disk string) {
	t.Helper()
	c := testConfig(t)
	disk = shortDir(t)
	if err := unix.Mount("coffer-test", disk, "tmpfs", 0, "size=220m"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	c.Store = filepath.Join(disk, "store")
	mustInit(t, c)
	s, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s, disk
}

// fillDisk takes all that is left of a disk, as another program does, and returns
// the file that it is in.
func fillDisk(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(disk, "other"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return f.Name()
}

// TestDataLeaveRoomToDelete: however often writes are tried on a small disk that is
// full, what they append does not take the room that removing something needs.
func TestDataLeaveRoomToDelete(t *testing.T) {
	s, _ := openSmall(t)
	var err error
	body := make([]byte, 1<<20)
	for i := range 3 {
		for err = nil; err == nil; {
			_, err = s.data.Append(t.Context(), body)
		}
		if !errors.Is(err, data.ErrNoSpace) {
			t.Fatal(err)
		}
		// The first one gives up the reserve of the metadata, which is room again.
		err := s.meta.Update(t.Context(), func(x meta.Txn) error {
			x.Delete(fmt.Appendf(nil, "no such key %d", i))
			return nil
		})
		if err != nil {
			t.Errorf("deletion %d: %v", i, err)
		}
	}
}

// TestOthersFillTheDiskAndLeave: what was appended before other programs filled the
// disk has its room. Should they take that, too, the metadata wait until there is
// some again, and whoever asks is told.
func TestOthersFillTheDiskAndLeave(t *testing.T) {
	s, disk := openSmall(t)
	appendOne := func() {
		t.Helper()
		if _, err := s.data.Append(t.Context(), make([]byte, 300_000)); err != nil {
			t.Fatal(err)
		}
		err := s.meta.Update(t.Context(), func(x meta.Txn) error {
			x.Set([]byte("key"), []byte("value"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	appendOne()
	other := fillDisk(t, disk)
	if err := s.data.Sync(t.Context()); err != nil {
		t.Fatalf("what was appended has no room: %v", err)
	}
	remove(t, other)

	appendOne()
	remove(t, filepath.Join(s.cfg.path(nameData), "RESERVE"))
	other = fillDisk(t, disk)
	if err := s.data.Sync(t.Context()); !errors.Is(err, data.ErrNoSpace) {
		t.Fatalf("a sync without room: %v", err)
	}
	if err := s.meta.Sync(t.Context()); !errors.Is(err, meta.ErrNoSpace) {
		t.Fatalf("metadata are written before their data are: %v", err)
	}
	remove(t, other)
	if err := s.meta.Sync(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	appendOne()
	if err := s.engine.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOthersTakeTheLastBlockOfTheLog: where other programs take even the room that is
// kept for the metadata, whoever writes is told, reads go on, and with room again so does
// all else: nothing has to be started again.
func TestOthersTakeTheLastBlockOfTheLog(t *testing.T) {
	s, disk := openSmall(t)
	by := objstore.S3Caller("AKIATEST")
	if _, err := s.engine.CreateBucket(t.Context(), by, objstore.CreateBucketRequest{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	put := func(key string) error {
		_, err := s.engine.PutObject(t.Context(), by, objstore.PutRequest{
			Bucket: "bucket", Key: key, Body: bytes.NewReader([]byte("body")), Size: 4,
		})
		return err
	}
	if err := put("before"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := s.meta.Update(t.Context(), func(x meta.Txn) error {
			for i := range 10 {
				x.Set(fmt.Appendf(nil, "key %d", i), make([]byte, 60<<10))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(s.cfg.path(nameMeta), "RESERVE")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		other := fillDisk(t, disk)
		if err := s.meta.Sync(t.Context()); !errors.Is(err, meta.ErrNoSpace) {
			t.Fatalf("a sync without room: %v", err)
		}
		if !s.meta.Stats().Waits {
			t.Error("the metadata do not say that they wait")
		}
		if err := put("full"); !objstore.IsKind(err, objstore.KindNoSpace) {
			t.Errorf("an object without room: %v", err)
		}
		if _, err := s.engine.HeadObject(t.Context(), by, objstore.GetRequest{Bucket: "bucket", Key: "before"}); err != nil {
			t.Errorf("a read meanwhile: %v", err)
		}
		remove(t, other)
		if err := s.engine.Sync(t.Context()); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		if err := s.meta.Sync(t.Context()); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		if err := put("after"); err != nil {
			t.Errorf("an object with room again: %v", err)
		}
	}
}

// TestAvailableCanBeWritten: what the store says is available is what objects can
// take, give or take what is written between two looks of the metadata at the disk.
func TestAvailableCanBeWritten(t *testing.T) {
	s, _ := openSmall(t)
	by := objstore.S3Caller("AKIATEST")
	if _, err := s.engine.CreateBucket(t.Context(), by, objstore.CreateBucketRequest{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	put := func(i int) error {
		_, err := s.engine.PutObject(t.Context(), by, objstore.PutRequest{
			Bucket: "bucket", Key: fmt.Sprint(i), Body: bytes.NewReader(make([]byte, size)), Size: size,
		})
		return err
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	before, err := s.engine.StatFS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for err = put(1); err == nil; err = put(int(n + 1)) {
		n++
	}
	if !objstore.IsKind(err, objstore.KindNoSpace) {
		t.Fatal(err)
	}
	after, err := s.engine.StatFS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes available, %d written, %d available then", before.Available, n*size, after.Available)
	if n*size < before.Available*9/10 || n*size > before.Available*11/10 {
		t.Errorf("%d bytes were available, %d could be written", before.Available, n*size)
	}
	if after.Available > 4<<20 || after.Free < 32<<20 {
		t.Errorf("of a full disk %+v is told", after)
	}
}

// TestKeyChangeWithoutRoomForBothChangesNothing, though there is for one of them. With
// room again it works. A store without copies opens on a full disk all the same.
func TestKeyChangeWithoutRoomForBothChangesNothing(t *testing.T) {
	s, disk := openSmall(t)
	c := *s.cfg
	before := storeFiles(t, c)
	change := func() error { return s.kms.Create(t.Context(), "k") }
	other := fillDisk(t, disk)
	for _, pages := range []int64{0, 1} {
		st, err := os.Stat(other)
		must(t, err)
		must(t, os.Truncate(other, st.Size()/4096*4096-pages*4096))
		if err := change(); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("room for %d files: %v", pages, err)
		}
		if found := storeFiles(t, c); !maps.Equal(found, before) {
			t.Errorf("room for %d files: changed, %q", pages, slices.Sorted(maps.Keys(found)))
		}
		if _, err := s.kms.Describe(t.Context(), "k"); !errors.Is(err, kms.ErrNotFound) {
			t.Errorf("room for %d files: %v", pages, err)
		}
	}
	f, err := os.OpenFile(other, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	var said bytes.Buffer
	s.originals = map[string][]byte{nameKeystore: []byte(before[nameKeystore]), nameSuperblock: []byte(before[nameSuperblock])}
	spoil(t, c, copyOf(nameKeystore), "flipped", nil)
	s.mendCopies(slog.New(slog.NewTextHandler(&said, nil)))
	if strings.Count(said.String(), "level=WARN") != 2 || !strings.Contains(said.String(), "cannot be written") {
		t.Errorf("a copy that cannot be mended: %s", &said)
	}
	remove(t, other)
	must(t, change())
	if found := storeFiles(t, c); found[nameKeystore] != found[copyOf(nameKeystore)] || found[nameKeystore] == before[nameKeystore] {
		t.Error("with room again the files are not the new ones")
	}
}
