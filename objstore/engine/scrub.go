package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// ScrubReport counts what Scrub has looked at.
type ScrubReport struct {
	Buckets     int
	Directories int
	Files       int   // also links, pipes and the like
	Versions    int   // that are not current, delete markers aside
	Parts       int   // of uploads under way
	Bytes       int64 // of contents that were decrypted, all of them authentic
	KeyRequired int   // contents under customers' keys that are not at hand: not read
	KeyLocked   int   // contents under keys that are disabled or deleted: not read
	Damaged     int   // what cannot be read as it was written
}

// ScrubOptions say how Scrub goes about it. Its functions are called by one goroutine.
type ScrubOptions struct {
	// Origin is the one whose lent keys open what is encrypted under customers'
	// keys (LendKeys).
	Origin uint32
	// Damaged is told of what cannot be read: where it is, as a path from the root of
	// all buckets, and why. It must not be nil.
	Damaged func(path string, err error)
	// Progress is told now and then how far it has come; nil: nobody is.
	Progress func(ScrubReport)
}

// scrubPage is how many names a snapshot of Scrub goes over, and scrubRecords how many
// records, which are read for nothing but to see that they can be.
const (
	scrubPage    = 512
	scrubRecords = 16 << 10
)

// Scrub reads everything that the doors show - all names, all contents, noncurrent
// versions, parts of uploads - and then all records of the metadata, and tells what
// cannot be read as it was written, before somebody needs it. It changes nothing and
// goes on behind what is damaged. The store can be used meanwhile: what comes and goes
// may be counted or not. Its error says why it did not come to the end.
//
// What nothing leads to is not read: removed files, and what compaction has not given
// back yet. Small reads may be answered by the kernel's page cache in place of the disk.
func (s *Store) Scrub(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	c := scrub{s: s, o: o, links: make(map[objstore.InodeID]bool)}
	err := c.directory(ctx, objstore.RootInode, "")
	if err == nil {
		err = c.records(ctx)
	}
	return c.report, err
}

// scrub is a Scrub under way.
type scrub struct {
	s      *Store
	o      ScrubOptions
	report ScrubReport
	links  map[objstore.InodeID]bool // files with several names that were read
}

// verdict notes what reading something has come to. It returns err when the scrub is to
// end with it.
func (c *scrub) verdict(ctx context.Context, path string, err error) error {
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return c.s.wrap("scrub", "", ctx.Err())
	case objstore.IsKind(err, objstore.KindShutdown):
		return err
	case objstore.IsKind(err, objstore.KindStale): // removed meanwhile
	case objstore.IsKind(err, objstore.KindKeyRequired):
		c.report.KeyRequired++
	case objstore.IsKind(err, objstore.KindKeyDisabled), objstore.IsKind(err, objstore.KindKeyPendingDeletion), objstore.IsKind(err, objstore.KindNoSuchKey):
		c.report.KeyLocked++
	default:
		c.report.Damaged++
		c.o.Damaged(path, err)
	}
	if c.o.Progress != nil {
		c.o.Progress(c.report)
	}
	return nil
}

// below is a path below another.
func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// directory reads a directory and everything below it.
func (c *scrub) directory(ctx context.Context, dir objstore.InodeID, path string) error {
	err := pages(ctx, c, path, meta.Prefix(record.DirentPrefix(dir)), pageOf[listed]{
		parse: func(p meta.Pair) (e listed, ok bool, err error) {
			if e.stored, err = record.DirentName(p.Key); err == nil {
				e.d, err = record.ParseDirent(p.Value)
			}
			return e, true, err
		},
		inode: func(e listed) objstore.InodeID { return e.d.Inode },
		each:  func(e listed, n *record.Inode) error { return c.entry(ctx, dir, path, e, n) },
	})
	if err != nil || dir == objstore.RootInode {
		return err
	}
	var past []history
	err = c.s.view(ctx, "scrub", path, func(r reader) error {
		n, err := r.inode(dir)
		if err != nil {
			return err
		}
		if n.Parent == objstore.RootInode {
			if _, err := r.bucket(dir); err != nil {
				return err
			}
		}
		past = historiesOf(dir, n)
		_, err = r.xattrs(dir, n)
		return err
	})
	if err != nil {
		return c.verdict(ctx, path, err)
	}
	for _, h := range past {
		if err := c.history(ctx, h.id, path); err != nil {
			return err
		}
	}
	return nil
}

// entry reads what an entry stands for.
func (c *scrub) entry(ctx context.Context, dir objstore.InodeID, path string, e listed, n *record.Inode) error {
	name, _ := record.SplitStored(e.stored)
	path = below(path, name)
	switch {
	case n == nil:
		return c.lost(ctx, path)
	case n.Type != e.d.Type:
		return c.verdict(ctx, path, objstore.E(objstore.KindCorrupt, "scrub", path, "the record is that of a file of another type"))
	case n.Type == objstore.TypeDirectory:
		if dir != objstore.RootInode {
			c.report.Directories++
			return c.directory(ctx, e.d.Inode, path)
		}
		c.report.Buckets++
		if err := c.directory(ctx, e.d.Inode, path); err != nil {
			return err
		}
		return c.uploads(ctx, e.d.Inode, path)
	case c.links[e.d.Inode]:
		return nil
	case n.Nlink > 1:
		c.links[e.d.Inode] = true
	}
	c.report.Files++
	return c.file(ctx, e.d.Inode, path)
}

// lost notes a name without a file.
func (c *scrub) lost(ctx context.Context, path string) error {
	return c.verdict(ctx, path, objstore.E(objstore.KindCorrupt, "scrub", path, "the record of the file is missing or damaged"))
}

// file reads a file.
func (c *scrub) file(ctx context.Context, ino objstore.InodeID, path string) error {
	return c.read(ctx, path, func(r reader) (*Object, extent.Content, error) {
		n, err := r.inode(ino)
		if err != nil {
			return nil, extent.Content{}, err
		}
		if _, err := r.xattrs(ino, n); err != nil {
			return nil, extent.Content{}, err
		}
		if n.Type != objstore.TypeRegular || n.Content.Mode == objstore.SSENone {
			return nil, extent.Content{}, nil
		}
		oek, err := c.open(ctx, &n.Content)
		if err != nil {
			return nil, extent.Content{}, err
		}
		o := &Object{n: n, oek: oek}
		parts, err := r.parts(n)
		if err == nil && parts != nil {
			_, err = openPartSums(&n.Content, oek, parts)
		}
		return o, extent.Of(n.Content.ID, oek), err
	})
}

// open opens a content's key. The caller wipes it.
func (c *scrub) open(ctx context.Context, content *record.Content) (*extent.Keys, error) {
	if content.Mode != objstore.SSEC {
		return c.s.openOEK(ctx, content, nil)
	}
	oek, key, err := c.s.openLent(ctx, objstore.Caller{Origin: c.o.Origin}, content)
	key.Wipe()
	return oek, err
}

// read reads a content that open finds, nothing when it finds none.
func (c *scrub) read(ctx context.Context, path string, open func(reader) (*Object, extent.Content, error)) error {
	held := &pinned{pin: c.s.extents.Pin()}
	defer held.release()
	err := c.s.view(ctx, "scrub", path, func(r reader) error {
		o, content, err := open(r)
		if o == nil {
			return err
		}
		defer o.oek.Wipe()
		if err != nil {
			return err
		}
		o.s, o.ctx, o.r, o.pinned, o.Info.Key = c.s, ctx, r, held, path
		n, err := o.verify(content)
		c.report.Bytes += n
		return err
	})
	return c.verdict(ctx, path, err)
}

// verify reads and authenticates all data that the object has, and returns how many
// bytes they are.
func (o *Object) verify(content extent.Content) (total int64, err error) {
	switch o.n.Content.Layout {
	case record.LayoutEmpty:
		return 0, nil
	case record.LayoutInline:
		plain, err := o.r.appendInline(nil, content)
		clear(plain)
		return int64(len(plain)), err
	}
	logged, err := o.r.loggedWrites(&o.n.Content, o.oek)
	if err != nil {
		return 0, err
	}
	if logged != nil {
		logged.free()
	}
	o.Length = o.n.Size
	return o.writeChunks(io.Discard, content, false)
}

// pastVersion is a version in a history, or a directory that is gone.
type pastVersion struct {
	at record.VersionKeyParts
	v  record.Version
}

// history reads the versions in a history, and those of directories that are gone.
func (c *scrub) history(ctx context.Context, id objstore.InodeID, path string) error {
	return pages(ctx, c, path, meta.Prefix(record.HistoryPrefix(id)), pageOf[pastVersion]{
		parse: func(p meta.Pair) (f pastVersion, ok bool, err error) {
			if f.at, err = record.ParseVersionKey(p.Key); err != nil || f.at.Gone != 0 {
				return f, true, err
			}
			if f.at.Number == 0 { // where the null version is
				return f, false, nil
			}
			f.v, err = record.ParseVersion(p.Value)
			return f, f.v.Inode != 0, err
		},
		inode: func(f pastVersion) objstore.InodeID { return f.v.Inode },
		each: func(f pastVersion, n *record.Inode) error {
			name, _ := record.SplitStored(f.at.Stored)
			path := below(path, name)
			if f.at.Gone != 0 {
				return c.history(ctx, f.at.Gone, path)
			}
			version := objstore.NullVersion
			if !f.v.Null {
				version = c.s.versionID(f.at.Number)
			}
			path += "?versionId=" + string(version)
			c.report.Versions++
			if n == nil {
				return c.lost(ctx, path)
			}
			return c.file(ctx, f.v.Inode, path)
		},
	})
}

// underWay is an upload under way.
type underWay struct {
	key string
	id  record.UploadID
	rec *record.Upload
}

// uploads reads the parts of the uploads under way in a bucket.
func (c *scrub) uploads(ctx context.Context, root objstore.InodeID, path string) error {
	return pages(ctx, c, path, meta.Prefix(record.UploadPrefix(root, "")), pageOf[underWay]{
		parse: func(p meta.Pair) (u underWay, ok bool, err error) {
			if u.key, u.id, err = record.ParseUploadKey(p.Key); err == nil {
				u.rec, err = record.ParseUpload(p.Value)
			}
			return u, true, err
		},
		each: func(u underWay, _ *record.Inode) error {
			return c.parts(ctx, &upload{root, u.id, u.rec}, below(path, u.key)+"?uploadId="+hex.EncodeToString(u.id[:]))
		},
	})
}

// parts reads the parts of an upload.
func (c *scrub) parts(ctx context.Context, u *upload, path string) error {
	return pages(ctx, c, path, meta.Prefix(record.PartPrefix(u.id)), pageOf[int]{
		parse: func(p meta.Pair) (number int, ok bool, err error) {
			number, err = record.ParsePartKey(p.Key)
			return number, true, err
		},
		each: func(number int, _ *record.Inode) error {
			c.report.Parts++
			return c.read(ctx, fmt.Sprintf("%s&partNumber=%d", path, number), func(r reader) (*Object, extent.Content, error) {
				v, err := r.Get(record.PartKey(u.id, number))
				if errors.Is(err, meta.ErrNotFound) { // replaced, or its upload ended
					return nil, extent.Content{}, nil
				}
				if err != nil {
					return nil, extent.Content{}, err
				}
				p, err := record.ParsePart(v)
				if err != nil {
					return nil, extent.Content{}, err
				}
				oek, err := c.open(ctx, &u.rec.Content)
				if err != nil {
					return nil, extent.Content{}, err
				}
				n := &record.Inode{Size: p.Size, Content: record.Content{ID: p.ID, Layout: record.LayoutChunks}}
				return &Object{n: n, oek: oek}, u.part(p.ID, oek), nil
			})
		},
	})
}

// records reads all metadata, which authenticates them.
func (c *scrub) records(ctx context.Context) error {
	nothing := func(meta.Pair) (t struct{}, ok bool, err error) { return t, false, nil }
	for start := []byte{}; start != nil; {
		err := c.s.view(ctx, "scrub", "metadata", func(r reader) (err error) {
			_, start, err = readPage(r, meta.Range{Start: start}, scrubRecords, nothing)
			return err
		})
		if stop := c.verdict(ctx, "", err); err != nil || stop != nil {
			return stop
		}
	}
	return nil
}
