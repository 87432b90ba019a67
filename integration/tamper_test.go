package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Each file of a cleanly stopped store is flipped, cut, removed or replaced by a pipe,
// which would make whoever opens it wait. The store is
// refused, or reads fail with InternalError and a line in the log: never is
// there other data, and the daemon lives on. fsck knows before anybody reads. Where
// keystore or superblock is damaged, it is said how its second copy takes its place,
// and a copy that is damaged is told and made anew.
func TestDamageIsDetected(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	r := rand.New(rand.NewSource(seed(t)))
	ctx := context.Background()
	h.Serve()
	c := h.NewS3()
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: ptr(bucket)}); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for i, size := range []int{10, 5000, 200 << 10, 3 << 20} {
		key := fmt.Sprintf("k%d", i)
		want[key] = content(int64(i), size)
		if err := c.Put(ctx, bucket, key, want[key]); err != nil {
			t.Fatal(err)
		}
	}
	h.Signal(syscall.SIGTERM)
	pristine := h.Path("pristine")
	restore := func() {
		t.Helper()
		os.RemoveAll(h.Path("store"))
		if r := h.Exec(nil, "cp", "-a", "--sparse=always", pristine, h.Path("store")); r.Code != 0 {
			t.Fatal(r)
		}
	}
	if err := os.Rename(h.Path("store"), pristine); err != nil {
		t.Fatal(err)
	}
	whole := func(file string) []byte {
		b, err := os.ReadFile(pristine + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var files []string
	if err := filepath.WalkDir(pristine, func(path string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(path, pristine+"/")
		if err == nil && d.Type().IsRegular() && rel != "lock" && !strings.HasPrefix(rel, "run/") && !strings.HasSuffix(rel, "RESERVE") {
			files = append(files, rel)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	refused, failed, harmless, mended := 0, 0, 0, 0
	for _, file := range files {
		for _, how := range []string{"flip", "cut", "remove", "pipe"} {
			restore()
			path := h.Path("store/" + file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case how == "remove":
				err = os.Remove(path)
			case how == "pipe":
				err = errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
			case len(b) == 0:
				continue
			case how == "flip":
				b[r.Intn(len(b))] ^= 1 << r.Intn(8)
				err = os.WriteFile(path, b, 0o600)
			default:
				err = os.WriteFile(path, b[:r.Intn(len(b))], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			logged := len(h.Logs())
			check := h.Exec(nil, program, "fsck")
			if check.Code == 0 != strings.Contains(check.Stdout, " 0 damaged") {
				t.Errorf("%s %s: fsck says %v", how, file, check)
			}
			if out := h.TryServe(); out != nil {
				if out.Code != 1 || !strings.Contains(out.Stderr, "coffer: ") || strings.Contains(out.Stderr, "panic") {
					t.Errorf("%s %s: %v", how, file, out)
				}
				if check.Code == 0 {
					t.Errorf("%s %s: refused, but not by fsck: %v", how, file, out)
				}
				if (file == "keystore" || file == "superblock") && !strings.Contains(out.Stderr, "newer coffer") &&
					!strings.Contains(out.Stderr, "cp -p "+path+".copy "+path) {
					t.Errorf("%s %s: the copy is not named: %v", how, file, out)
				}
				refused++
				continue
			}
			if original, ok := strings.CutSuffix(file, ".copy"); ok {
				line := regexp.MustCompile(`level=WARN msg="a second copy .* file=` + regexp.QuoteMeta(path) + " ")
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole(original)) {
					t.Errorf("%s %s: not made anew, %v", how, file, err)
				}
				if check.Code != 4 || !strings.Contains(check.Stdout, file) || !line.MatchString(h.Logs()[logged:]) {
					t.Errorf("%s %s: not noticed: %v", how, file, check)
				}
				mended++
			}
			c := h.NewS3()
			bad := 0
			for key, body := range want {
				got, err := c.Get(ctx, bucket, key)
				if err != nil {
					bad++
				} else if !bytes.Equal(got, body) {
					t.Errorf("%s %s: %s reads as %s", how, file, key, brief(got))
				}
			}
			switch {
			case bad > 0 && check.Code == 0:
				t.Errorf("%s %s: fsck did not find what cannot be read", how, file)
			case bad > 0:
				failed++
			default:
				harmless++
			}
			h.Signal(syscall.SIGTERM)
		}
	}
	t.Logf("%d files: %d times refused, %d times reads failed, %d times nothing that is read was hit, %d times a copy", len(files), refused, failed, harmless, mended)
	if refused == 0 || failed == 0 || mended != 8 {
		t.Error("no damage was refused, or none was found by reading, or not all of the copies'")
	}
	restore()
	h.Serve()
	got, err := h.NewS3().Get(ctx, bucket, "k3")
	if err != nil || !bytes.Equal(got, want["k3"]) {
		t.Errorf("restored: %s, %v", brief(got), err)
	}
	h.Signal(syscall.SIGTERM)
}
