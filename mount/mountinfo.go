package mount

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// fsType is the type of our mounts in the kernel's tables.
const fsType = "fuse.coffer"

// sourcePrefix stands before the store's path in the source (FsName) of our
// mounts, so that whoever finds a mount finds its store, daemon or not.
const sourcePrefix = "coffer:"

// mountEntry is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mountEntry struct {
	Device     string // major:minor
	Root       string // the directory in the file system that is mounted
	Mountpoint string
	Type       string
	Source     string
}

// isOurs reports whether a coffer daemon made the mount.
func (e *mountEntry) isOurs() bool { return e.Type == fsType }

// store returns the directory of the store behind a mount of ours, or "".
func (e *mountEntry) store() string {
	dir, ok := strings.CutPrefix(e.Source, sourcePrefix)
	if !ok || !e.isOurs() {
		return ""
	}
	return dir
}

// mountTable reads the mounts that this process sees, in the order in which
// they were made: of several on one directory the last is on top.
func mountTable() ([]mountEntry, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMountTable(f)
}

func parseMountTable(r io.Reader) ([]mountEntry, error) {
	var table []mountEntry
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for s.Scan() {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
		head, tail, ok := strings.Cut(s.Text(), " - ")
		fields, last := strings.Fields(head), strings.Split(tail, " ")
		if !ok || len(fields) < 6 || len(last) < 2 {
			return nil, fmt.Errorf("mountinfo: cannot read line %q", s.Text())
		}
		table = append(table, mountEntry{
			Device:     fields[2],
			Root:       unescape(fields[3]),
			Mountpoint: unescape(fields[4]),
			Type:       unescape(last[0]),
			Source:     unescape(last[1]),
		})
	}
	return table, s.Err()
}

// findMount returns the topmost mount on dir, or nil.
func findMount(table []mountEntry, dir string) *mountEntry {
	for i := len(table) - 1; i >= 0; i-- {
		if table[i].Mountpoint == dir {
			return &table[i]
		}
	}
	return nil
}

// unescape undoes the kernel's octal escapes of space, tab, newline,
// backslash and number sign.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(s string) bool {
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7'
}
