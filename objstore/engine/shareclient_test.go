package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cofferfs/coffer/objstore"
)

// shareClient owns names.
type shareClient struct {
	r     *shareRun
	rnd   *rand.Rand
	names []string
	now   map[string]*sparse // nil: there is no such object
	met   map[string]int
}

// shareBases are objects that nobody changes.
var shareBases = []string{"base0", "base1"}

func (c *shareClient) any() string {
	switch c.rnd.IntN(3) {
	case 0:
		return shareBases[c.rnd.IntN(len(shareBases))]
	case 1:
		return c.names[c.rnd.IntN(len(c.names))]
	}
	return fmt.Sprintf("n%d", c.rnd.IntN(6))
}

var shareEdges = []int64{0, 1, 4096, 64 << 10, 300_000, 5 << 20, 64<<20 - 100_000, 64<<20 - 1, 64 << 20, 64<<20 + 70_000, 128<<20 - 1, 129 << 20}

func (c *shareClient) offset() int64 {
	return shareEdges[c.rnd.IntN(len(shareEdges))] + int64(c.rnd.IntN(3))*int64(c.rnd.IntN(30_000))
}

func (c *shareClient) bytes() []byte {
	return bytesOf(c.rnd.Uint64(), []int{1, 5000, 20_000, 70_000, 200_000, 4<<20 + 100_000}[c.rnd.IntN(6)])
}

// ctx is one that is done at some time in one of a few cases.
func (c *shareClient) ctx() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(bg)
	if c.rnd.IntN(12) == 0 {
		if c.rnd.IntN(2) == 0 {
			cancel()
		} else {
			go cancel()
		}
	}
	return ctx, cancel
}

// allowed are the failures that a run provokes.
func allowed(err error) bool {
	switch kindOf(err) {
	case objstore.KindNoSpace, objstore.KindCanceled, objstore.KindConflict:
		return true
	}
	return errors.Is(err, errFault) || errors.Is(err, context.Canceled)
}

// besides returns a state that is compared where those of its size in a list have
// bytes, too.
func (m *sparse) besides(list []*sparse) *sparse {
	out := m.clone()
	for _, o := range list {
		if o == nil || o.size != m.size {
			continue
		}
		for no := range o.pages {
			if out.pages[no] == nil {
				out.pages[no] = new([sparsePage]byte)
			}
		}
	}
	return out
}

// holds returns which of some states a name has, nil in the list for none.
func (c *shareClient) holds(name string, list []*sparse) (*sparse, error) {
	s := c.r.k.s
	info, err := s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: name})
	gone := objstore.IsKind(err, objstore.KindNotFound)
	if err != nil && !gone {
		return nil, err
	}
	last := fmt.Errorf("%d states, and it is there: %v", len(list), !gone)
	for i := len(list) - 1; i >= 0; i-- {
		m := list[i]
		if gone || m == nil {
			if gone && m == nil {
				return nil, nil
			}
			continue
		}
		if m.size != info.Size {
			continue
		}
		err := m.besides(list).diff(info.Size, func(off int64, n int) ([]byte, error) {
			if off >= info.Size {
				return nil, nil
			}
			p, _, err := get(s, objstore.GetRequest{Key: name, Range: &objstore.Range{First: off, Last: min(off+int64(n), info.Size) - 1}})
			return p, err
		})
		if err == nil {
			return m, nil
		}
		var e *objstore.Error
		if errors.As(err, &e) {
			return nil, err
		}
		last = err
	}
	return nil, last
}

// change runs op, after which name holds want, or what it held if op fails.
func (c *shareClient) change(what, name string, want *sparse, op func(ctx context.Context) error) error {
	was := c.now[name]
	c.r.note(name, want)
	ctx, cancel := c.ctx()
	defer cancel()
	err := op(ctx)
	if err != nil && !allowed(err) {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	list := []*sparse{want}
	if err != nil {
		list = append(list, was)
		c.met["failed"]++
	} else {
		c.met[what]++
	}
	now, herr := c.holds(name, list)
	if herr != nil {
		return fmt.Errorf("after %s %s, which said %v: %w", what, name, err, herr)
	}
	c.now[name] = now
	c.r.note(name, now)
	return nil
}

func (c *shareClient) put(name string) error {
	p, want := c.bytes(), newSparse()
	want.put(p, 0)
	return c.change("put", name, want, func(ctx context.Context) error {
		_, err := c.r.k.s.PutObject(ctx, s3C, objstore.PutRequest{Bucket: "bucket", Key: name, Body: bytes.NewReader(p), Size: int64(len(p))})
		return err
	})
}

func (c *shareClient) remove(name string) error {
	if c.now[name] == nil {
		return nil
	}
	return c.change("remove", name, nil, func(ctx context.Context) error {
		if c.rnd.IntN(2) == 0 {
			err := c.r.k.s.Unlink(ctx, mountC, c.r.root, name)
			return err
		}
		_, err := c.r.k.s.DeleteObject(ctx, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: name})
		return err
	})
}

// copyFrom copies what may be changed by its owner meanwhile, to a copy of something
// else for one.
func (c *shareClient) copyFrom(name, from string) error {
	was := c.now[name]
	ctx, cancel := c.ctx()
	defer cancel()
	_, err := c.r.k.s.CopyObject(ctx, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: from, DstBucket: "bucket", DstKey: name,
		Meta: &objstore.ObjectMeta{ContentType: "a/b"}})
	if err != nil && !allowed(err) && !objstore.IsKind(err, objstore.KindNotFound) {
		return fmt.Errorf("copy of %s to %s: %w", from, name, err)
	}
	var list []*sparse
	if err != nil {
		list = append(list, was)
	} else {
		c.met["copy"]++
	}
	if !objstore.IsKind(err, objstore.KindNotFound) {
		list = append(list, c.r.all()...)
		list = append(list, c.r.had(from)...)
	}
	now, herr := c.holds(name, list)
	if herr != nil {
		return fmt.Errorf("copy of %s to %s, which said %v: %w", from, name, err, herr)
	}
	c.now[name] = now
	c.r.note(name, now)
	return nil
}

func (c *shareClient) appendTo(name string) error {
	was := c.now[name]
	if was == nil {
		return nil
	}
	p, want := c.bytes(), was.clone()
	want.put(p, was.size)
	return c.change("append", name, want, func(ctx context.Context) error {
		_, err := c.r.k.s.AppendObject(ctx, s3C, objstore.PutRequest{Bucket: "bucket", Key: name, Body: bytes.NewReader(p), Size: -1, Offset: was.size})
		return err
	})
}

// upload puts an object together from ranges of others, which do not change
// meanwhile, and from bodies.
func (c *shareClient) upload(name string) error {
	s := c.r.k.s
	up, err := s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: name})
	if err != nil {
		if allowed(err) {
			return nil
		}
		return err
	}
	want := newSparse()
	var parts []objstore.CompletePart
	for number := 1; number <= 1+c.rnd.IntN(3); number++ {
		from := shareBases[c.rnd.IntN(len(shareBases))]
		if own := c.names[c.rnd.IntN(len(c.names))]; c.now[own] != nil && c.rnd.IntN(2) == 0 {
			from = own
		}
		src := c.r.had(from)[0]
		if c.now[from] != nil {
			src = c.now[from]
		}
		at := want.size
		var info objstore.PartInfo
		if src.size < 5<<20 || c.rnd.IntN(4) == 0 {
			p := bytesOf(c.rnd.Uint64(), 5<<20+c.rnd.IntN(3))
			want.put(p, at)
			info, _, err = s.UploadPart(bg, s3C, objstore.UploadPartRequest{
				Bucket: "bucket", Key: name, Upload: up.ID, Number: number, Body: bytes.NewReader(p), Size: int64(len(p)),
			})
		} else {
			first := min(c.offset(), src.size-5<<20)
			n := min(5<<20+c.offset(), src.size-first)
			for _, d := range src.data() {
				if lo, hi := max(d[0], first), min(d[1], first+n); lo < hi {
					want.put(src.read(lo, int(hi-lo)), at+lo-first)
				}
			}
			want.size = at + n
			for range 3 {
				info, _, err = s.CopyPart(bg, s3C, objstore.CopyPartRequest{
					SrcBucket: "bucket", SrcKey: from, SrcRange: &objstore.Range{First: first, Last: first + n - 1},
					Bucket: "bucket", Key: name, Upload: up.ID, Number: number,
				})
				if err == nil {
					break
				}
			}
		}
		if err != nil {
			if allowed(err) {
				return nil // it is given up in the end
			}
			return fmt.Errorf("part %d of %s from %s: %w", number, name, from, err)
		}
		parts = append(parts, objstore.CompletePart{Number: number, ETag: info.ETag})
	}
	return c.change("upload", name, want, func(ctx context.Context) error {
		_, err := s.CompleteUpload(ctx, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: name, Upload: up.ID, Parts: parts, Size: -1})
		return err
	})
}

// edit changes a file through the mount, one commit for each change.
func (c *shareClient) edit(name string) error {
	s := c.r.k.s
	empty := newSparse()
	if c.now[name] == nil {
		c.r.note(name, empty)
	}
	_, f, err := s.Create(bg, mountC, c.r.root, name, 0o644, objstore.OpenFlags{Read: true, Write: true}, false)
	if err != nil {
		if !allowed(err) {
			return fmt.Errorf("open %s: %w", name, err)
		}
		now, err := c.holds(name, []*sparse{c.now[name], empty})
		c.now[name] = now
		c.r.note(name, now)
		return err
	}
	defer f.Close(bg)
	if c.now[name] == nil {
		c.now[name] = empty
	}
	for range 1 + c.rnd.IntN(4) {
		want := c.now[name].clone()
		var err error
		switch op := c.rnd.IntN(8); {
		case op < 3:
			p, off := c.bytes()[:], c.offset()
			if len(p) > 1<<20 {
				p = p[:300_000]
			}
			want.put(p, off)
			err = c.change("write", name, want, func(ctx context.Context) error {
				if _, err := f.WriteAt(bg, p, off); err != nil {
					return err
				}
				if c.rnd.IntN(2) == 0 {
					return f.Sync(bg)
				}
				return f.Flush(bg)
			})
		case op < 5:
			err = c.addRange(name, f)
		case op < 7:
			off, n := c.offset(), c.offset()+1
			want.zero(off, n)
			err = c.change("punch", name, want, func(ctx context.Context) error {
				return f.Allocate(ctx, objstore.AllocatePunchHole|objstore.AllocateKeepSize, off, n)
			})
		default:
			size := c.offset()
			want.truncate(size)
			err = c.change("truncate", name, want, func(ctx context.Context) error { return f.Truncate(ctx, size) })
		}
		if err != nil {
			return err
		}
		for range 20 { // it may be told of a failure once
			if f.Flush(bg) == nil {
				break
			}
		}
		size := c.now[name].size
		err = c.now[name].diff(size, func(off int64, n int) ([]byte, error) {
			p := make([]byte, n)
			n, err := f.ReadAt(bg, p, off)
			return p[:n], err
		})
		if err != nil && !allowed(err) {
			return fmt.Errorf("open %s: %w", name, err)
		}
	}
	return nil
}

func (c *shareClient) run(changes int) error {
	for range changes {
		name := c.names[c.rnd.IntN(len(c.names))]
		var err error
		switch op := c.rnd.IntN(20); {
		case op < 2:
			err = c.put(name)
		case op < 4:
			err = c.remove(name)
		case op < 9:
			err = c.copyFrom(name, c.any())
		case op < 11:
			err = c.appendTo(name)
		case op < 13:
			err = c.upload(name)
		default:
			err = c.edit(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
