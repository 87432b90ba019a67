package fs

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenPipeHasAttributesWhenItsNameIsGone: as every open file has, whether its name
// was removed or another file took it.
func TestOpenPipeHasAttributesWhenItsNameIsGone(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		for name, drop := range map[string]func(path string) error{
			"removed": os.Remove,
			"replaced": func(path string) error {
				write(t, path+".new", "file")
				return os.Rename(path+".new", path)
			},
		} {
			if err := unix.Mkfifo(m.path(name), 0o640); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(m.path(name), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := drop(m.path(name)); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode != unix.S_IFIFO|0o640 || st.Nlink != 0 {
				t.Errorf("%s: mode %o, %d links, %v", name, st.Mode, st.Nlink, err)
			}
		}
	})
}
