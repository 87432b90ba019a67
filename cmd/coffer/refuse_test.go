package main

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// opens are the two ways to open a store, everyWay all of them.
func (h *house) opens() [][]string { return [][]string{{"mount", h.mkdir("mnt")}, {"serve"}} }

func (h *house) everyWay() [][]string {
	return append(h.opens(), []string{"mount", "--foreground", h.mkdir("mnt")}, []string{"mount", "--read-only", h.mkdir("mnt")})
}

func TestWrongKeyFileIsRefused(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.ok("init")
	h.ok("init", "--store", h.path("other"), "--key-file", h.path("other.key"))
	damaged := h.write("damaged.key", "coffer-key-1:AAAA:00000000\n")
	newer := h.write("newer.key", "coffer-key-9:AAAA\n")
	pass := h.write("pass", "open sesame\n")
	for _, cmd := range h.opens() {
		h.refused(exitFailed, append(cmd, "--key-file", h.path("other.key")), "other.key", "does not open the store")
		h.refused(exitFailed, append(cmd, "--key-file", damaged), "damaged")
		h.refused(exitFailed, append(cmd, "--key-file", newer), "version")
		h.refused(exitFailed, append(cmd, "--key-file", h.path("none.key")), "does not exist")
		h.refused(exitFailed, append(cmd, "--passphrase-file", pass), "key file, not with a passphrase")
		h.refused(exitFailed, append(cmd, "--passphrase-file", pass, "--key-file", damaged), "not with both")
	}
}

func TestWrongPassphraseIsRefused(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	right, wrong := h.write("right", "open sesame\n"), h.write("wrong", "open barley\n")
	h.ok("init", "--passphrase-file", right)
	dir := h.mkdir("mnt")
	h.refused(exitFailed, []string{"mount", dir, "--passphrase-file", wrong}, "does not open the store")
	h.refused(exitFailed, []string{"serve", "--passphrase-file", h.write("empty", "\n")}, "one line")
	h.refused(exitFailed, []string{"mount", dir}, "passphrase", "COFFER_PASSPHRASE_FILE")
	h.refused(exitFailed, []string{"mount", dir, "--key-file", h.path("x")}, "opens with a passphrase")
	h.ok("mount", dir, "--passphrase-file", right)
}

func TestMissingDefaultKeyFileIsNamed(t *testing.T) {
	h := newHouse(t)
	h.ok("init")
	if err := os.Rename(h.path("config"), h.path("away")); err != nil {
		t.Fatal(err)
	}
	h.refused(exitFailed, []string{"serve"}, h.path("config/coffer/keys"), "--key-file")
}

func TestDamagedSuperblockIsRefused(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.ok("init")
	path := h.path("store/superblock")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(good); i += 7 {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		set(bad)
		if i%35 == 0 { // a process takes its time
			h.refused(exitFailed, []string{"serve"}, "superblock is damaged")
		}
	}
	for _, cmd := range h.opens() {
		for what, text := range map[string][]byte{"empty": {}, "cut": good[:len(good)/2], "zeros": make([]byte, len(good)), "long": append(append([]byte(nil), good...), 0)} {
			set(text)
			before := t.Failed()
			h.refused(exitFailed, cmd, "superblock is damaged", "cp -p "+path+".copy "+path)
			if t.Failed() && !before {
				t.Errorf("superblock: %s", what)
			}
		}
	}
	newer := append([]byte(nil), good...)
	binary.BigEndian.PutUint16(newer[8:], 2)
	set(newer)
	for _, cmd := range h.everyWay() {
		h.refused(exitFailed, cmd, "format version 2", "newer coffer")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range append(h.everyWay(), []string{"init"}) {
		h.refused(exitFailed, cmd, "no superblock", "cp -p "+path+".copy "+path)
	}
	if err := os.Rename(path+".copy", h.path("away")); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range append(h.everyWay(), []string{"init"}) {
		h.refused(exitFailed, cmd, "no superblock", "from a backup")
	}
}

func TestForgedSuperblockIsRefused(t *testing.T) {
	// The superblock of another store that opens with the same key file is well
	// formed, and still not this one's.
	h := newHouse(t)
	key := h.path("key")
	h.ok("init", "--key-file", key)
	h.ok("init", "--key-file", key, "--store", h.path("other"))
	theirs, err := os.ReadFile(h.path("other/superblock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.path("store/superblock"), theirs, 0o600); err != nil {
		t.Fatal(err)
	}
	h.refused(exitFailed, []string{"serve", "--key-file", key}, "superblock is damaged")
}

func TestDamagedKeystoreIsRefused(t *testing.T) {
	h := newHouse(t)
	h.ok("init")
	path := h.path("store/keystore")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	h.refused(exitFailed, []string{"serve"}, "keystore is damaged", "cp -p "+path+".copy "+path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.refused(exitFailed, []string{"serve"}, "no keystore", "cp -p "+path+".copy "+path)
	if err := os.Remove(path + ".copy"); err != nil {
		t.Fatal(err)
	}
	h.refused(exitFailed, []string{"serve"}, "no keystore", "from a backup")
}

func TestMissingPartsAreNeverMadeAnew(t *testing.T) {
	h := newHouse(t)
	h.ok("init")
	for _, part := range []string{"meta", "data"} {
		if err := os.Rename(h.path("store/"+part), h.path(part)); err != nil {
			t.Fatal(err)
		}
		h.refused(exitFailed, []string{"serve"}, part)
		if err := os.Rename(h.path(part), h.path("store/"+part)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadMountPointsAreRefused(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.ok("init")
	full := h.mkdir("full")
	h.write("full/file", "x")
	if err := os.Symlink(h.path("store"), h.path("tostore")); err != nil {
		t.Fatal(err)
	}
	inside := h.mkdir("store/run/mnt")
	h.refused(exitFailed, []string{"mount", full}, "not empty")
	h.refused(exitFailed, []string{"mount", h.path("full/file")}, "not a directory")
	h.refused(exitFailed, []string{"mount", h.path("none")}, "does not exist", "mkdir")
	h.refused(exitFailed, []string{"mount", h.path("full/file/none")}, "full/file")
	h.refused(exitFailed, []string{"mount", inside}, "inside the store")
	h.refused(exitFailed, []string{"mount", h.path("store")}, "inside the store")
	h.refused(exitFailed, []string{"mount", h.path("tostore/run/mnt")}, "inside the store")
	h.refused(exitFailed, []string{"mount", h.dir}, "inside the mount point")
	h.refused(exitFailed, []string{"mount", "/proc"}, "/proc")
	h.refused(exitFailed, []string{"mount", "--bucket", "No", h.mkdir("mnt")}, "bucket name")
	h.refused(exitFailed, []string{"mount", "--cache", "none", h.mkdir("mnt")}, "cache mode")
}

func TestRefusedMountMakesNoStore(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	empty, file := h.mkdir("mnt"), h.write("file", "x")
	around := h.mkdir("around")
	long := h.path("long/" + strings.Repeat("x", 100))
	for _, cmd := range [][]string{{"mount", empty}, {"serve"}} {
		h.refused(exitFailed, append(cmd, "--listen", ln.Addr().String()), "in use", "--listen")
		h.refused(exitFailed, append(cmd, "--listen", "192.0.2.1:0"), "no address of this machine", "--listen") // RFC 5737
		h.refused(exitFailed, append(cmd, "--listen", "9000"), "host:port")
		h.refused(exitFailed, append(cmd, "--listen", "127.0.0.1:99999"), "port")
		h.refused(exitFailed, append(cmd, "--key-file", file, "--passphrase-file", file), "not with both")
		h.refused(exitFailed, append(cmd, "--store", long), "admin socket", "107")
		h.refused(exitFailed, append(cmd, "--store", file), "not a directory")
		h.refused(exitFailed, append(cmd, "--store", file+"/x"), "not a directory")
		h.refused(exitFailed, append(cmd, "--passphrase-file", h.path("none")), "does not exist")
		h.refused(exitFailed, append(cmd, "--key-file", h.path("store/key")), "outside the store")
		h.refused(exitFailed, append(cmd, "--key-file", file), "key file")
	}
	h.refused(exitFailed, []string{"init", "--store", long}, "admin socket")
	h.refused(exitFailed, []string{"mount", "--read-only", empty}, "no store")
	h.refused(exitFailed, []string{"mount", "--store", h.path("around/store"), around}, "inside the mount point")
	h.mkdir("photos/2024")
	h.refused(exitFailed, []string{"mount", "--store", h.path("photos"), empty}, "no coffer store")
	h.refused(exitFailed, []string{"init", "--store", h.path("photos")}, "no coffer store")
}

func TestPortInUseIsRefusedForAStoreToo(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.ok("init")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, cmd := range h.opens() {
		h.refused(exitFailed, append(cmd, "--listen", ln.Addr().String()), "in use", "--listen")
	}
}

func TestReadOnlyStoreDirectoryIsRefused(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.ok("init")
	if err := os.Chmod(h.path("store"), 0o500); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range h.opens() {
		h.refused(exitFailed, cmd, "read-only")
	}
	if err := os.Chmod(h.path("store"), 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return
	}
	store := h.path("store")
	if err := syscall.Mount(store, store, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(store, 0); err != nil {
			t.Error(err)
		}
	}()
	if err := syscall.Mount("", store, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range h.everyWay() {
		h.refused(exitFailed, cmd, "read-only file system")
	}
}

func TestInitNeverOverwrites(t *testing.T) {
	h := newHouse(t)
	h.ok("init", "--key-file", h.path("key"))
	h.refused(exitFailed, []string{"init", "--key-file", h.path("key")}, "already")
	// An existing key file is used for a new store.
	before, _ := os.ReadFile(h.path("key"))
	out := h.ok("init", "--key-file", h.path("key"), "--store", h.path("second"))
	if after, _ := os.ReadFile(h.path("key")); string(after) != string(before) {
		t.Error("the key file was overwritten")
	}
	if strings.Contains(out, "made its key file") {
		t.Errorf("says that it made the key file:\n%s", out)
	}
}

func TestCommandLineMistakesAreUsageErrors(t *testing.T) {
	h := newHouse(t)
	for _, args := range [][]string{
		{"mount"}, {"mount", "a", "b"}, {"umount"}, {"serve", "x"}, {"env", "x"}, {"init", "x"}, {"status", "x"},
		{"bucket", "none"}, {"bucket", "--store", "x"}, {"bucket", "etag"}, {"bucket", "etag", "a", "opaque", "b"},
		{"bucket", "etag", "a", "MD5"}, {"bucket", "etag", "a", "--nonsense"}, {"bucket", "etag", "a", "--store"},
		{"mount", "--nonsense", "a"}, {"mount", "a", "--store"}, {"frobnicate"}, {"status", "--json=maybe"},
	} {
		h.refused(exitUsage, args)
	}
	dir := h.mkdir("mnt")
	for say, args := range map[string][]string{
		"mount needs a mount point":         {"mount", ""},
		"umount needs a mount point":        {"umount", ""},
		"no mount point given":              {"key", "return", ""},
		"needs a key":                       {"key", "show", ""},
		"needs the name":                    {"user", "add", ""},
		"access key id":                     {"user", "key", "remove", "a", ""},
		"mount has no flag --nonsense":      {"mount", dir, "--nonsense", "x"},
		"bucket etag has no flag -x":        {"bucket", "etag", "a", "-x=1"},
		"bucket has no flag --store":        {"bucket", "--store", "x", "etag", "abc"},
		`no flag --store here`:              {"--store", "x", "status"},
		`there is no command "none"`:        {"help", "none"},
		`there is no command "bucket none"`: {"bucket", "help", "none"},
		`there is no command "mount x"`:     {"help", "mount", "x"},
	} {
		h.refused(exitUsage, args, say)
	}
}

func TestHelpIsThereForEveryCommand(t *testing.T) {
	h := newHouse(t)
	for flag, args := range map[string][]string{
		"COMMANDS":       {"help"},
		"GLOBAL OPTIONS": {"--help"},
		"--sse-c-key":    {"help", "mount"},
		"--bucket B":     {"mount", "x", "--help", "y"},
		"[opaque|md5]":   {"help", "bucket", "etag"},
		"--json":         {"bucket", "help", "lifecycle"},
		"--pending-days": {"-h", "key", "delete"},
		"NAME POLICY...": {"user", "policy", "h", "set"},
	} {
		if out := h.ok(args...); !strings.Contains(out, flag) {
			t.Errorf("coffer %s: does not show %q:\n%s", strings.Join(args, " "), flag, out)
		}
	}
}

// A pipe was waited for without end, and <(command) taken for a broken link.
func TestSecretsOfAStoreAreInRegularFiles(t *testing.T) {
	h := newHouse(t)
	pipe := h.path("pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	h.refused(exitFailed, []string{"init", "--key-file", pipe}, "not a regular file", "more than once")
	h.refused(exitFailed, []string{"init", "--passphrase-file", pipe}, "not a regular file")
	cmd := h.command("init", "--passphrase-file", "/dev/stdin")
	cmd.Stdin = strings.NewReader("horse")
	if r := h.finish(cmd); r.code != exitFailed || !strings.Contains(r.stderr, "not a regular file") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}

func TestSecondSignalEndsWhatWaits(t *testing.T) {
	h := newHouse(t)
	h.ok("init")
	if err := syscall.Mkfifo(h.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := h.command("fsck", "--sse-c-key", h.path("pipe")) // nobody writes to it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	h.await(func() bool {
		_ = cmd.Process.Signal(syscall.SIGINT)
		return len(ended) == 1
	})
	if err := <-ended; err == nil {
		t.Error("it has read the pipe")
	}
}

// A comma was taken for the end of one of several names.
func TestFileNamesMayHaveCommas(t *testing.T) {
	h := newHouse(t)
	h.ok("init")
	h.write("a,b.key", strings.Repeat("k", 32))
	h.ok("fsck", "--sse-c-key", "a,b.key")
	h.env = append(h.env, "COFFER_SSE_C_KEY=a,b.key")
	h.ok("fsck")
}

func TestPathsThatAreNotUTF8AreRefused(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir, odd := h.mkdir("mnt"), h.mkdir("odd\xff")
	h.refused(exitFailed, []string{"mount", odd}, "UTF-8")
	for _, cmd := range [][]string{{"mount", dir}, {"serve"}, {"init"}} {
		h.refused(exitFailed, append(cmd, "--store", odd+"/store"), "UTF-8")
		h.refused(exitFailed, append(cmd, "--key-file", odd+"/key"), "UTF-8")
	}
}

func TestWithoutAHomePathsCanBeGiven(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.env = slices.DeleteFunc(h.env, func(v string) bool { return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "XDG_") })
	h.env = append(h.env, "XDG_STATE_HOME=relative") // root has a place of its own where nothing is said
	dir := h.mkdir("mnt")
	h.refused(exitNotRunning, []string{"env"}, "no store")
	h.ok("init", "--key-file", h.path("key"))
	h.refused(exitNotRunning, []string{"status"}, "no daemon")
	h.refused(exitFailed, []string{"mount", "--key-file", h.path("key"), dir}, "neither XDG_STATE_HOME nor HOME", "set HOME or XDG_STATE_HOME")
	h.env = append(h.env, "XDG_STATE_HOME="+h.path("store/superblock/state"))
	h.refused(exitFailed, []string{"mount", "--key-file", h.path("key"), dir}, "log file", "XDG_STATE_HOME")
}

func TestUmountOfWhatIsNoMountIsRefused(t *testing.T) {
	h := newHouse(t)
	h.refused(exitFailed, []string{"umount", h.mkdir("mnt")}, "no coffer store")
	h.refused(exitFailed, []string{"umount", h.path("none")}, "does not exist")
	if r := h.coffer("umount", h.path("none")); strings.Contains(r.stderr, "mkdir") {
		t.Errorf("umount of what is not there:\n%s", r.stderr)
	}
	h.refused(exitFailed, []string{"umount", "/proc"}, "no coffer store")
}

func TestWithoutADaemonTheExitCodeSaysSo(t *testing.T) {
	h := newHouse(t)
	h.refused(exitNotRunning, []string{"env"}, "no store")
	h.refused(exitNotRunning, []string{"status"}, "no store")
	h.ok("init")
	h.refused(exitNotRunning, []string{"env"}, "no daemon")
	if s := h.mustStatus(); s.Running || s.PID != 0 || s.Store != h.path("store") || s.Mounts == nil || s.StoreID == "" {
		t.Errorf("status: %+v", s)
	}
}

func TestFlagsAreVariablesToo(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	h.env = append(h.env, "COFFER_KEY_FILE="+h.path("key"), "COFFER_BUCKET=photos", "COFFER_CACHE=through")
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	if _, err := os.Stat(h.path("key")); err != nil {
		t.Error(err)
	}
	s := h.mustStatus()
	if len(s.Mounts) != 1 || s.Mounts[0].Bucket != "photos" || s.Mounts[0].Cache != "through" {
		t.Errorf("status: %+v", s)
	}
	h.ok("umount", dir)
}

func TestFlagsMayFollowTheArgument(t *testing.T) {
	app := newApp(&output{w: os.Stdout}, os.Stderr)
	for in, want := range map[string]string{
		"coffer mount dir --store x":              "coffer mount --store x -- dir",
		"coffer mount dir --read-only --bucket=b": "coffer mount --read-only --bucket=b -- dir",
		"coffer mount --read-only dir":            "coffer mount --read-only -- dir",
		"coffer mount -- --store":                 "coffer mount -- --store",
		"coffer mount --read-only=false dir":      "coffer mount --read-only=false -- dir",
		"coffer bucket etag b opaque --store x":   "coffer bucket etag --store x -- b opaque",
		"coffer bucket none b":                    "coffer bucket -- none b",
		"coffer mount dir --help":                 "coffer mount --help",
		"coffer help key lend":                    "coffer key lend --help",
		"coffer status":                           "coffer status",
		"coffer":                                  "coffer",
		"coffer none x --y":                       "coffer none x --y",
	} {
		got, err := flagsFirst(app, strings.Fields(in))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q became %q, want %q (%v)", in, got, want, err)
		}
	}
}

func TestEnvIsQuotedForTheShell(t *testing.T) {
	h := newHouse(t)
	store := filepath.Join(h.mkdir("it's a dir"), "store")
	h.env = append(h.env, "COFFER_STORE="+store)
	done := make(chan result, 1)
	cmd := h.command("serve")
	go func() { done <- h.finish(cmd) }()
	h.await(func() bool { s, err := h.status(); return err == nil && s.Running })
	env := h.ok("env")
	if !strings.Contains(env, `export AWS_CA_BUNDLE='`+strings.ReplaceAll(store, "'", `'\''`)+`/run/ca.pem'`) {
		t.Errorf("env:\n%s", env)
	}
	h.endProcess(h.mustStatus().PID, syscall.SIGTERM)
	<-done
}
