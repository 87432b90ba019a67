package extent

import "bytes"

// content is a content with what it must read as. Chunks are short in these
// tests only where a content was put together from others.
type content struct {
	c     Content
	bytes map[int64][]byte // pages of 4 KiB
	size  int64            // everything behind it is a hole
	fixed bool             // part of an upload: only ever moved
}

const page = 4096

func (c *content) write(p []byte, off int64) {
	for i := 0; i < len(p); {
		no, at := (off+int64(i))/page, (off+int64(i))%page
		fresh := make([]byte, page)
		copy(fresh, c.bytes[no])
		if p == nil {
			break
		}
		i += copy(fresh[at:], p[i:])
		c.bytes[no] = fresh
	}
	c.size = max(c.size, off+int64(len(p)))
}

func (c *content) zero(off, n int64) {
	for no, was := range c.bytes {
		lo, hi := max(off, no*page), min(off+n, (no+1)*page)
		if lo < hi {
			fresh := bytes.Clone(was)
			clear(fresh[lo-no*page : hi-no*page])
			c.bytes[no] = fresh
		}
	}
}

func (c *content) read(off, n int64) []byte {
	p := make([]byte, n)
	for no, was := range c.bytes {
		lo, hi := max(off, no*page), min(off+n, (no+1)*page)
		if lo < hi {
			copy(p[lo-off:], was[lo-no*page:hi-no*page])
		}
	}
	return p
}

// copyTo makes n bytes of dst at to those of c at off.
func (c *content) copyTo(dst *content, to, off, n int64) {
	for no, was := range c.bytes {
		lo, hi := max(off, no*page), min(off+n, (no+1)*page)
		if lo < hi {
			dst.write(was[lo-no*page:hi-no*page], to+lo-off)
		}
	}
	dst.size = max(dst.size, to+n)
}

// windows are the ranges worth reading.
func (c *content) windows() (list [][2]int64) {
	seen := make(map[int64]bool)
	const size = 512 << 10
	for no := range c.bytes {
		if w := no * page / size; !seen[w] {
			seen[w] = true
			list = append(list, [2]int64{w * size, size})
		}
	}
	return append(list, [2]int64{c.size, 70 << 20 / 64})
}
