package fs

import (
	"io"
	"os"
	"strings"
	"sync"
	"testing"
)

// A reader in the same mount never sees the last page as it was before an append.
func TestReaderFollowsAppends(t *testing.T) {
	const lines = 500
	eachMode(t, func(t *testing.T, m *mounted) {
		f, err := os.OpenFile(m.path("log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0600)
		if err != nil {
			t.Fatal(err)
		}
		r, err := os.Open(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		line := strings.Repeat("x", 100)
		var wg sync.WaitGroup
		wg.Go(func() {
			for range lines {
				if _, err := f.WriteString(line); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		defer wg.Wait()
		p := make([]byte, 1<<16)
		for at := 0; at < lines*len(line) && !t.Failed(); {
			n, err := r.ReadAt(p, int64(at))
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if strings.Trim(string(p[:n]), "x") != "" {
				t.Fatalf("at %d: %d bytes that nobody wrote", at, n)
			}
			at += n
		}
	})
}
