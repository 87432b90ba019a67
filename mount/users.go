package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usersOf names up to max processes that use the file system dev (0: any)
// below dir: by a working directory, an open file or a mapping. It sees what
// this process may see of others: as root all, else those of the same user,
// who are the only ones in a mount without allow_other.
func usersOf(dir string, dev uint64, max int) []string {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	var found []string
	for _, p := range procs {
		used, known := usesSoon(p, dir, dev)
		if known && !used {
			continue
		}
		name, _ := os.ReadFile(p + "/comm")
		found = append(found, fmt.Sprintf("%s (%s)", strings.TrimSpace(string(name)), filepath.Base(p)))
		if len(found) == max {
			break
		}
	}
	return found
}

// mountsBelow names the mounts that stand on directories below dir.
func mountsBelow(dir string) []string {
	table, _ := mountTable()
	var found []string
	for _, e := range table {
		if strings.HasPrefix(e.Mountpoint, dir+"/") && len(found) < maxUsers {
			found = append(found, fmt.Sprintf("the mount on %q", e.Mountpoint))
		}
	}
	return found
}

// lookTime is how long a process may take to be looked at.
const lookTime = time.Second

// usesSoon is uses with a bound: reading the mappings of a process that hangs in
// the kernel, on some file system that is dead, hangs as well. known is false
// then; such a process counts as a user, since nobody can tell.
func usesSoon(p, dir string, dev uint64) (used, known bool) {
	answer := make(chan bool, 1)
	go func() { answer <- uses(p, dir, dev) }() // left behind if need be: it ends with the process
	timer := time.NewTimer(lookTime)
	defer timer.Stop()
	select {
	case used = <-answer:
		return used, true
	case <-timer.C:
		return false, false
	}
}

// uses reports whether the process whose directory in /proc is p uses dev.
func uses(p, dir string, dev uint64) bool {
	links, _ := filepath.Glob(p + "/fd/*")
	links = append(links, p+"/cwd", p+"/root", p+"/exe")
	for _, l := range links {
		target, err := os.Readlink(l)
		if err != nil || target != dir && !strings.HasPrefix(target, dir+"/") {
			continue
		}
		var st unix.Stat_t
		if dev == 0 || unix.Stat(l, &st) != nil || uint64(st.Dev) == dev {
			return true
		}
	}
	// 7f..-7f.. r--s 00000000 00:2a 123    /mnt/file
	maps, _ := os.ReadFile(p + "/maps")
	id := fmt.Sprintf(" %02x:%02x ", unix.Major(dev), unix.Minor(dev))
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, " "+dir+"/") && (dev == 0 || strings.Contains(line, id)) {
			return true
		}
	}
	return false
}
