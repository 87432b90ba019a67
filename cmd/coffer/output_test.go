package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatCannotBePrintedIsSaid(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	run := func(args ...string) (int, string) {
		cmd := h.command(args...)
		var errs strings.Builder
		cmd.Stdout, cmd.Stderr = full, &errs
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode(), errs.String()
	}
	dir := h.mkdir("mnt")
	if code, says := run("mount", dir); code != 0 || !mounted(dir) {
		t.Errorf("a mount that nobody hears of: exit code %d, mounted %v\n%s", code, mounted(dir), says)
	}
	for _, args := range [][]string{{"env"}, {"status"}, {"status", "--json"}, {"user", "add", "me"}, {"key", "list"}, {"help"}} {
		if code, says := run(args...); code != exitFailed || !strings.Contains(says, "no space left") {
			t.Errorf("coffer %v: exit code %d\n%s", args, code, says)
		}
	}
	h.ok("umount", dir)
}

func TestModesFollowNoUmask(t *testing.T) {
	needFUSE(t)
	for _, mask := range []string{"000", "022", "777"} {
		t.Run(mask, func(t *testing.T) {
			h := newHouse(t)
			dir := h.mkdir("mnt")
			cmd := h.command("mount", dir)
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Path = "/bin/sh"
			cmd.Args = append([]string{"sh", "-c", `umask ` + mask + `; exec "$0" "$@"`, exe}, cmd.Args[1:]...)
			if r := h.finish(cmd); r.code != 0 {
				t.Fatal(r.stderr)
			}
			bucket := filepath.Join(dir, "photos")
			if err := os.Mkdir(bucket, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bucket, "a"), make([]byte, 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			h.ok("umount", dir)
			h.ok("mount", dir)
			h.ok("umount", dir)
			for _, root := range []string{"store", "config", "state"} {
				err := filepath.WalkDir(h.path(root), func(path string, d fs.DirEntry, err error) error {
					if err != nil {
						return err
					}
					info, err := d.Info()
					if err != nil {
						return err
					}
					want := fs.FileMode(0o600)
					switch {
					case d.IsDir():
						want = 0o700
					case d.Name() == "ca.pem":
						want = 0o644 // it is public
					}
					if got := info.Mode().Perm(); got != want {
						t.Errorf("%s has mode %v", path, got)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}
