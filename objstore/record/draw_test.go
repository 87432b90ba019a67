package record

import (
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"pgregory.net/rapid"
)

// What can be in a record, at random.

func some(t *rapid.T, label string) []byte { return rapid.SliceOfN(rapid.Byte(), 1, 80).Draw(t, label) }

func maybe(t *rapid.T, label string) []byte {
	if b := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, label); len(b) > 0 {
		return b
	}
	return nil
}

func text(t *rapid.T, label string) string { return rapid.StringN(0, 20, 60).Draw(t, label) }

func drawID(t *rapid.T, label string) [16]byte {
	return [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
}

func sure(t *rapid.T, label string) [16]byte {
	id := drawID(t, label)
	id[0] |= 1
	return id
}

func size(t *rapid.T, label string, most int64) int64 {
	return rapid.Int64Range(0, most).Draw(t, label)
}

func when(t *rapid.T, label string) objstore.Time {
	return objstore.Time(rapid.Int64().Draw(t, label))
}

func pairs(t *rapid.T, label string) map[string]string {
	m := rapid.MapOfN(rapid.StringN(0, 10, 30), rapid.StringN(0, 10, 30), 0, 5).Draw(t, label)
	if len(m) == 0 {
		return nil
	}
	return m
}

func algorithm(t *rapid.T) (checksum.Algorithm, checksum.Type) {
	return rapid.SampledFrom(append(checksum.Algorithms(), "")).Draw(t, "algorithm"),
		rapid.SampledFrom([]checksum.Type{"", checksum.FullObject, checksum.Composite}).Draw(t, "type")
}

func drawMeta(t *rapid.T) objstore.ObjectMeta {
	return objstore.ObjectMeta{
		ContentType: text(t, "type"), CacheControl: text(t, "cache"), ContentDisposition: text(t, "disposition"),
		ContentEncoding: text(t, "encoding"), ContentLanguage: text(t, "language"), Expires: text(t, "expires"),
		WebsiteRedirect: text(t, "redirect"), StorageClass: text(t, "class"), User: pairs(t, "user"),
	}
}

func drawInode(t *rapid.T) *Inode {
	u32 := rapid.Uint32()
	n := &Inode{
		Type: objstore.FileType(rapid.IntRange(1, 7).Draw(t, "type")), Mode: rapid.Uint32Range(0, 07777).Draw(t, "mode"),
		UID: u32.Draw(t, "uid"), GID: u32.Draw(t, "gid"), Nlink: u32.Draw(t, "nlink"), Rdev: u32.Draw(t, "rdev"),
		Size: size(t, "size", objstore.MaxFileSize), Allocated: size(t, "allocated", 1<<62),
		Atime: when(t, "atime"), Mtime: when(t, "mtime"), Ctime: when(t, "ctime"), Btime: when(t, "btime"),
		Bucket: objstore.InodeID(rapid.Uint64().Draw(t, "bucket")), Parent: objstore.InodeID(rapid.Uint64().Draw(t, "parent")),
		Explicit: rapid.Bool().Draw(t, "explicit"), HasXattrs: rapid.Bool().Draw(t, "xattrs"), HasMarker: rapid.Bool().Draw(t, "marker"),
		TagCount: rapid.Uint8Range(0, 10).Draw(t, "tags"),
		Target:   text(t, "target"),
		Seq:      rapid.Uint64().Draw(t, "number"), Null: rapid.Bool().Draw(t, "null"), Held: rapid.Bool().Draw(t, "held"),
		History: objstore.InodeID(rapid.Uint64().Draw(t, "history")), Name: text(t, "name"), Lock: drawLock(t),
		Restored: when(t, "restored"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "histories") {
		n.Past = append(n.Past, objstore.InodeID(rapid.Uint64Min(1).Draw(t, "past")))
	}
	c := &n.Content
	c.Gen = rapid.Uint64().Draw(t, "gen")
	if rapid.Bool().Draw(t, "content") {
		c.ID = sure(t, "id")
		c.Layout = Layout(rapid.IntRange(0, 2).Draw(t, "layout"))
		if c.Layout == LayoutChunks {
			c.Logged = rapid.Uint32Range(0, MaxLoggedWrites).Draw(t, "logged")
		}
		c.Mode = objstore.SSEMode(rapid.IntRange(1, 4).Draw(t, "mode"))
		c.DEK, c.SealedOEK = DEKID(rapid.Uint64().Draw(t, "dek")), maybe(t, "oek")
		c.KMSKeyID, c.BucketKey = text(t, "key"), rapid.Bool().Draw(t, "bucket key")
		drawOuter(t, c)
		c.PartCount = u32.Draw(t, "parts")
		c.ChecksumAlgo, c.ChecksumType = algorithm(t)
		c.Checksum = maybe(t, "checksum")
		c.SealedMD5 = maybe(t, "md5")
		c.ChecksumKey = maybe(t, "checksum key")
	}
	if c.ETag = ETagKind(rapid.IntRange(0, 3).Draw(t, "etag kind")); c.ETag != ETagKeyed {
		c.ETagSum = drawID(t, "etag")
	}
	if rapid.Bool().Draw(t, "meta") {
		m := drawMeta(t)
		n.Meta = &m
	}
	n.Content.Appends = u32.Draw(t, "appends")
	if rapid.Bool().Draw(t, "renamed") {
		n.Renamed = drawID(t, "renamed as")
	}
	return n
}

func drawDirent(t *rapid.T) Dirent {
	return Dirent{
		Type:     objstore.FileType(rapid.IntRange(1, 7).Draw(t, "type")),
		Shadowed: rapid.Bool().Draw(t, "shadowed"),
		Inode:    objstore.InodeID(rapid.Uint64Min(1).Draw(t, "inode")),
	}
}

func drawXattrs(t *rapid.T) Xattrs {
	return Xattrs(rapid.MapOfN(rapid.String(), rapid.String(), 0, 8).Draw(t, "attributes"))
}

func drawRoot(t *rapid.T) *Root {
	return &Root{
		StoreID: drawID(t, "store"), NextInode: objstore.InodeID(rapid.Uint64Min(2).Draw(t, "next")),
		ETagKey: rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"), Created: when(t, "created"),
		VersionCeil: rapid.Uint64().Draw(t, "ceiling"),
	}
}

func drawBucket(t *rapid.T) *Bucket {
	return &Bucket{Created: when(t, "created"), DEK: DEKID(rapid.Uint64Min(1).Draw(t, "dek")), ETags: drawForm(t),
		Encryption: drawEncryption(t),
		Configs:    objstore.ConfigSet(rapid.Uint32().Draw(t, "configs")) & objstore.KnownConfigs,
		Versioning: objstore.Versioning(rapid.IntRange(0, 2).Draw(t, "versioning")),
		Lock: objstore.LockConfig{Enabled: rapid.Bool().Draw(t, "lock"), Default: objstore.DefaultRetention{
			Mode: drawLock(t).Mode, Days: rapid.IntRange(0, objstore.MaxRetentionDays).Draw(t, "days"),
			Years: rapid.IntRange(0, objstore.MaxRetentionYears).Draw(t, "years"),
		}},
		PublicAccess: objstore.PublicAccess(rapid.Uint8Range(0, 63).Draw(t, "public access")),
		Ownership:    objstore.Ownership(rapid.Uint8Range(0, 3).Draw(t, "ownership")),
	}
}

func drawLock(t *rapid.T) objstore.Lock {
	return objstore.Lock{
		Retention: objstore.Retention{Mode: objstore.LockMode(rapid.IntRange(0, 2).Draw(t, "lock mode")), Until: when(t, "until")},
		Hold:      objstore.LegalHold(rapid.IntRange(0, 2).Draw(t, "hold")),
	}
}

func drawVersion(t *rapid.T) Version {
	return Version{Inode: objstore.InodeID(rapid.Uint64().Draw(t, "inode")), Null: rapid.Bool().Draw(t, "null"), Made: when(t, "made")}
}

func drawNullNumber(t *rapid.T) NullNumber { return NullNumber(rapid.Uint64Min(1).Draw(t, "number")) }

func drawConfig(t *rapid.T) *Config {
	return &Config{Document: some(t, "document"), Modified: when(t, "modified")}
}

func drawLifecycleRun(t *rapid.T) *LifecycleRun {
	return &LifecycleRun{Day: when(t, "day"), Rules: when(t, "rules"), Phase: LifecyclePhase(rapid.IntRange(0, 3).Draw(t, "phase")), From: text(t, "from")}
}

func drawForm(t *rapid.T) objstore.ETagForm {
	return rapid.SampledFrom([]objstore.ETagForm{objstore.ETagsMD5, objstore.ETagsOpaque}).Draw(t, "etags")
}

func drawDEK(t *rapid.T) *DEK {
	return &DEK{KeyID: "k" + text(t, "id"), Context: pairs(t, "context"), Sealed: some(t, "sealed")}
}

func drawSetting(t *rapid.T) *Setting {
	return &Setting{DEK: DEKID(rapid.Uint64Min(1).Draw(t, "dek")), Sealed: some(t, "sealed")}
}

func drawOuter(t *rapid.T, c *Content) {
	if c.Mode == objstore.SSEDSSE {
		c.OuterDEK, c.SealedOuter = DEKID(rapid.Uint64().Draw(t, "outer dek")), maybe(t, "outer oek")
	}
}

func drawEncryption(t *rapid.T) objstore.BucketEncryption {
	return objstore.BucketEncryption{
		Mode: objstore.SSEMode(rapid.IntRange(0, 4).Draw(t, "default mode")), KMSKeyID: text(t, "default key"),
		BucketKey: rapid.Bool().Draw(t, "bucket key"), BlockSSEC: rapid.Bool().Draw(t, "block"),
	}
}

func drawUpload(t *rapid.T) *Upload {
	u := &Upload{Initiated: when(t, "initiated"), Meta: drawMeta(t), Content: Content{
		ID: sure(t, "id"), Mode: objstore.SSEMode(rapid.IntRange(1, 4).Draw(t, "mode")),
		DEK: DEKID(rapid.Uint64().Draw(t, "dek")), SealedOEK: some(t, "oek"),
		KMSKeyID: text(t, "key"), BucketKey: rapid.Bool().Draw(t, "bucket key"),
	}}
	drawOuter(t, &u.Content)
	u.Algorithm, u.Type = algorithm(t)
	u.ETags = drawForm(t)
	u.Tags = pairs(t, "tags")
	u.Lock = drawLock(t)
	u.Content.ChecksumKey, u.ChecksumKey = maybe(t, "checksum key"), maybe(t, "checksum key of the upload")
	u.Found = Found(rapid.Uint64().Draw(t, "found"))
	u.Asked = objstore.AskedSSE{Mode: objstore.SSEMode(rapid.IntRange(0, 4).Draw(t, "asked mode")), KMSKeyID: text(t, "asked key")}
	return u
}

func drawPart(t *rapid.T) *Part {
	p := &Part{
		ID: sure(t, "id"), Size: size(t, "size", objstore.MaxPartSize), Allocated: size(t, "allocated", 1<<62),
		ETagSum: drawID(t, "etag"), Modified: when(t, "modified"), Checksum: maybe(t, "checksum"), ETags: drawForm(t),
	}
	p.ChecksumAlgo, _ = algorithm(t)
	return p
}

func drawPartSizes(t *rapid.T) PartSizes {
	s := rapid.SliceOfN(rapid.Int64Range(0, objstore.MaxPartSize), 1, 20).Draw(t, "sizes")
	return PartSizes(s)
}

func drawParts(t *rapid.T) *Parts {
	p := &Parts{Sizes: drawPartSizes(t)}
	if rapid.Bool().Draw(t, "with checksums") {
		p.Algorithm, p.Checksums = checksum.SHA256, some(t, "sums")
	}
	if rapid.Bool().Draw(t, "completed") {
		p.Asked = sure(t, "asked")
	}
	return p
}

func drawChunkRef(t *rapid.T) *ChunkRef {
	r := &ChunkRef{Chunk: drawID(t, "chunk"), Span: rapid.Uint32Range(1, MaxChunk).Draw(t, "span"), Sealed: some(t, "sealed")}
	r.Off = rapid.Uint32Range(0, MaxChunk-r.Span).Draw(t, "offset")
	r.Borrowed = rapid.Bool().Draw(t, "borrowed")
	r.Outer = maybe(t, "outer")
	return r
}

func drawChunk(t *rapid.T) *Chunk {
	return &Chunk{Owned: rapid.Bool().Draw(t, "owned"), Shared: rapid.Bool().Draw(t, "shared")}
}

func drawMapEntry(t *rapid.T) MapEntry {
	m := MapEntry{Extent: drawID(t, "extent"), Length: rapid.Uint32Range(1, MaxExtent).Draw(t, "length")}
	m.Off = rapid.Uint32Range(0, MaxExtent-m.Length).Draw(t, "offset")
	return m
}

func drawExtent(t *rapid.T) *Extent {
	x := &Extent{
		PlainLen: rapid.Uint32Range(1, MaxExtent).Draw(t, "length"), Suite: rapid.Byte().Draw(t, "suite"),
		Owner: drawID(t, "owner"), Sealed: maybe(t, "sealed"), Live: rapid.Uint32().Draw(t, "live"), Shared: rapid.Bool().Draw(t, "shared"),
	}
	copy(x.Base[:], some(t, "base"))
	for next := uint32(0); next < maxPackages && rapid.Bool().Draw(t, "run"); {
		r := Run{Segment: drawID(t, "segment"), Offset: rapid.Uint64().Draw(t, "offset")}
		r.First = rapid.Uint32Range(next, maxPackages-1).Draw(t, "first")
		r.Packages = rapid.Uint32Range(1, maxPackages-r.First).Draw(t, "packages")
		x.Runs = append(x.Runs, r)
		next = r.First + r.Packages
	}
	x.Logged = len(x.Runs) == 0
	if x.Outer = maybe(t, "outer"); x.Outer != nil {
		x.OuterBase = [12]byte(rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "outer base"))
	}
	return x
}

func drawExtentRef(t *rapid.T) *ExtentRef {
	return &ExtentRef{Sealed: maybe(t, "sealed"), Live: rapid.Uint32().Draw(t, "live"), Outer: maybe(t, "outer")}
}

func drawInline(t *rapid.T) *Inline {
	n := &Inline{
		PlainLen: rapid.Uint32Range(1, MaxExtent).Draw(t, "length"), Suite: rapid.Byte().Draw(t, "suite"),
		Extent: drawID(t, "extent"), Sealed: some(t, "sealed"), Stream: some(t, "stream"),
	}
	copy(n.Base[:], some(t, "base"))
	if n.Outer = maybe(t, "outer"); n.Outer != nil {
		n.OuterBase = [12]byte(rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "outer base"))
	}
	return n
}

func drawLoggedWrite(t *rapid.T) *LoggedWrite {
	w := &LoggedWrite{Data: *drawInline(t), Inode: objstore.InodeID(rapid.Uint64Min(1).Draw(t, "inode"))}
	for left := w.Data.PlainLen; left > 0; {
		n := rapid.Uint32Range(max(left/4, 1), left).Draw(t, "range")
		w.Ranges = append(w.Ranges, LoggedRange{size(t, "offset", objstore.MaxFileSize-int64(n)), n})
		left -= n
	}
	return w
}

func drawSegment(t *rapid.T) *Segment {
	return &Segment{Live: size(t, "live", 1<<62), Refs: size(t, "refs", 1<<62)}
}
