package sealedfs

import (
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// PagePayload is the plaintext of one page in bytes. On disk. Small, since a
	// lookup that misses Pebble's cache decrypts whole pages to get one block.
	PagePayload = 4 << 10

	pageSize = PagePayload + tagSize
	// tableBuffer bounds what a table writer gathers before it writes down.
	tableBuffer = 32 * pageSize
)

var (
	pageMiddle = []byte{0}
	pageLast   = []byte{1}
)

// tableSize returns the plaintext length of a table file of the given length;
// ok is false where no table has that length.
func tableSize(length int64) (plain int64, ok bool) {
	body := length - HeaderSize
	if body < tagSize {
		return 0, false
	}
	pages := (body + pageSize - 1) / pageSize
	plain = body - pages*tagSize
	// A last page without content exists only in an empty file.
	if plain < 0 || (pages > 1 && plain <= (pages-1)*PagePayload) {
		return 0, false
	}
	return plain, true
}

// tableWriter writes a table, blob or other file. Write, Sync and Close are
// called one at a time (vfs.File).
type tableWriter struct {
	fs   *FS
	name string
	base vfs.File
	h    *header

	plain    []byte // the page being filled, at most PagePayload
	out      []byte // sealed and not yet written down
	pages    uint64
	written  int64 // bytes below
	size     int64 // plaintext
	finished bool
	err      error // the first failure; a table that failed stays failed
}

func (fs *FS) createTable(name string, k kind, number uint64, category vfs.DiskWriteCategory) (vfs.File, error) {
	h, err := fs.newHeader(k, number)
	if err != nil {
		return nil, err
	}
	base, err := fs.base.Create(name, category)
	if err != nil {
		fs.tableFailed(err)
		return nil, err
	}
	w := &tableWriter{fs: fs, name: name, base: base, h: h}
	w.plain = make([]byte, 0, PagePayload)
	w.out = h.append(make([]byte, 0, tableBuffer+pageSize+HeaderSize))
	return w, nil
}

func (w *tableWriter) Write(p []byte) (int, error) {
	if w.finished {
		return 0, errUnsupported
	}
	n := 0
	for n < len(p) {
		if err := w.report(); err != nil {
			return n, err
		}
		// A full page is sealed only when more follows: the last one is sealed
		// differently.
		if len(w.plain) == PagePayload {
			w.sealPage(pageMiddle)
			if len(w.out) >= tableBuffer {
				w.flush()
			}
		}
		m := copy(w.plain[len(w.plain):PagePayload], p[n:])
		w.plain = w.plain[:len(w.plain)+m]
		n += m
	}
	w.size += int64(n)
	return n, w.report()
}

func (w *tableWriter) sealPage(position []byte) {
	w.pages++
	w.out = w.h.cipher.Seal(w.out, w.plain, position, w.pages)
	w.plain = w.plain[:0]
}

func (w *tableWriter) flush() {
	if w.err != nil || len(w.out) == 0 {
		return
	}
	if w.err = w.fs.frozen(); w.err != nil {
		return
	}
	n, err := w.fs.writeAll(w.base, w.out)
	w.written += int64(n)
	w.out = w.out[:0]
	w.fail(err)
}

// fail notes the first failure. Pebble's options are written at the end of its Open, and
// Pebble panics when that fails there, with readers of tables still at work:
// so that freezes the FS instead, and is not reported.
func (w *tableWriter) fail(err error) {
	if err == nil || w.err != nil {
		return
	}
	w.err = err
	if w.h.kind == kindOther {
		w.fs.freeze("write", w.name, err)
		return
	}
	w.fs.tableFailed(err)
}

// report is what Pebble is told of w.err.
func (w *tableWriter) report() error {
	if w.h.kind == kindOther {
		return nil
	}
	return w.err
}

// Sync ends the table and makes it durable.
func (w *tableWriter) Sync() error {
	if w.finished {
		return w.report()
	}
	w.finished = true
	if w.err == nil {
		w.sealPage(pageLast)
		w.flush()
	}
	if w.err == nil {
		w.fail(w.fs.beforeDurable())
	}
	if w.err == nil {
		w.fail(w.base.SyncData())
	}
	if w.err == nil {
		w.fs.tableSucceeded()
	}
	return w.report()
}

func (w *tableWriter) SyncData() error { return w.Sync() }

// SyncTo starts writeback of what was written down.
func (w *tableWriter) SyncTo(int64) (bool, error) {
	if w.err != nil || w.written == 0 {
		return false, w.err
	}
	_, err := w.base.SyncTo(w.written)
	w.fail(err)
	// Never a full sync: what is still in memory is not covered.
	return false, w.err
}

// Close without Sync leaves a file that does not open: an abandoned table.
func (w *tableWriter) Close() error { return w.base.Close() }

func (w *tableWriter) Stat() (vfs.FileInfo, error) {
	fi, err := w.base.Stat()
	if err != nil {
		return nil, err
	}
	return fileInfo{FileInfo: fi, size: w.size}, nil
}

func (w *tableWriter) Fd() uintptr                            { return fd(w.base) }
func (w *tableWriter) Preallocate(int64, int64) error         { return nil }
func (w *tableWriter) Prefetch(int64, int64) error            { return nil }
func (w *tableWriter) Read([]byte) (int, error)               { return 0, errUnsupported }
func (w *tableWriter) ReadAt([]byte, int64) (int, error)      { return 0, errUnsupported }
func (w *tableWriter) WriteAt(p []byte, _ int64) (int, error) { return 0, errUnsupported }

// tableReader reads a table, blob or other file. ReadAt may be called
// concurrently.
type tableReader struct {
	noWrite
	name  string
	base  vfs.File
	h     *header
	size  int64 // plaintext
	pages int64
	pos   int64 // of Read
}

// openTable authenticates the header and the last page, and with them the
// length.
func (fs *FS) openTable(name string, base vfs.File) (*tableReader, error) {
	fi, err := base.Stat()
	if err != nil {
		return nil, err
	}
	var buf [HeaderSize]byte
	n, err := base.ReadAt(buf[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	h, err := fs.parseHeader(name, buf[:n])
	if err != nil {
		return nil, err
	}
	size, ok := tableSize(fi.Size())
	if !ok {
		return nil, corrupt(name, "length %d", fi.Size())
	}
	r := &tableReader{name: name, base: base, h: h, size: size}
	r.pages = (fi.Size() - HeaderSize + pageSize - 1) / pageSize
	if err := r.readPages(nil, 0, r.pages-1, r.pages-1); err != nil {
		return nil, err
	}
	return r, nil
}

var pagePool = sync.Pool{New: func() any { b := make([]byte, 0, 4*pageSize); return &b }}

// readPages decrypts pages first to last and copies what of them falls on
// [off, off+len(p)) to p.
func (r *tableReader) readPages(p []byte, off, first, last int64) error {
	start := first * pageSize
	length := (last + 1 - first) * pageSize
	if last == r.pages-1 {
		length = r.size + r.pages*tagSize - start
	}
	pooled := pagePool.Get().(*[]byte)
	defer pagePool.Put(pooled)
	if int64(cap(*pooled)) < length {
		*pooled = make([]byte, length)
	}
	sealed := (*pooled)[:length]
	n, err := r.base.ReadAt(sealed, HeaderSize+start)
	if int64(n) < length {
		if err == nil || err == io.EOF {
			return corrupt(r.name, "ends at %d while it is read", HeaderSize+start+int64(n))
		}
		return err
	}
	for page := first; page <= last; page++ {
		b := sealed[:min(int64(len(sealed)), pageSize)]
		sealed = sealed[len(b):]
		position := pageMiddle
		if page == r.pages-1 {
			position = pageLast
		}
		plain, err := r.h.cipher.Open(b[:0], b, position, uint64(page)+1)
		if err != nil {
			return corrupt(r.name, "page %d", page)
		}
		from := page * PagePayload
		if skip := off - from; skip > 0 {
			plain, from = plain[min(skip, int64(len(plain))):], off
		}
		if at := from - off; at < int64(len(p)) {
			copy(p[at:], plain)
		}
	}
	return nil
}

func (r *tableReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errUnsupported
	}
	n := min(int64(len(p)), r.size-off)
	if n <= 0 {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	if err := r.readPages(p[:n], off, off/PagePayload, (off+n-1)/PagePayload); err != nil {
		return 0, err
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (r *tableReader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (r *tableReader) Stat() (vfs.FileInfo, error) {
	fi, err := r.base.Stat()
	if err != nil {
		return nil, err
	}
	return fileInfo{FileInfo: fi, size: r.size}, nil
}

func (r *tableReader) Prefetch(off, length int64) error {
	first := off / PagePayload * pageSize
	return r.base.Prefetch(HeaderSize+first, (length/PagePayload+2)*pageSize)
}

func (r *tableReader) Close() error { return r.base.Close() }
func (r *tableReader) Fd() uintptr  { return fd(r.base) }
