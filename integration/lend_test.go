package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// customerKey is a customer's key in a file.
type customerKey struct {
	key  []byte
	file string
}

func (h *House) newCustomerKey(seed int64) customerKey {
	h.t.Helper()
	key := content(seed, 32)
	file := h.writeFile("sse-c-"+hex.EncodeToString(key[:3])+".key", key)
	if err := os.Chmod(file, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return customerKey{key, file}
}

// put stores a file under a customer's key with aws-cli.
func (k customerKey) put(a *AWS, url string, p []byte) {
	a.h.t.Helper()
	a.OK("s3", "cp", "--no-progress", a.h.writeFile("up", p), url, "--sse-c", "AES256", "--sse-c-key", "fileb://"+k.file)
}

// get reads one.
func (k customerKey) get(a *AWS, url string) []byte {
	a.h.t.Helper()
	back := a.h.Path("down")
	a.OK("s3", "cp", "--no-progress", url, back, "--sse-c", "AES256", "--sse-c-key", "fileb://"+k.file)
	p, err := os.ReadFile(back)
	if err != nil {
		a.h.t.Fatal(err)
	}
	return p
}

// locked fails the test unless a file can be seen and not opened.
func locked(t *testing.T, path string, size int) {
	t.Helper()
	if st, err := os.Stat(path); err != nil || st.Size() != int64(size) {
		t.Errorf("stat without the key: %v, %v", st, err)
	}
	for what, open := range map[string]func() error{
		"read":     func() error { _, err := os.ReadFile(path); return err },
		"write":    func() error { return os.WriteFile(path, []byte("x"), 0o644) },
		"truncate": func() error { return os.Truncate(path, 0) },
	} {
		if err := open(); !errors.Is(err, syscall.ENOKEY) {
			t.Errorf("%s without the key: %v", what, err)
		}
	}
}

func holds(t *testing.T, path string, want []byte) {
	t.Helper()
	if p, err := os.ReadFile(path); err != nil || !bytes.Equal(p, want) {
		t.Errorf("%s holds %d bytes, want %d: %v", filepath.Base(path), len(p), len(want), err)
	}
}

// resident counts the pages of an open file that the kernel has cached.
func resident(t *testing.T, f *os.File, size int) (n int) {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	pages := make([]byte, (size+4095)/4096)
	if err := mincore(m, pages); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

// TestCustomersKeysAreLentToMounts: an object under SSE-C is a file that opens
// where its key was lent, and stays under that key whatever is written to it.
func TestCustomersKeysAreLentToMounts(t *testing.T) {
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://box")
	one, two := h.newCustomerKey(1), h.newCustomerKey(2)
	small, large := content(3, 3000), content(4, 20<<20) // the large one in parts
	one.put(aws, "s3://box/small", small)
	two.put(aws, "s3://box/large", large)
	box := func(name string) string { return filepath.Join(mnt, "box", name) }

	// Without a key: everything that needs none.
	locked(t, box("small"), len(small))
	locked(t, box("large"), len(large))
	if list, err := os.ReadDir(box("")); err != nil || len(list) != 2 {
		t.Error(list, err)
	}
	for _, f := range []func() error{
		func() error { return os.Mkdir(box("dir"), 0o755) },
		func() error { return os.Rename(box("small"), box("dir/renamed")) },
		func() error { return os.Chmod(box("dir/renamed"), 0o600) },
		func() error { return os.Link(box("dir/renamed"), box("small")) },
		func() error { return os.Remove(box("dir/renamed")) },
	} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}

	if out := h.OK("key", "lend", mnt, one.file); !strings.Contains(out, mnt+" has been lent 1 key") {
		t.Error(out)
	}
	holds(t, box("small"), small)
	locked(t, box("large"), len(large))
	h.OK("key", "lend", mnt, two.file, one.file)
	holds(t, box("large"), large)
	if out := h.OK("status"); !strings.Contains(out, "2 SSE-C keys lent") {
		t.Error(out)
	}
	// Written through the mount, by S3 it is the same file under the same key.
	f, err := os.OpenFile(box("large"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	copy(large[5<<20:], "changed in the mount")
	_, err = f.WriteAt([]byte("changed in the mount"), 5<<20)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	small = content(5, 70_000)
	if err := os.WriteFile(box("small"), small, 0); err != nil {
		t.Fatal(err)
	}
	if p := two.get(aws, "s3://box/large"); !bytes.Equal(p, large) {
		t.Error("large comes back otherwise")
	}
	if p := one.get(aws, "s3://box/small"); !bytes.Equal(p, small) {
		t.Error("small comes back otherwise")
	}
	aws.refuses([]string{"s3api", "get-object", "--bucket", "box", "--key", "small", h.Path("x")},
		"InvalidRequest", "The object was stored using a form of Server Side Encryption.")
	// A new object, also through S3, opens as well.
	one.put(aws, "s3://box/dir/new", small[:100])
	holds(t, box("dir/new"), small[:100])

	// Returned: what is open goes on, nothing else, and the kernel has forgotten it.
	if f, err = os.Open(box("large")); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds(t, box("large"), large)
	if n := resident(t, f, len(large)); n == 0 {
		t.Log("the kernel caches nothing here: that it forgets is not tested")
	}
	r := h.Coffer("key", "return", mnt, two.file)
	if r.Code != 0 || !strings.Contains(r.Stdout, "1 key returned; "+mnt+" has been lent 1 key") || !strings.Contains(r.Stderr, "1 open file stays readable") {
		t.Error(r)
	}
	if n := resident(t, f, len(large)); n != 0 {
		t.Errorf("the kernel still has %d pages of it", n)
	}
	locked(t, box("large"), len(large))
	holds(t, box("small"), small)
	p := make([]byte, 100)
	if _, err := f.ReadAt(p, 5<<20); err != nil || !bytes.Equal(p, large[5<<20:5<<20+100]) {
		t.Errorf("what was open: %v", err)
	}
	f.Close()
	if out := h.OK("key", "return", mnt); !strings.Contains(out, "1 key returned; "+mnt+" has been lent 0 keys") {
		t.Error(out)
	}
	locked(t, box("small"), len(small))
	if out := h.OK("key", "return", mnt); !strings.Contains(out, "0 keys returned") {
		t.Error(out)
	}
	if err := os.Remove(box("large")); err != nil {
		t.Error(err)
	}
	h.Umount()
	h.keysInNoLog(one, two)
}

// keysInNoLog fails the test if a log holds a key in any form.
func (h *House) keysInNoLog(keys ...customerKey) {
	h.t.Helper()
	logs := h.Logs()
	if !strings.Contains(logs, "customers' keys lent") && !strings.Contains(logs, "sse_c_keys=1") {
		h.t.Error("the log does not tell of the lending")
	}
	for _, k := range keys {
		for _, form := range []string{string(k.key), hex.EncodeToString(k.key), base64.StdEncoding.EncodeToString(k.key), base64.RawURLEncoding.EncodeToString(k.key)} {
			if strings.Contains(strings.ToLower(logs), strings.ToLower(form)) {
				h.t.Error("a key is in the log")
			}
		}
	}
}

// TestMountsHaveKeysOfTheirOwn: given when they are mounted, in any form, and
// to no other mount.
func TestMountsHaveKeysOfTheirOwn(t *testing.T) {
	h := NewHouse(t)
	h.Mount("--cache=through")
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://box")
	key := h.newCustomerKey(7)
	data := content(8, 200_000)
	key.put(aws, "s3://box/f", data)
	for name, text := range map[string]string{
		"raw": string(key.key), "base64": base64.StdEncoding.EncodeToString(key.key) + "\n", "hexadecimal": hex.EncodeToString(key.key) + "\n",
	} {
		dir := h.Mkdir("with-" + name)
		r := h.Coffer("mount", dir, "--cache=through", "--sse-c-key", h.writeFile(name, []byte(text)), "--sse-c-key", h.newCustomerKey(9).file, "--debug")
		if r.Code != 0 {
			t.Fatal(r)
		}
		holds(t, filepath.Join(dir, "box/f"), data)
		locked(t, filepath.Join(h.Path("mnt"), "box/f"), len(data))
		if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.Status().PID)); bytes.Contains(args, []byte(strings.TrimSpace(text))) {
			t.Error("the key is in the process list")
		}
		h.OK("umount", dir)
	}
	dir := h.Mkdir("another")
	for _, bad := range []string{h.writeFile("short", key.key[:31]), h.Path("none"), h.Dir} {
		if r := h.Coffer("mount", dir, "--sse-c-key", bad); r.Code != 1 || !strings.Contains(r.Stderr, "SSE-C key file") {
			t.Errorf("%s: %v", bad, r)
		}
		if r := h.Coffer("key", "lend", h.Path("mnt"), bad); r.Code != 1 || !strings.Contains(r.Stderr, "SSE-C key file") {
			t.Errorf("%s: %v", bad, r)
		}
	}
	open := h.writeFile("open", key.key)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := h.Coffer("key", "lend", h.Path("mnt"), open); r.Code != 0 || !strings.Contains(r.Stderr, "chmod 600") {
		t.Error(r)
	}
	for _, args := range [][]string{{"key", "lend", dir, key.file}, {"key", "return", dir}, {"key", "return", h.Path("nowhere")}} {
		if r := h.Coffer(args...); r.Code != 1 {
			t.Errorf("%v: %v", args, r)
		}
	}
	for _, args := range [][]string{{"key", "lend"}, {"key", "lend", h.Path("mnt")}, {"key", "return"}} {
		if r := h.Coffer(args...); r.Code != 2 {
			t.Errorf("%v: %v", args, r)
		}
	}
	h.Umount()
	h.keysInNoLog(key)

	// The daemon that a mount starts has its keys too, and the next has none.
	mnt := h.Mount("--sse-c-key", key.file)
	holds(t, mnt+"/box/f", data)
	h.Umount()
	h.Mount()
	locked(t, mnt+"/box/f", len(data))
	h.Umount()
}

// TestKeysFollowAMountThatIsDemoted: a mount that loses the writeback cache to
// another one keeps its keys, and shares them with nobody.
func TestKeysFollowAMountThatIsDemoted(t *testing.T) {
	NeedRoot(t, "mounting over mounts")
	h := NewHouse(t)
	key := h.newCustomerKey(11)
	first := h.Mount("--sse-c-key", key.file)
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://box")
	data := content(12, 50_000)
	key.put(aws, "s3://box/f", data)
	holds(t, first+"/box/f", data)
	// It would share the first one's caches, and with them its keys.
	second := h.Mkdir("second")
	h.OK("mount", second)
	for _, m := range h.Status().Mounts {
		if m.Cache != "through" {
			t.Errorf("%s has the cache %s", m.Mountpoint, m.Cache)
		}
	}
	holds(t, first+"/box/f", data)
	locked(t, second+"/box/f", len(data))
	h.OK("key", "return", first)
	locked(t, first+"/box/f", len(data))
	h.OK("key", "lend", second, key.file)
	holds(t, second+"/box/f", data)
	locked(t, first+"/box/f", len(data))
	h.OK("umount", second)
	h.Umount()
}
