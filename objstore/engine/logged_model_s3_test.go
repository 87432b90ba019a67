package engine

import (
	"bytes"
	"slices"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

// What S3 does to the names of a loggedModel.

func (c *loggedModel) putObject() {
	name := c.name()
	c.seed++
	p := bytesOf(c.seed, rapid.SampledFrom([]int{0, 100, 50_000}).Draw(c.t, "length"))
	put(c.t, c.k.s, name, p)
	c.names[name] = &loggedInode{live: p, committed: p}
}

func (c *loggedModel) deleteObject() {
	name := c.name()
	if rapid.Bool().Draw(c.t, "by S3") {
		_, err := c.k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: name})
		c.must("delete", err)
	} else if c.names[name] != nil {
		c.must("unlink", c.k.s.Unlink(bg, mountC, c.root, name))
	}
	delete(c.names, name)
}

// removeVersion removes a version for good, the current one perhaps, whose
// predecessor is current then.
func (c *loggedModel) removeVersion() {
	if c.state == objstore.VersioningOff {
		return
	}
	res, err := c.k.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 1000})
	c.must("versions", err)
	if len(res.Entries) == 0 {
		return
	}
	e := rapid.SampledFrom(res.Entries).Draw(c.t, "version")
	_, err = c.k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: e.Key, Version: e.Version})
	c.must("remove", err)
	was, noncurrent := c.names[e.Key], !e.Latest || e.DeleteMarker
	if noncurrent && !e.Latest {
		return
	}
	p, _, err := get(c.k.s, objstore.GetRequest{Key: e.Key})
	switch {
	case objstore.IsKind(err, objstore.KindNotFound):
		delete(c.names, e.Key)
		return
	case err != nil:
		c.t.Fatal(err)
	}
	if noncurrent && was != nil {
		c.t.Fatalf("%q had a delete marker and bytes", e.Key)
	}
	// Which one it was is in the listing: the next of the key. A file that was open
	// on it is on it again.
	i := slices.IndexFunc(res.Entries, func(o objstore.VersionEntry) bool { return o.Key == e.Key && o.Version == e.Version })
	v, ok := c.kept[e.Key+" "+string(res.Entries[i+1].Version)]
	if !ok {
		c.t.Fatalf("%q: version %q was never seen", e.Key, res.Entries[i+1].Version)
	}
	same(c.t, "predecessor", p, v.p)
	a, err := c.k.s.Lookup(bg, c.root, e.Key)
	c.must("lookup", err)
	now := &loggedInode{live: p, committed: p}
	for _, f := range c.files {
		if f.f.Inode() == a.Inode {
			now = f.n
			now.committed = p
		}
	}
	c.names[e.Key] = now
	delete(c.kept, e.Key+" "+string(res.Entries[i+1].Version))
}

func (c *loggedModel) copyObject() {
	from, to := c.name(), c.name()
	if c.names[from] == nil {
		return
	}
	if from == to {
		return
	}
	_, err := c.k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: from, DstBucket: "bucket", DstKey: to})
	c.must("copy", err)
	c.lookAt(from)
	p := c.names[from].committed
	c.names[to] = &loggedInode{live: p, committed: p}
	c.seen.copied++
}

func (c *loggedModel) appendObject() {
	name := c.name()
	n := c.names[name]
	if n == nil {
		return
	}
	c.seed++
	p := bytesOf(c.seed, rapid.SampledFrom([]int{1, 30_000}).Draw(c.t, "length"))
	for _, size := range []int{len(n.committed), len(n.live)} { // what waits may have been committed by it
		_, err := c.k.s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: name, Body: bytes.NewReader(p), Size: int64(len(p)), Offset: int64(size)})
		if objstore.IsKind(err, objstore.KindInvalidOffset) {
			continue
		}
		c.must("append", err)
		got := mustGet(c.t, c.k.s, name)
		old := n.committed
		if len(got) == len(n.live)+len(p) && bytes.HasPrefix(got, n.live) {
			old = n.live
		}
		want := append(bytes.Clone(old), p...)
		same(c.t, "appended", got, want)
		c.names[name] = &loggedInode{live: want, committed: want}
		return
	}
	c.t.Fatalf("%q cannot be appended to", name)
}

func (c *loggedModel) rename() {
	from, to := c.name(), c.name()
	if c.names[from] == nil || from == to {
		return
	}
	if rapid.Bool().Draw(c.t, "by S3") {
		c.must("rename", c.k.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: "bucket", SrcKey: from, DstKey: to}))
	} else {
		c.must("rename", c.k.s.Rename(bg, mountC, c.root, from, c.root, to, 0))
	}
	c.names[from].commit()
	c.names[to] = c.names[from]
	delete(c.names, from)
}

func (c *loggedModel) encrypt() {
	err := c.k.s.UpdateEncryption(bg, s3C, objstore.UpdateEncryptionRequest{Bucket: "bucket", Key: c.name(), Encryption: objstore.Encryption{Mode: objstore.SSEKMS}})
	if kind := kindOf(err); err != nil && kind != objstore.KindNotFound && kind != objstore.KindInvalidRequest {
		c.t.Fatalf("update encryption: %v", err)
	}
}

func (c *loggedModel) versioning() {
	c.state = rapid.SampledFrom([]objstore.Versioning{objstore.VersioningEnabled, objstore.VersioningEnabled, objstore.VersioningSuspended}).Draw(c.t, "state")
	c.k.versioning(c.state)
}

// versions looks that what is noncurrent stays what it is.
func (c *loggedModel) versions() {
	if c.state == objstore.VersioningOff {
		return
	}
	res, err := c.k.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 1000})
	c.must("versions", err)
	kept := make(map[string]loggedVersion)
	for _, e := range res.Entries {
		if e.DeleteMarker {
			continue
		}
		id := e.Key + " " + string(e.Version)
		p, info, err := get(c.k.s, objstore.GetRequest{Key: e.Key, Version: e.Version})
		c.must("get "+id, err)
		if e.Size != int64(len(p)) || e.ETag != info.ETag {
			c.t.Fatalf("%s: the listing says %+v of %+v", id, e, info)
		}
		was, ok := c.kept[id]
		// One of no number is replaced by the next, where versioning is suspended.
		if ok && was.latest && !bytes.Equal(p, was.p) && slices.ContainsFunc(c.files, func(f loggedFile) bool { return bytes.Equal(p, f.n.live) }) {
			was = loggedVersion{p: p, info: info} // what waited was committed before it was replaced
		}
		if ok && !e.Latest && (e.Version != objstore.NullVersion || c.state == objstore.VersioningEnabled) {
			same(c.t, "version "+id, p, was.p)
			if was.info.ETag != info.ETag || was.info.LastModified != info.LastModified && !was.latest { // times may have waited, too
				c.t.Fatalf("version %s was %+v and is %+v", id, was.info, info)
			}
			c.seen.versions++
		}
		kept[id] = loggedVersion{p, info, e.Latest}
	}
	c.kept = kept
}
