package sealedfs

import (
	"encoding/binary"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logReader reads a log or manifest from front to back: Pebble's own bytes by
// Read, or frame by frame by next.
type logReader struct {
	noWrite
	name  string
	base  vfs.File
	ahead aheadReader // of base
	h     *header
	size  int64 // of the file below

	off   int64  // where the next frame begins
	index uint64 // of the last frame
	last  tag    // of the last data or anchor frame, or of the header
	final bool   // the final frame was read
	buf   []byte // sealed frame, decrypted in place
	rest  []byte // of the current data frame, not yet returned by Read
	err   error  // why there is no next frame: io.EOF or a failure
}

// openLog authenticates the header. A log that was never more than a header,
// and not even a good one, comes from a crash while it was created; it has no
// frames, and h is nil.
func (fs *FS) openLog(name string, base vfs.File) (*logReader, error) {
	fi, err := base.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > MaxLog {
		return nil, corrupt(name, "has %d bytes", fi.Size())
	}
	r := &logReader{name: name, base: base, ahead: aheadReader{base: base}, size: fi.Size(), off: HeaderSize}
	var b [HeaderSize]byte
	n, err := r.ahead.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	r.h, err = fs.parseHeader(name, b[:n])
	if err != nil {
		if k, _, _ := classify(name); k == kindLog && r.size <= HeaderSize {
			r.h, r.err = nil, io.EOF
			return r, nil
		}
		return nil, err
	}
	r.last = r.h.tag
	return r, nil
}

// next reads the next frame. The content is valid until the next call. It
// returns io.EOF at the end, be it torn or not.
func (r *logReader) next() (f frame, content []byte, err error) {
	if r.err != nil {
		return frame{}, nil, r.err
	}
	f, content, ok, err := r.frameAt(r.off)
	switch {
	case err != nil:
		r.err = err
	case r.off == r.size:
		r.err = io.EOF
	case r.final:
		r.err = r.zerosToEnd()
	case !ok || f.index != r.index+1:
		r.err = r.tornOrCorrupt()
	}
	if r.err != nil {
		return frame{}, nil, r.err
	}
	r.index = f.index
	r.off += frameOverhead + int64(f.length)
	switch f.typ {
	case frameData, frameAnchor:
		copy(r.last[:], r.buf[len(r.buf)-tagSize:])
	case frameFinal:
		r.final = true
	}
	if f.typ == frameAnchor && len(content) != anchorSize ||
		f.typ == frameFinal && len(content) != anchorSize+8 ||
		f.typ == frameMark && len(content) != 0 {
		r.err = corrupt(r.name, "frame %d has %d bytes", f.index, len(content))
		return frame{}, nil, r.err
	}
	return f, content, nil
}

// zerosToEnd returns io.EOF if nothing but what the writer wrote ahead follows.
func (r *logReader) zerosToEnd() error {
	buf := make([]byte, 64<<10)
	for off := r.off; off < r.size; {
		n, err := r.base.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return err
		}
		if slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) {
			return corrupt(r.name, "has bytes after the end, which is at %d", r.off)
		}
		if n == 0 {
			break
		}
		off += int64(n)
	}
	return io.EOF
}

// frameAt opens the frame at off; ok is false if there is none that
// authenticates. r.buf then holds its ciphertext and tag.
func (r *logReader) frameAt(off int64) (f frame, content []byte, ok bool, err error) {
	var head [frameHeader]byte
	n, err := r.ahead.ReadAt(head[:], off)
	if err != nil && err != io.EOF {
		return frame{}, nil, false, err
	}
	f, ok = parseFrame(head[:n])
	if !ok || off+frameOverhead+int64(f.length) > r.size {
		return frame{}, nil, false, nil
	}
	if need := int(f.length) + tagSize; cap(r.buf) < need {
		r.buf = make([]byte, need)
	} else {
		r.buf = r.buf[:need]
	}
	n, err = r.ahead.ReadAt(r.buf, off+frameHeader)
	if n < len(r.buf) {
		if err == io.EOF {
			err = nil
		}
		return frame{}, nil, false, err
	}
	content, err = r.h.cipher.Open(r.buf[:0], r.buf, head[:], f.index)
	return f, content, err == nil, nil
}

// scanWindow is how much of a damaged log is searched at a time.
const scanWindow = 1 << 20

// tornOrCorrupt decides what a frame at r.off that does not open means: io.EOF
// if the log ended there when the machine stopped, corruption if a later
// frame says that it was durable.
func (r *logReader) tornOrCorrupt() error {
	buf := r.buf
	r.buf = nil
	window := make([]byte, scanWindow+frameHeader)
	for base := r.off; base < r.size; {
		n, err := r.base.ReadAt(window, base)
		if err != nil && err != io.EOF {
			return err
		}
		if n < frameHeader {
			break
		}
		step := int64(n - frameHeader + 1)
		for i := int64(0); i < step; i++ {
			off := base + i
			f, ok := parseFrame(window[i:n])
			if !ok || f.index <= r.index || off+frameOverhead+int64(f.length) > r.size {
				continue
			}
			f, _, ok, err := r.frameAt(off)
			if err != nil {
				return err
			}
			if ok && f.synced > uint64(r.off) {
				return corrupt(r.name, "frame %d at %d was synced and does not open", r.index+1, r.off)
			}
		}
		base += step
	}
	r.buf = buf
	return io.EOF
}

func (r *logReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		f, content, err := r.next()
		if err != nil {
			return 0, err
		}
		if f.typ == frameData {
			r.rest = content
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *logReader) ReadAt([]byte, int64) (int, error) { return 0, errUnsupported }
func (r *logReader) Prefetch(int64, int64) error       { return nil }
func (r *logReader) Stat() (vfs.FileInfo, error)       { return r.base.Stat() }
func (r *logReader) Close() error                      { return r.base.Close() }
func (r *logReader) Fd() uintptr                       { return fd(r.base) }

// logEnd is what a whole log or manifest says.
type logEnd struct {
	end       int64  // length of the part that holds
	last      tag    // of the last data or anchor frame, or of the header
	anchor    anchor // the latest
	final     bool
	successor uint64 // of a closed log; 0 for none
}

// readToEnd reads all frames; visit, if not nil, is called with each one's
// end and the last chained tag up to there.
func (r *logReader) readToEnd(visit func(end int64, last tag)) (logEnd, error) {
	e := logEnd{anchor: r.h.anchor}
	for {
		f, content, err := r.next()
		if err == io.EOF {
			e.end, e.last = r.off, r.last
			return e, nil
		}
		if err != nil {
			return logEnd{}, err
		}
		switch f.typ {
		case frameAnchor:
			e.anchor = parseAnchor(content)
		case frameFinal:
			e.anchor = parseAnchor(content)
			e.final, e.successor = true, binary.BigEndian.Uint64(content[anchorSize:])
		}
		if visit != nil {
			visit(r.off, r.last)
		}
	}
}
