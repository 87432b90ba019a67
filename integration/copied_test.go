package integration

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// written are all bodies that objects ever had.
type written struct {
	mu     sync.Mutex // guards the field below
	bodies map[string][][]byte
}

func (w *written) put(c *S3, n int) error {
	key := fmt.Sprintf("k%d", n%20)
	body := content(int64(n), 1+n*7919%60_000)
	w.mu.Lock()
	w.bodies[key] = append(w.bodies[key], body)
	w.mu.Unlock()
	return c.Put(context.Background(), bucket, key, body)
}

// TestCopiesHaveNoWrongData: a copy of the directory of a store that was in use meanwhile,
// and one that was put together from copies of different times, is refused, or each object
// is one that once was there, or its reading fails. fsck tells which it is.
func TestCopiesHaveNoWrongData(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	h.Serve()
	c := h.NewS3()
	if _, err := c.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: ptr(bucket)}); err != nil {
		t.Fatal(err)
	}
	w := &written{bodies: map[string][][]byte{}}
	n := 0
	more := func(puts int) {
		t.Helper()
		for range puts {
			if err := w.put(c, n); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	// A file can go while it is looked at: then cp says so, and copies the others.
	cp := func(name string, from string, parts ...string) {
		t.Helper()
		dir := h.Mkdir(name)
		for _, part := range parts {
			h.Exec(nil, "cp", "-a", "--sparse=always", from+"/"+part, dir)
			if from == h.Path("store") {
				more(10)
			}
		}
	}
	small := []string{"keystore", "superblock", "keystore.copy", "superblock.copy"}
	more(60)
	cp("data-first", h.Path("store"), append([]string{"data", "meta"}, small...)...)
	cp("meta-first", h.Path("store"), append([]string{"meta", "data"}, small...)...)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for i := 1000; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := w.put(c, i); err != nil {
				stopped <- err
				return
			}
		}
	}()
	if r := h.Exec(nil, "cp", "-a", "--sparse=always", h.Path("store"), h.Path("live")); r.Code != 0 {
		t.Log(r)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	h.Signal(syscall.SIGTERM)
	cp("old", h.Dir, "store")
	h.Serve()
	c = h.NewS3()
	more(60)
	h.Signal(syscall.SIGTERM)
	old, now := h.Path("old/store"), h.Path("store")
	cp("old-data", old, "data")
	cp("old-data", now+"/.", append([]string{"meta"}, small...)...)
	cp("old-meta", old, "meta")
	cp("old-meta", now+"/.", append([]string{"data"}, small...)...)

	for name, lacks := range map[string]bool{"data-first": true, "meta-first": false, "live": false, "old-data": true, "old-meta": false} {
		failed := h.readCopy(name, w)
		if lacks && failed == 0 {
			t.Errorf("%s: nothing is missing", name)
		}
		if name == "old-meta" && failed != 0 {
			t.Errorf("%s: %d objects are missing, though all segments are there", name, failed)
		}
	}
}

// readCopy opens a copy and reads the objects in it. It returns how many cannot be read,
// -1 for a copy that is refused.
func (h *House) readCopy(name string, w *written) (failed int) {
	h.t.Helper()
	g := &House{t: h.t, Dir: h.Dir, env: append(slices.Clone(h.env), "COFFER_STORE="+h.Path(name))}
	if r := g.TryServe(); r != nil {
		if !strings.Contains(r.Stderr, "corrupt") {
			h.t.Errorf("%s: refused: %v", name, r)
		}
		return -1
	}
	defer g.Signal(syscall.SIGTERM)
	c := g.NewS3()
	defer c.http.CloseIdleConnections()
	for key, bodies := range w.bodies {
		got, err := c.Get(context.Background(), bucket, key)
		switch {
		case err != nil && errorCode(err) == "InternalError":
			failed++
		case err != nil:
			h.t.Errorf("%s: %s: %v", name, key, err)
		case !slices.ContainsFunc(bodies, func(b []byte) bool { return bytes.Equal(b, got) }):
			h.t.Errorf("%s: %s is what it never was: %s", name, key, brief(got))
		}
	}
	if r := g.Coffer("fsck"); (r.Code == 4) != (failed > 0) || r.Code != 0 && r.Code != 4 {
		h.t.Errorf("%s: %d objects cannot be read, fsck says %v", name, failed, r)
	}
	h.t.Logf("%s: %d objects cannot be read", name, failed)
	return failed
}
