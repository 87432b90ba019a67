package fs

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
)

// The kernel moves the name of the file that it knows, and the store that of the file
// that is there: where another door replaces it meanwhile, these are two. The replaced
// one is still there where it became a version.
func TestRenameBesidePutMovesWhatIsThere(t *testing.T) {
	eachVersioned(t, func(t *testing.T, m *mounted) {
		for i := range 150 {
			m.put(t, "a", version(3*i+1))
			if _, err := os.Stat(m.path("a")); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { m.put(t, "a", version(3*i+2)) })
			if err := os.Rename(m.path("a"), m.path("b")); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if err := m.store.WaitWatchers(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantContent(t, m.path("b"), string(m.get(t, "b")))
			if err := os.Remove(m.path("a")); err != nil && !errors.Is(err, syscall.ENOENT) {
				t.Fatal(err)
			}
		}
	})
}
