package fs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
	"golang.org/x/sys/unix"
)

// versions renders all versions of the bucket: key, "*" for the latest, what it holds.
func (m *mounted) versions(t testing.TB) (out []string) {
	t.Helper()
	res, err := m.store.ListVersions(t.Context(), s3, objstore.ListVersionsRequest{Bucket: testBucket, MaxKeys: 1000})
	if err != nil || res.Truncated {
		t.Fatalf("%v, truncated %v", err, res.Truncated)
	}
	for _, e := range res.Entries {
		line := e.Key
		if e.Latest {
			line += "*"
		}
		if e.DeleteMarker {
			out = append(out, line+" marker")
			continue
		}
		var b strings.Builder
		err := m.store.GetObject(t.Context(), s3, objstore.GetRequest{Bucket: testBucket, Key: e.Key, Version: e.Version}, func(o *engine.Object) error {
			_, err := o.WriteTo(&b)
			return err
		})
		if err != nil {
			t.Errorf("%q version %q: %v", e.Key, e.Version, err)
		}
		out = append(out, line+" "+b.String())
	}
	return out
}

func (m *mounted) lists(t testing.TB, want ...string) {
	t.Helper()
	if got := m.versions(t); !slices.Equal(got, want) {
		t.Errorf("%q\nnot\n%q", got, want)
	}
}

// eachVersioned is eachMode for a bucket whose versioning is enabled.
func eachVersioned(t *testing.T, fn func(t *testing.T, m *mounted)) {
	eachMode(t, func(t *testing.T, m *mounted) {
		if err := m.store.SetBucketVersioning(t.Context(), s3, testBucket, objstore.VersioningEnabled); err != nil {
			t.Fatal(err)
		}
		fn(t, m)
	})
}

func TestEachFileThatIsWrittenIsAVersion(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		var want []string
		for i := range 5 { // one right behind the other: the kernel tells of closing late
			text := fmt.Sprint("text ", i)
			write(t, m.path("f"), text)
			want = append([]string{"f " + text}, want...)
		}
		want[0] = "f*" + want[0][1:]
		m.lists(t, want...)
		m.put(t, "f", "from S3")
		wantContent(t, m.path("f"), "from S3")
		if out, err := shell(m.dir, "echo -n shell > g && echo -n ' appends' >> g && rm f").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want[0] = "f" + want[0][2:]
		m.lists(t, append(append([]string{"f* marker", "f from S3"}, want...), "g* shell appends", "g shell")...)
		m.del(t, "g")
		if _, err := os.Stat(m.path("g")); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("a deleted object: %v", err)
		}
	})
}

func TestMountShowsWhatTakesThePlaceOfADeletedVersion(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		m.put(t, "dir/f", "one")
		m.put(t, "dir/f", "two")
		wantContent(t, m.path("dir/f"), "two")
		newest := func() objstore.VersionID {
			res, err := m.store.ListVersions(t.Context(), s3, objstore.ListVersionsRequest{Bucket: testBucket, MaxKeys: 1})
			if err != nil {
				t.Fatal(err)
			}
			return res.Entries[0].Version
		}
		drop := func() {
			t.Helper()
			if _, err := m.store.DeleteObject(t.Context(), s3, objstore.DeleteRequest{Bucket: testBucket, Key: "dir/f", Version: newest()}); err != nil {
				t.Fatal(err)
			}
			if err := m.store.WaitWatchers(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		drop()
		wantContent(t, m.path("dir/f"), "one")
		m.del(t, "dir/f")
		if _, err := os.Stat(m.path("dir")); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("a directory of versions: %v", err)
		}
		drop() // the marker
		wantContent(t, m.path("dir/f"), "one")
	})
}

func TestEditorsAndPackersInAVersionedBucket(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		script := `set -e
			echo -n one > f; echo -n two > f.tmp; mv f.tmp f
			mkdir d; echo -n x > d/x; mv d e; mkdir d; echo -n y > d/x
			cp -r d c; rm -r d; mv c d; test "$(cat d/x)" = y
			rm -r d e; test "$(ls)" = f; test "$(cat f)" = two`
		if out, err := shell(m.dir, script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got := slices.DeleteFunc(m.versions(t), func(l string) bool { return strings.HasPrefix(l, "d/") })
		want := []string{"e/x* marker", "e/x x", "f* two", "f one"}
		if !slices.Equal(got, want) {
			t.Errorf("%q\nnot\n%q", got, want)
		}
	})
}

func TestOpenFileKeepsItsBytesWhenItsVersionIsSetAside(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		write(t, m.path("f"), "old content")
		f, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m.put(t, "f", "from S3")
		if _, err := f.WriteAt([]byte("OLD"), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 100)
		if n, err := f.ReadAt(p, 0); err != io.EOF || string(p[:n]) != "OLD content" {
			t.Errorf("%q %v", p[:n], err)
		}
		m.lists(t, "f* from S3", "f old content")
		if err := f.Chmod(0600); err != nil {
			t.Errorf("chmod: %v", err)
		}
	})
}

func TestLockedFilesStayInTheMount(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		err := m.store.SetLockDefault(t.Context(), s3, testBucket, objstore.DefaultRetention{Mode: objstore.LockCompliance, Days: 1})
		if err != nil {
			t.Fatal(err)
		}
		write(t, m.path("f"), "one")
		write(t, m.path("f"), "two")
		if err := os.Rename(m.path("f"), m.path("g")); !errors.Is(err, syscall.EXDEV) {
			t.Errorf("rename of a locked file: %v", err)
		}
		if err := os.Link(m.path("f"), m.path("g")); !errors.Is(err, syscall.EPERM) {
			t.Errorf("link: %v", err)
		}
		if _, err := m.store.SetLegalHold(t.Context(), s3, objstore.LockRequest{Bucket: testBucket, Key: "f"}, objstore.HoldOn); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setxattr(m.path("f"), "user.s3.meta.a", []byte("1"), 0); err != unix.EPERM {
			t.Errorf("metadata of a locked object: %v", err)
		}
		was := modTime(t, m.path("f"))
		if err := os.Chtimes(m.path("f"), time.Time{}, time.Unix(1000, 0)); !errors.Is(err, syscall.EPERM) || !modTime(t, m.path("f")).Equal(was) {
			t.Errorf("mtime of a locked object: %v, was %v, is %v", err, was, modTime(t, m.path("f")))
		}
		if out, err := shell(m.dir, "touch -a f && chmod 600 f && chown 0:0 f").CombinedOutput(); err != nil {
			t.Errorf("what S3 does not see: %v: %s", err, out)
		}
		if err := os.Mkdir(m.path("d"), 0755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(m.path("d"), m.path("e")); !errors.Is(err, syscall.EXDEV) {
			t.Errorf("rename of a directory: %v", err)
		}
		if out, err := shell(m.dir, "rmdir d && mv f g && rm g").CombinedOutput(); err != nil { // mv copies
			t.Fatalf("%v: %s", err, out)
		}
		m.lists(t, "f* marker", "f two", "f one", "g* marker", "g two")
		for _, e := range func() []objstore.VersionEntry {
			res, _ := m.store.ListVersions(t.Context(), s3, objstore.ListVersionsRequest{Bucket: testBucket, MaxKeys: 100})
			return res.Entries
		}() {
			if !e.DeleteMarker && !e.Lock.Holds(objstore.TimeOf(time.Now()), true) {
				t.Errorf("%q is not locked: %+v", e.Key, e.Lock)
			}
		}
	})
}

func modTime(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func TestProgramsThatCopyKeepTimesUnderARetention(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		err := m.store.SetLockDefault(t.Context(), s3, testBucket, objstore.DefaultRetention{Mode: objstore.LockCompliance, Days: 1})
		if err != nil {
			t.Fatal(err)
		}
		from, when := t.TempDir(), time.Unix(1_600_000_000, 123456789)
		for _, name := range []string{"small", "empty"} {
			write(t, filepath.Join(from, name), map[string]string{"small": "some text"}[name])
			if err := os.Chtimes(filepath.Join(from, name), when, when); err != nil {
				t.Fatal(err)
			}
		}
		for what, command := range map[string]string{
			"cp":    "mkdir cp && cp -p $FROM/* cp",
			"tar":   "mkdir tar && tar -C $FROM -c --format=pax . | tar -C tar -xp",
			"rsync": "mkdir rsync && rsync -a --inplace $FROM/ rsync",
			"touch": "mkdir touch && cat $FROM/small >touch/small && touch -r $FROM/small touch/small touch/empty",
		} {
			if _, err := exec.LookPath(what); err != nil {
				continue
			}
			cmd := shell(m.dir, command)
			cmd.Env = append(os.Environ(), "FROM="+from)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", what, err, out)
				continue
			}
			for _, name := range []string{"small", "empty"} {
				if got := modTime(t, m.path(what+"/"+name)); !got.Equal(when) {
					t.Errorf("%s: %s is of %v", what, name, got)
				}
			}
		}
	})
}

// A lock that S3 sets between the data and the times of a file, which the kernel
// writes back one after the other, keeps the version's time. Nothing is lost, and
// close(2) says so.
func TestLockBeforeTheKernelsTimesDoesNotFailClose(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		if err := m.store.SetLockDefault(t.Context(), s3, testBucket, objstore.DefaultRetention{}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"created", "written"} {
			lockBeforeTimes(t, m, name)
		}
	})
}

// lockBeforeTimes locks a file whose time the kernel keeps since it was made, or
// since it was written to.
func lockBeforeTimes(t *testing.T, m *mounted, name string) {
	t.Helper()
	f, err := os.Create(m.path(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if name == "written" {
		nextTick(t)
	}
	if _, err := f.WriteString("data"); err != nil {
		t.Fatal(err)
	}
	nextTick(t) // what the daemon takes for the time of the write
	if err := unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER); err != nil {
		t.Fatal(err)
	}
	if err := m.store.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.store.SetLegalHold(t.Context(), s3, objstore.LockRequest{Bucket: testBucket, Key: name}, objstore.HoldOn); err != nil {
		t.Fatal(err)
	}
	locked, err := m.store.HeadObject(t.Context(), s3, objstore.GetRequest{Bucket: testBucket, Key: name})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("%s: close: %v", name, err)
	}
	wantContent(t, m.path(name), "data")
	now, err := m.store.HeadObject(t.Context(), s3, objstore.GetRequest{Bucket: testBucket, Key: name})
	if err != nil || now.LastModified != locked.LastModified {
		t.Errorf("%s: %v, %v is %v", name, err, locked.LastModified, now.LastModified)
	}
	// Who sets a time is still told.
	if err := os.Chtimes(m.path(name), time.Time{}, time.Unix(1000, 0)); !errors.Is(err, syscall.EPERM) {
		t.Errorf("%s: utimensat: %v", name, err)
	}
}
