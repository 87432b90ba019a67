package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cofferfs/coffer/objstore"
)

// crashState is what a name holds after a change.
type crashState struct {
	change  int // number of the client's change
	present bool
	p       []byte
	commit  bool // the change was a commit by itself, not a write into a buffer
}

// crashClient is one client and what it did.
type crashClient struct {
	id   int
	mu   sync.Mutex // guards the fields below
	n    int        // changes begun
	hist map[string][]crashState
	done map[string]int // index into hist that is committed
	acks map[string]int // index into hist that is durable
	// uploads wait with durable parts.
	uploads map[objstore.UploadID]crashUpload
}

func newCrashClient(id int) *crashClient {
	return &crashClient{id: id, hist: make(map[string][]crashState), done: make(map[string]int), acks: make(map[string]int), uploads: make(map[objstore.UploadID]crashUpload)}
}

func (c *crashClient) name(i int) string { return fmt.Sprintf("c%d-%d", c.id, i) }

// begin notes a state that may be found from now on.
func (c *crashClient) begin(name string, present bool, p []byte, commit bool) (index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.hist[name]) == 0 {
		c.hist[name] = []crashState{{}}
	}
	c.n++
	c.hist[name] = append(c.hist[name], crashState{change: c.n, present: present, p: p, commit: commit})
	return len(c.hist[name]) - 1
}

// commit notes that a state is part of history.
func (c *crashClient) commit(name string, index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[name] = max(c.done[name], index)
}

// ack notes that a state is durable, and with it all that was committed before.
func (c *crashClient) ack(name string, index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[name] = max(c.done[name], index)
	for name, i := range c.done {
		c.acks[name] = max(c.acks[name], i)
	}
}

// snapshot copies what a crash at this instant has to be measured by.
func (c *crashClient) snapshot() *crashClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := newCrashClient(c.id)
	for name, h := range c.hist {
		out.hist[name] = h[:len(h):len(h)]
		out.acks[name] = c.acks[name]
	}
	out.uploads = maps.Clone(c.uploads)
	return out
}

// acked is the part of a snapshot that must be taken before the crash.
func (c *crashClient) acked() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]int)
	for name := range c.hist {
		out[name] = c.acks[name]
	}
	return out
}

// run makes changes until stop.
func (c *crashClient) run(k *stack, root objstore.InodeID, seed uint64, stop *atomic.Bool, changes int) error {
	rnd := rand.New(rand.NewPCG(seed, uint64(c.id)))
	files := make(map[string]*File)
	current := make(map[string][]byte)
	defer func() {
		for _, f := range files {
			_ = f.Close(bg)
		}
	}()
	for i := 0; i < changes && !stop.Load(); i++ {
		name := c.name(rnd.IntN(3))
		var err error
		switch op := rnd.IntN(13); {
		case op < 3:
			err = c.put(k.s, rnd, name, current)
			delete(files, closeNamed(files, name))
		case op < 4:
			at := c.begin(name, false, nil, true)
			delete(files, closeNamed(files, name))
			if _, err = k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: name}); err == nil {
				c.ack(name, at)
			}
			delete(current, name)
		case op < 5:
			err = c.replace(k.s, root, rnd, name, current)
			delete(files, closeNamed(files, name))
		case op < 6:
			from := c.name(rnd.IntN(3))
			p, ok := current[from]
			if !ok || from == name {
				continue
			}
			if f := files[from]; f != nil {
				if err := f.Flush(bg); err != nil {
					return err
				}
			}
			at := c.begin(name, true, p, true)
			_, err = k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: from, DstBucket: "bucket", DstKey: name})
			if err == nil {
				c.ack(name, at)
			}
			current[name] = p
			delete(files, closeNamed(files, name))
		case op < 7:
			delete(files, closeNamed(files, name))
			err = c.upload(k.s, rnd, name, current)
		default:
			err = c.write(k.s, root, rnd, name, files, current)
		}
		if err != nil {
			return fmt.Errorf("client %d, change %d of %q: %w", c.id, i, name, err)
		}
	}
	return nil
}

// closeNamed closes the open file of a name that is about to be another inode's.
func closeNamed(files map[string]*File, name string) string {
	if f := files[name]; f != nil {
		_ = f.Close(bg)
	}
	return name
}

func (c *crashClient) body(rnd *rand.Rand, large bool) []byte {
	n := []int{0, 1, 100, 5000, 16 << 10, 16<<10 + 1, 100_000, 300_000}[rnd.IntN(8)]
	if large && rnd.IntN(8) == 0 {
		n = 4<<20 + 100_000 // committed in steps
	}
	p := bytesOf(rnd.Uint64(), n)
	if n > 16 {
		binary.BigEndian.PutUint64(p, uint64(c.id))
	}
	return p
}

func (c *crashClient) put(s *Store, rnd *rand.Rand, name string, current map[string][]byte) error {
	p := c.body(rnd, true)
	at := c.begin(name, true, p, true)
	_, err := s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: name, Body: bytes.NewReader(p), Size: int64(len(p))})
	if err == nil {
		c.ack(name, at)
	}
	current[name] = p
	return err
}

// replace writes a temporary file and renames it over the name, as editors do:
// without an fsync, the old or the new bytes are found, whole.
func (c *crashClient) replace(s *Store, root objstore.InodeID, rnd *rand.Rand, name string, current map[string][]byte) error {
	p := c.body(rnd, false)
	_, f, err := s.Create(bg, mountC, root, name+".tmp", 0o644, objstore.OpenFlags{Write: true, Truncate: true}, false)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(bg, p, 0); err != nil {
		return err
	}
	durable := rnd.IntN(2) == 0
	if durable {
		if err := f.Sync(bg); err != nil {
			return err
		}
	}
	if err := f.Close(bg); err != nil {
		return err
	}
	at := c.begin(name, true, p, true)
	if err := s.Rename(bg, mountC, root, name+".tmp", root, name, 0); err != nil {
		return err
	}
	current[name] = p
	c.commit(name, at)
	if durable {
		if err := s.Sync(bg); err != nil {
			return err
		}
		c.ack(name, at)
	}
	return nil
}

// write changes a file in place, in one write, and sometimes syncs it.
func (c *crashClient) write(s *Store, root objstore.InodeID, rnd *rand.Rand, name string, files map[string]*File, current map[string][]byte) error {
	f := files[name]
	if f == nil {
		if _, ok := current[name]; !ok {
			c.begin(name, true, nil, false)
			current[name] = nil
		}
		var err error
		if _, f, err = s.Create(bg, mountC, root, name, 0o644, objstore.OpenFlags{Read: true, Write: true}, false); err != nil {
			return err
		}
		files[name] = f
	}
	was := current[name]
	var at int
	if rnd.IntN(6) == 0 {
		size := rnd.IntN(len(was) + 5000)
		next := make([]byte, size)
		copy(next, was)
		at = c.begin(name, true, next, false)
		if err := f.Truncate(bg, int64(size)); err != nil {
			return err
		}
		current[name] = next
	} else {
		p := c.body(rnd, false)
		off := 0
		if len(was) > 0 {
			off = rnd.IntN(len(was) + 1)
		}
		next := make([]byte, max(len(was), off+len(p)))
		copy(next, was)
		copy(next[off:], p)
		at = c.begin(name, true, next, false)
		if _, err := f.WriteAt(bg, p, int64(off)); err != nil {
			return err
		}
		current[name] = next
	}
	switch rnd.IntN(5) {
	case 0, 1:
		if err := f.Sync(bg); err != nil {
			return err
		}
		c.ack(name, at)
	case 2:
		delete(files, name)
		if err := f.Close(bg); err != nil {
			return err
		}
		c.commit(name, at)
	case 3:
		if err := f.Flush(bg); err != nil {
			return err
		}
		c.commit(name, at)
	}
	return nil
}

// verify looks at a store after a crash. acked are the acknowledged states at
// the latest instant before the crash, c what had been begun at the first
// instant after it.
func (c *crashClient) verify(s *Store, acked map[string]int) error {
	var errs []error
	newest := 0                    // the newest commit that is certainly there
	latest := make(map[string]int) // the newest state that it can be
	for name, hist := range c.hist {
		p, info, err := get(s, objstore.GetRequest{Key: name})
		present := err == nil
		if err != nil && !objstore.IsKind(err, objstore.KindNotFound) {
			errs = append(errs, fmt.Errorf("%q: %w", name, err))
			continue
		}
		if present && info.Size != int64(len(p)) {
			errs = append(errs, fmt.Errorf("%q: %d bytes of %d", name, len(p), info.Size))
		}
		found := -1
		for i := acked[name]; i < len(hist); i++ {
			if hist[i].present == present && bytes.Equal(hist[i].p, p) {
				if found < 0 && hist[i].commit {
					newest = max(newest, hist[i].change)
				}
				found = i
			}
		}
		latest[name] = found
		if found < 0 {
			errs = append(errs, fmt.Errorf("%q: present %v with %d bytes is none of the states %s", name, present, len(p), tail(hist, acked[name], p)))
		}
	}
	for name, at := range latest {
		for i, h := range c.hist[name] {
			if h.commit && h.change < newest && i > at && at >= 0 {
				errs = append(errs, fmt.Errorf("%q: change %d is not there, %d is", name, h.change, newest))
			}
		}
	}
	return errors.Join(errs...)
}

// verifyVersions looks at the versions of a bucket after a crash: each holds what
// its name once did, and each change by S3, or by a rename, that was acknowledged is
// among them. Nothing deletes versions.
func (c *crashClient) verifyVersions(s *Store, acked map[string]int) error {
	var errs []error
	found := make(map[string]map[string]bool)
	req := objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 7}
	for {
		res, err := s.ListVersions(bg, s3C, req)
		if err != nil {
			return err
		}
		for _, e := range res.Entries {
			hist, mine := c.hist[e.Key]
			if !mine || e.DeleteMarker {
				continue
			}
			p, _, err := get(s, objstore.GetRequest{Key: e.Key, Version: e.Version})
			if err != nil {
				errs = append(errs, fmt.Errorf("%q version %q: %w", e.Key, e.Version, err))
				continue
			}
			if !slices.ContainsFunc(hist, func(h crashState) bool { return h.present && bytes.Equal(h.p, p) }) {
				errs = append(errs, fmt.Errorf("%q version %q: %d bytes that it never held", e.Key, e.Version, len(p)))
			}
			if found[e.Key] == nil {
				found[e.Key] = make(map[string]bool)
			}
			found[e.Key][string(p)] = true
		}
		if !res.Truncated {
			break
		}
		req.KeyMarker, req.VersionMarker = res.NextKey, res.NextVersion
	}
	for name, hist := range c.hist {
		for i, h := range hist[:acked[name]+1] {
			if h.commit && h.present && !found[name][string(h.p)] {
				errs = append(errs, fmt.Errorf("%q: change %d of %d bytes (state %d) is in no version", name, h.change, len(h.p), i))
			}
		}
	}
	return errors.Join(errs...)
}

func tail(hist []crashState, from int, p []byte) string {
	var b strings.Builder
	for i, h := range hist {
		mark := ""
		if bytes.Equal(h.p, p) {
			mark = " (equal)"
		}
		if i == from {
			mark += " (acknowledged)"
		}
		if i+6 >= from {
			fmt.Fprintf(&b, "\n  %d: change %d, present %v, %d bytes%s", i, h.change, h.present, len(h.p), mark)
		}
	}
	return b.String()
}
