package mount

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const testTable = `27 1 254:0 / / rw,relatime - ext4 /dev/root rw
36 27 0:40 / /mnt/a\040b rw,nosuid shared:3 master:1 - fuse.coffer coffer:/srv/my\040store rw,user_id=0
37 27 0:41 / /mnt/c rw - tmpfs tmpfs rw
38 37 0:40 /photos /mnt/c rw - fuse.coffer coffer rw
39 27 0:44 / /mnt/d rw - fuse.sshfs me@host:/\134x rw
`

func TestMountTableIsReadAsTheKernelWritesIt(t *testing.T) {
	table, err := parseMountTable(strings.NewReader(testTable))
	if err != nil {
		t.Fatal(err)
	}
	if len(table) != 5 {
		t.Fatalf("%d entries", len(table))
	}
	e := findMount(table, "/mnt/a b")
	if e == nil || !e.isOurs() || e.store() != "/srv/my store" || e.Root != "/" {
		t.Errorf("%+v", e)
	}
	if e := findMount(table, "/mnt/c"); e == nil || e.Root != "/photos" || e.store() != "" || !e.isOurs() {
		t.Errorf("not the topmost mount: %+v", e)
	}
	if e := findMount(table, "/mnt/d"); e == nil || e.isOurs() || e.Source != `me@host:/\x` {
		t.Errorf("%+v", e)
	}
	if e := findMount(table, "/mnt"); e != nil {
		t.Errorf("%+v", e)
	}
	for _, bad := range []string{"x\n", "1 2 3:4 / /mnt rw ext4 /dev rw\n", "1 2 - a b\n"} {
		if _, err := parseMountTable(strings.NewReader(bad)); err == nil {
			t.Errorf("took %q", bad)
		}
	}
	if _, err := mountTable(); err != nil {
		t.Errorf("this machine's table: %v", err)
	}
}

func FuzzMountTable(f *testing.F) {
	f.Add(testTable)
	f.Add(`1 2 3:4 / /\1 rw - a b c` + "\n")
	f.Add(`1 2 3:4 / \\ rw - \777 \040`)
	f.Fuzz(func(t *testing.T, text string) {
		table, err := parseMountTable(strings.NewReader(text))
		if err == nil {
			findMount(table, "/")
		}
	})
}

func TestSymbolicLinksToMountPointsAreFollowed(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	must(os.Symlink("a", filepath.Join(dir, "rel")))
	must(os.Symlink(filepath.Join(dir, "rel/b"), filepath.Join(dir, "abs")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	for in, want := range map[string]string{
		"a/b": "a/b", "a/b/": "a/b", "rel/b": "a/b", "abs": "a/b", "a/../abs/.": "a/b", "a/none": "a/none",
	} {
		if got, err := resolveMountpoint(filepath.Join(dir, in)); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"loop", "none/x"} {
		if got, err := resolveMountpoint(filepath.Join(dir, in)); err == nil {
			t.Errorf("%s: %s", in, got)
		}
	}
	if _, err := resolveMountpoint(""); err == nil {
		t.Error("an empty mount point was taken")
	}
}

func TestInsideIsSeenThroughPathsAndIdentity(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "store")
	for _, d := range []string{"store/x/y", "storehouse"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(store, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"store": true, "store/x": true, "store/x/y/none": true, "link/x": true,
		"storehouse": false, "": false, "other": false,
	} {
		if got := isInside(filepath.Join(dir, path), store); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
	if !isInside("/x", "/") {
		t.Error("/x is inside /")
	}
}

func TestShellQuoteIsUndoneByAShell(t *testing.T) {
	for in, want := range map[string]string{
		"": "''", "/a/b-c_d.e": "/a/b-c_d.e", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "a\nb": "'a\nb'", "~": "'~'", "é": "'é'",
	} {
		if got := ShellQuote(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}

func TestAdminSocketsAreFoundInTheKernelsTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unix")
	text := `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 12345 /srv/my store/run/admin.sock
0000000000000000: 00000002 00000000 00010000 0001 01 12346 /run/dbus/socket
0000000000000000: 00000003 00000000 00000000 0001 03 12347
0000000000000000: 00000002 00000000 00010000 0001 01 12348 @/abstract/run/admin.sock
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := listeningSockets(path); !slices.Contains(got, "/srv/my store/run/admin.sock") {
		t.Errorf("%q", got)
	}
	if got := listeningSockets(path + ".none"); got != nil {
		t.Errorf("%q", got)
	}
}

func TestUserMountsOnDirectoriesThatFusermountTakes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	const uid = 4711
	base := t.TempDir()
	if err := os.Chmod(filepath.Dir(base), 0o755); err != nil { // which is nobody else's to enter
		t.Fatal(err)
	}
	for i, c := range [...]struct {
		owner int
		mode  os.FileMode
		want  string
	}{
		{uid, 0o700, ""},
		{0, 0o777, ""},
		{uid, 0o777 | os.ModeSticky, ""},
		{0, 0o777 | os.ModeSticky, "sticky"},
		{uid, 0o500, "not writable"},
		{0, 0o755, "not writable"},
	} {
		dir := filepath.Join(base, strconv.Itoa(i))
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, c.owner, 0), os.Chmod(dir, c.mode)); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan error)
		go func() {
			runtime.LockOSThread() // the thread ends with its goroutine
			if err := unix.Setfsuid(uid); err != nil {
				answer <- err
				return
			}
			answer <- helperMounts(dir, st, uid)
		}()
		err = <-answer
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v of %d: %v", c.mode, c.owner, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || HintOf(err) == ""):
			t.Errorf("%v of %d: %v; %s", c.mode, c.owner, err, HintOf(err))
		}
	}
}

func TestAllowOtherNeedsTheAdministratorsWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fuse.conf")
	for text, want := range map[string]bool{"": false, "#user_allow_other\n": false, "mount_max = 10\n user_allow_other \n": true} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := userAllowOther(path); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if userAllowOther(path + ".none") {
		t.Error("allowed without a file")
	}
}

func TestMissingFusermountIsNamedWithItsPackage(t *testing.T) {
	_, err := findHelper(nil)
	if err == nil || !strings.Contains(err.Error(), "fusermount3") || !strings.Contains(HintOf(err), "fuse3") {
		t.Errorf("%v; %s", err, HintOf(err))
	}
}
