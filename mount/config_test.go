package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketPathIsBoundedWhereTheSystemBoundsIt(t *testing.T) {
	base := "/" + strings.Repeat("x", 50) + "/"
	for n, ok := range map[int]bool{106: true, 107: true, 108: false, 300: false} {
		c := Config{Store: base}
		c.Store += strings.Repeat("y", n-len(base)-len("/run/admin.sock"))
		if len(c.socketPath()) != n {
			t.Fatalf("%d bytes, want %d", len(c.socketPath()), n)
		}
		if err := c.checkSocket(); (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestDefaultPathsFollowTheUser(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/cfg")
	t.Setenv("XDG_STATE_HOME", "/state")
	t.Setenv("XDG_DATA_HOME", "relative")
	t.Setenv("HOME", "/home/me")
	key, err := DefaultKeyFile([16]byte{0xab})
	if err != nil || key != "/cfg/coffer/keys/ab000000000000000000000000000000.key" {
		t.Error(key, err)
	}
	log, err := DefaultLogFile("/srv/store")
	if err != nil || filepath.Dir(log) != "/state/coffer" {
		t.Error(log, err)
	}
	store, err := DefaultStore()
	want := "/home/me/.local/share/coffer"
	if os.Geteuid() == 0 {
		want = "/var/lib/coffer"
	}
	if err != nil || store != want {
		t.Error(store, err)
	}
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", "")
	key, err = DefaultKeyFile([16]byte{})
	if os.Geteuid() == 0 && (err != nil || filepath.Dir(key) != "/etc/coffer/keys") {
		t.Error(key, err)
	}
	if os.Geteuid() != 0 && err == nil {
		t.Error("a key file without a home:", key)
	}
}

func TestPathsAreResolvedAsFarAsTheyExist(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"link": "real", "dangling": "none"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := resolveMissing(filepath.Join(dir, "link/a/b"))
	if err != nil || got != filepath.Join(dir, "real/a/b") {
		t.Error(got, err)
	}
	if got, err := resolveMissing(filepath.Join(dir, "dangling/a")); err == nil {
		t.Error("a link that leads nowhere became", got)
	}
}

func TestKeysAreReadFromFilesAndLogsWrittenAnywhere(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{KeyFile: os.DevNull}, "is not a regular file"},
		{Config{PassphraseFile: os.DevNull}, "is not a regular file"},
		{Config{LogFile: os.DevNull}, ""},
		{Config{LogFile: "log"}, "lies inside the store"},
	} {
		dir := t.TempDir()
		t.Chdir(dir)
		c.cfg.Store = dir
		err := c.cfg.Resolve()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}

func TestEndpointsAreComparedWithWhatWasAsked(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:9000": true, "127.0.0.1:0": true, "127.0.0.1:9001": false, "10.0.0.1:9000": false} {
		if got := sameListen(addr, "https://127.0.0.1:9000"); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestLogIsSetAsideWhenItIsLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "log")
	l, err := openLogFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("first\n")); err != nil {
		t.Fatal(err)
	}
	l.size = maxLogBytes + 1
	if _, err := l.Write([]byte("second\n")); err != nil {
		t.Fatal(err)
	}
	l.f.Close()
	for name, want := range map[string]string{path: "second\n", path + ".1": "first\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
}

func TestLogNamesNoObjectsByDefault(t *testing.T) {
	for _, debug := range []bool{false, true} {
		var out strings.Builder
		log := quiet(newLogger(&out, debug), debug).With("part", "s3")
		log.Info("request", "key", "secret-plan.txt")
		log.Error("request", "key", "damaged.txt")
		if got := strings.Contains(out.String(), "secret-plan"); got != debug {
			t.Errorf("debug %v: %s", debug, out.String())
		}
		if !strings.Contains(out.String(), "damaged.txt") {
			t.Errorf("debug %v: an error is missing: %s", debug, out.String())
		}
	}
}
