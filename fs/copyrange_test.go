package fs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// randomBytes returns n bytes that cannot be compressed, the same for one seed.
func randomBytes(seed uint64, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p)
	return p
}

// TestCopySharesContents: cp in the mount moves no data, and neither file changes with
// the other.
func TestCopySharesContents(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		want := randomBytes(1, 9<<20+4567)
		from, to := m.path("from"), m.path("to")
		if err := os.WriteFile(from, want, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := m.store.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := m.made.Appended()
		if out, err := exec.Command("cp", "-p", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if wrote := m.made.Appended() - before; wrote > 0 {
			t.Errorf("cp moved %d bytes", wrote)
		}
		wantContent(t, to, string(want))
		if got := m.get(t, "to"); !bytes.Equal(got, want) {
			t.Error("S3 reads something else")
		}
		a, b := append([]byte(nil), want...), append([]byte(nil), want...)
		copy(a[5<<20:], "of the first")
		copy(b[8<<20:], "of the second")
		for path, at := range map[string]struct {
			off int64
			p   string
		}{from: {5 << 20, "of the first"}, to: {8 << 20, "of the second"}} {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte(at.p), at.off)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []struct {
			path, key string
			want      []byte
		}{{from, "from", a}, {to, "to", b}} {
			wantContent(t, f.path, string(f.want))
			if got := m.get(t, f.key); !bytes.Equal(got, f.want) {
				t.Errorf("S3 reads something else of %s", f.key)
			}
		}
	})
}

// TestCopiedRangesAreThose: copy_file_range(2) does what POSIX read and write would
// have done, shared or not, with bytes that the kernel has not written back yet and
// pages of the target in its cache.
func TestCopiedRangesAreThose(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		r := rand.New(rand.NewPCG(1, 2))
		var files [3]*os.File
		var want [3][]byte
		for i := range files {
			f, err := os.OpenFile(m.path(string(rune('a'+i))), os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			files[i] = f
		}
		put := func(i int, p []byte, off int) {
			if len(p) == 0 {
				return
			}
			if grown := off + len(p) - len(want[i]); grown > 0 {
				want[i] = append(want[i], make([]byte, grown)...)
			}
			copy(want[i][off:], p)
		}
		for step := range 60 {
			i, j := r.IntN(3), r.IntN(3)
			switch r.IntN(4) {
			case 0:
				p, off := randomBytes(uint64(step), 1+r.IntN(3<<20)), r.IntN(len(want[i])+5000)
				if _, err := files[i].WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
				put(i, p, off)
			case 1:
				size := r.IntN(len(want[i]) + 100_000)
				if err := files[i].Truncate(int64(size)); err != nil {
					t.Fatal(err)
				}
				want[i] = append(want[i], make([]byte, max(size-len(want[i]), 0))...)[:size]
			default:
				if i == j || len(want[i]) > 24<<20 {
					continue
				}
				src, off := int64(r.IntN(len(want[j])+1)), int64(len(want[i]))
				if r.IntN(2) == 0 {
					src = 0
				}
				if r.IntN(4) == 0 {
					off = int64(r.IntN(len(want[i]) + 1))
				}
				s, o := src, off
				n, err := unix.CopyFileRange(int(files[j].Fd()), &s, int(files[i].Fd()), &o, 1+r.IntN(12<<20), 0)
				if err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				if n == 0 && int(src) < len(want[j]) || o != off+int64(n) {
					t.Fatalf("step %d: %d bytes of %d at %d, to %d", step, n, len(want[j]), src, o)
				}
				put(i, bytes.Clone(want[j][src:int(src)+n]), int(off))
			}
			got := make([]byte, len(want[i])+1)
			n, _ := files[i].ReadAt(got, 0)
			if !bytes.Equal(got[:n], want[i]) {
				t.Fatalf("step %d: other bytes, or %d in place of %d", step, n, len(want[i]))
			}
		}
	})
}
