package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// doors is one store seen through both doors.
type doors struct {
	*House
	mnt string
	s3  *S3
}

const bucket = "both"

func openDoors(t *testing.T, flags ...string) *doors {
	t.Helper()
	h := NewHouse(t)
	d := &doors{House: h, mnt: h.Mount(flags...), s3: h.NewS3()}
	if _, err := d.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: ptr(bucket)}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *doors) path(key string) string { return filepath.Join(d.mnt, bucket, key) }

func (d *doors) put(key string, b []byte) {
	d.t.Helper()
	if err := d.s3.Put(context.Background(), bucket, key, b); err != nil {
		d.t.Fatalf("put %s: %v", key, err)
	}
}

func (d *doors) mustGet(key string, want []byte) {
	d.t.Helper()
	got, err := d.s3.Get(context.Background(), bucket, key)
	if err != nil || !bytes.Equal(got, want) {
		d.t.Fatalf("get %s: %s, %v; want %s", key, brief(got), err, brief(want))
	}
}

func (d *doors) mustNotGet(key string) {
	d.t.Helper()
	if got, err := d.s3.Get(context.Background(), bucket, key); errorCode(err) != "NoSuchKey" {
		d.t.Fatalf("get %s: %s, %v; want NoSuchKey", key, brief(got), err)
	}
}

func eachCache(t *testing.T, fn func(t *testing.T, d *doors)) {
	for _, cache := range []string{"writeback", "through"} {
		t.Run(cache, func(t *testing.T) {
			d := openDoors(t, "--cache="+cache)
			fn(t, d)
			d.Umount()
		})
	}
}

func TestPutIsSeenInTheMountAtOnce(t *testing.T) {
	eachCache(t, func(t *testing.T, d *doors) {
		// The kernel knows that there is nothing, and has the directory's page.
		for range 2 {
			if _, err := os.Stat(d.path("dir/file")); !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if _, err := os.ReadDir(d.path("")); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 30 {
			want := content(int64(i), i*i*500)
			before := time.Now().Add(-time.Second).Truncate(time.Second)
			d.put("dir/file", want)
			st, err := os.Stat(d.path("dir/file"))
			if err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			if st.Size() != int64(len(want)) || st.ModTime().Before(before) {
				t.Fatalf("round %d: size %d, want %d; time %v", i, st.Size(), len(want), st.ModTime())
			}
			mustHold(t, d.path("dir/file"), want)
			entries, err := os.ReadDir(d.path("dir"))
			if err != nil || len(entries) != 1 {
				t.Fatalf("round %d: directory: %v, %v", i, entries, err)
			}
		}
		if err := d.s3.Delete(t.Context(), bucket, "dir/file"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(d.path("dir/file")); !os.IsNotExist(err) {
			t.Errorf("deleted, and: %v", err)
		}
		if _, err := os.Open(d.path("dir/file")); !os.IsNotExist(err) {
			t.Errorf("deleted, and: %v", err)
		}
	})
}

func TestOpenDescriptorStaysOnWhatItOpened(t *testing.T) {
	eachCache(t, func(t *testing.T, d *doors) {
		old := content(1, 300<<10)
		d.put("key", old)
		f, err := os.Open(d.path("key"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.ReadFull(f, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		d.put("key", []byte("new"))
		mustHold(t, d.path("key"), []byte("new"))
		got := make([]byte, len(old)+1)
		n, err := f.ReadAt(got, 0)
		if err != io.EOF || !bytes.Equal(got[:n], old) {
			t.Errorf("the descriptor reads %s, %v", brief(got[:n]), err)
		}
		if err := d.s3.Delete(t.Context(), bucket, "key"); err != nil {
			t.Fatal(err)
		}
		if n, err = f.ReadAt(got, 0); err != io.EOF || !bytes.Equal(got[:n], old) {
			t.Errorf("after the deletion the descriptor reads %s, %v", brief(got[:n]), err)
		}
	})
}

func TestClosedFileIsSeenByS3AtOnce(t *testing.T) {
	eachCache(t, func(t *testing.T, d *doors) {
		for i := range 30 {
			want := content(int64(i), 1+i*i*700)
			if err := os.WriteFile(d.path("file"), want, 0o644); err != nil {
				t.Fatal(err)
			}
			d.mustGet("file", want)
			head, err := d.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: ptr(bucket), Key: ptr("file")})
			if err != nil || *head.ContentLength != int64(len(want)) {
				t.Fatalf("head: %v, %v", head, err)
			}
		}
		// fsync is as good as close.
		f, err := os.Create(d.path("synced"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i := range 5 {
			if _, err := fmt.Fprintf(f, "line %d\n", i); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			want, _ := os.ReadFile(d.path("synced"))
			d.mustGet("synced", want)
			if !strings.HasSuffix(string(want), fmt.Sprintf("line %d\n", i)) {
				t.Fatalf("%q", want)
			}
		}
	})
}

func TestNamesChangeForBothDoors(t *testing.T) {
	eachCache(t, func(t *testing.T, d *doors) {
		d.put("a/b/c", []byte("1"))
		if err := os.Rename(d.path("a"), d.path("z")); err != nil {
			t.Fatal(err)
		}
		d.mustNotGet("a/b/c")
		d.mustGet("z/b/c", []byte("1"))
		if err := os.Link(d.path("z/b/c"), d.path("twin")); err != nil {
			t.Fatal(err)
		}
		d.mustGet("twin", []byte("1"))
		// A PUT replaces one name, not the file behind both.
		d.put("twin", []byte("2"))
		mustHold(t, d.path("z/b/c"), []byte("1"))
		if err := os.Remove(d.path("z/b/c")); err != nil {
			t.Fatal(err)
		}
		d.mustNotGet("z/b/c")
		keys, err := d.s3.Keys(t.Context(), bucket, "")
		// What the mount changed is explicit from then on: z/ and z/b/ stay.
		if err != nil || !slices.Equal(keys, []string{"twin", "z/", "z/b/"}) {
			t.Errorf("keys %q, %v", keys, err)
		}
		if err := os.Symlink("twin", d.path("link")); err != nil {
			t.Fatal(err)
		}
		d.mustNotGet("link")
	})
}

// Both doors at the same names, one step after the other: each step is looked
// at through both.
func TestDoorsTakeTurns(t *testing.T) {
	eachCache(t, func(t *testing.T, d *doors) {
		r := rand.New(rand.NewSource(seed(t)))
		have := map[string][]byte{} // files
		dirs := []string{"", "p/", "q/", "p/s/"}
		for _, dir := range dirs[1:] {
			if err := os.MkdirAll(d.path(dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		// Descriptors that were opened on what was there then.
		type held struct {
			f    *os.File
			want []byte
		}
		var open []held
		defer func() {
			for _, h := range open {
				h.f.Close()
			}
		}()
		steps := 400
		if long() {
			steps = 10000
		}
		for i := range steps {
			key := fmt.Sprintf("%sk%d", dirs[r.Intn(len(dirs))], r.Intn(4))
			other := fmt.Sprintf("%sk%d", dirs[r.Intn(len(dirs))], r.Intn(4))
			b := make([]byte, r.Intn(9000))
			r.Read(b)
			what := ""
			var err error
			switch r.Intn(8) {
			case 0, 1:
				what, have[key] = "put "+key, b
				err = d.s3.Put(t.Context(), bucket, key, b)
			case 2, 3:
				what, have[key] = "write "+key, b
				// A new file in place of the old: descriptors stay on what they have.
				if err = os.Remove(d.path(key)); err == nil || os.IsNotExist(err) {
					err = os.WriteFile(d.path(key), b, 0o644)
				}
			case 4:
				what = "delete " + key
				delete(have, key)
				err = d.s3.Delete(t.Context(), bucket, key)
			case 5:
				what = "unlink " + key
				err = os.Remove(d.path(key))
				if _, ok := have[key]; !ok && os.IsNotExist(err) {
					err = nil
				}
				delete(have, key)
			case 6:
				if have[key] == nil || key == other {
					continue
				}
				what, have[other] = "rename "+key+" "+other, have[key]
				delete(have, key)
				err = os.Rename(d.path(key), d.path(other))
			case 7:
				if have[key] == nil || key == other {
					continue
				}
				what, have[other] = "copy "+key+" "+other, have[key]
				_, err = d.s3.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: ptr(bucket), Key: &other, CopySource: ptr(bucket + "/" + key)})
			}
			if err != nil {
				t.Fatalf("step %d: %s: %v", i, what, err)
			}
			for _, k := range []string{key, other} {
				want, ok := have[k]
				got, err := os.ReadFile(d.path(k))
				if ok && (err != nil || !bytes.Equal(got, want)) || !ok && !os.IsNotExist(err) {
					t.Fatalf("step %d: %s: the mount has %s at %s (%v), want %s (%v)", i, what, brief(got), k, err, brief(want), ok)
				}
				if ok {
					d.mustGet(k, want)
				} else {
					d.mustNotGet(k)
				}
			}
			if want, ok := have[key]; ok && r.Intn(4) == 0 {
				f, err := os.Open(d.path(key))
				if err != nil {
					t.Fatal(err)
				}
				if open = append(open, held{f, want}); len(open) > 20 {
					open[0].f.Close()
					open = open[1:]
				}
			}
			if i%20 == 0 {
				d.mustList(have, dirs[1:])
				for _, h := range open {
					got := make([]byte, len(h.want)+1)
					if n, err := h.f.ReadAt(got, 0); err != io.EOF || !bytes.Equal(got[:n], h.want) {
						t.Fatalf("step %d: a descriptor reads %s, %v; it was opened on %s", i, brief(got[:n]), err, brief(h.want))
					}
				}
			}
		}
	})
}

// mustList compares the listing and the tree in the mount with what is there.
func (d *doors) mustList(have map[string][]byte, dirs []string) {
	d.t.Helper()
	want := slices.Clone(dirs)
	for k := range have {
		want = append(want, k)
	}
	sort.Strings(want)
	keys, err := d.s3.Keys(context.Background(), bucket, "")
	if err != nil || !slices.Equal(keys, want) {
		d.t.Fatalf("S3 lists %q, %v; want %q", keys, err, want)
	}
	var seen []string
	root := d.path("")
	err = filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == root {
			return err
		}
		name := strings.TrimPrefix(path, root+"/")
		if info.IsDir() {
			name += "/"
		} else if info.Size() != int64(len(have[name])) {
			return fmt.Errorf("%s has size %d, want %d", name, info.Size(), len(have[name]))
		}
		seen = append(seen, name)
		return nil
	})
	sort.Strings(seen)
	if err != nil || !slices.Equal(seen, want) {
		d.t.Fatalf("the mount lists %q, %v; want %q", seen, err, want)
	}
}

func TestBucketsComeAndGoThroughBothDoors(t *testing.T) {
	d := openDoors(t)
	if err := os.Mkdir(filepath.Join(d.mnt, "made-here"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := d.s3.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: ptr("made-here")}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"No", "x", "a_b", "-ab", "192.168.0.1", strings.Repeat("a", 64)} {
		if err := os.Mkdir(filepath.Join(d.mnt, bad), 0o755); !isErrno(err, syscall.EINVAL) {
			t.Errorf("mkdir %s: %v, want EINVAL", bad, err)
		}
	}
	if err := d.s3.Put(t.Context(), "made-here", "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(d.mnt, "made-here")); !isErrno(err, syscall.ENOTEMPTY) {
		t.Errorf("rmdir of a full bucket: %v", err)
	}
	if err := os.Remove(filepath.Join(d.mnt, "made-here/k")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(d.mnt, "made-here")); err != nil {
		t.Error(err)
	}
	if _, err := d.s3.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: ptr("made-here")}); err == nil {
		t.Error("the bucket is still there for S3")
	}
	// Across buckets rename is EXDEV, and mv copies.
	if err := os.Mkdir(filepath.Join(d.mnt, "second"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.put("k", []byte("moves"))
	if err := os.Rename(d.path("k"), filepath.Join(d.mnt, "second/k")); !isErrno(err, syscall.EXDEV) {
		t.Errorf("rename across buckets: %v", err)
	}
	if r := d.Exec(nil, "mv", d.path("k"), filepath.Join(d.mnt, "second/k")); r.Code != 0 {
		t.Errorf("mv: %v", r)
	}
	got, err := d.s3.Get(t.Context(), "second", "k")
	if err != nil || string(got) != "moves" {
		t.Errorf("%q, %v", got, err)
	}
	d.Umount()
}
