package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"pgregory.net/rapid"
)

// kind is one kind of value, for the tests that all kinds must pass.
type kind struct {
	name   string
	golden string // hex of sample, as the first format wrote it; never changed
	sample any
	parse  func([]byte) (any, error)
	append func(any) []byte
	draw   func(*rapid.T) any
	fields bool // made of numbered fields
}

// of makes a kind of records that are parsed to a pointer.
func of[T any](name, golden string, sample *T, parse func([]byte) (*T, error), enc func(*T, []byte) []byte, draw func(*rapid.T) *T) kind {
	return kind{name, golden, sample,
		func(b []byte) (any, error) { return parse(b) },
		func(v any) []byte { return enc(v.(*T), nil) },
		func(t *rapid.T) any { return draw(t) }, true}
}

// plain makes a kind of records that are parsed to a value.
func plain[T any](name, golden string, sample T, parse func([]byte) (T, error), enc func(T, []byte) []byte, draw func(*rapid.T) T) kind {
	return kind{name, golden, sample,
		func(b []byte) (any, error) { return parse(b) },
		func(v any) []byte { return enc(v.(T), nil) },
		func(t *rapid.T) any { return draw(t) }, false}
}

func id(b byte) (id [16]byte) {
	for i := range id {
		id[i] = b + byte(i)
	}
	return id
}

var sampleMeta = objstore.ObjectMeta{
	ContentType: "text/plain", CacheControl: "no-store", ContentDisposition: "inline", ContentEncoding: "gzip",
	ContentLanguage: "de", Expires: "0", WebsiteRedirect: "/x", StorageClass: "STANDARD",
	User: map[string]string{"b": "", "a": "1"},
}

var sampleLock = objstore.Lock{Retention: objstore.Retention{Mode: objstore.LockGovernance, Until: 7}, Hold: objstore.HoldOn}

var kinds = []kind{
	of("file", goldenFile, &Inode{
		Type: objstore.TypeRegular, Mode: 04755, UID: 1000, GID: 100, Nlink: 2, Rdev: 0, Size: 1 << 40,
		Atime: -1, Mtime: 1700000000123456789, Ctime: 3, Btime: 4, Bucket: 2, Parent: 300, HasXattrs: true, Allocated: 8192,
		Content: Content{ID: id(1), Gen: 7, Layout: LayoutChunks, Mode: objstore.SSEKMS, DEK: 9, SealedOEK: []byte("sealed"),
			KMSKeyID: "key", BucketKey: true, ETag: ETagMultipart, ETagSum: id(0x20), PartCount: 3,
			ChecksumAlgo: checksum.CRC32C, ChecksumType: checksum.Composite, Checksum: []byte("sum")},
		Meta: &sampleMeta,
	}, ParseInode, (*Inode).Append, drawInode),
	of("file with tags", goldenTagged, &Inode{Type: objstore.TypeRegular, Nlink: 1, HasXattrs: true, TagCount: 3},
		ParseInode, (*Inode).Append, drawInode),
	of("directory", goldenDirectory, &Inode{
		Type: objstore.TypeDirectory, Mode: 02755, Nlink: 2, Bucket: 2, Parent: 2, Explicit: true, HasMarker: true,
	}, ParseInode, (*Inode).Append, drawInode),
	of("symlink", goldenSymlink, &Inode{Type: objstore.TypeSymlink, Mode: 0777, Nlink: 1, Target: "../x", Bucket: 2},
		ParseInode, (*Inode).Append, drawInode),
	of("device", goldenDevice, &Inode{Type: objstore.TypeCharDev, Mode: 0600, Nlink: 1, Rdev: 0x501, Bucket: 2},
		ParseInode, (*Inode).Append, drawInode),
	plain("entry", goldenEntry, Dirent{Type: objstore.TypeRegular, Shadowed: true, Inode: 0x0102030405060708},
		ParseDirent, Dirent.Append, drawDirent),
	plain("attributes", goldenXattrs, Xattrs{"user.b": "\x00\xff", "user.a": ""}, ParseXattrs, Xattrs.Append, drawXattrs),
	of("root", goldenRoot, &Root{StoreID: id(1), NextInode: 4097, ETagKey: bytes.Repeat([]byte{7}, 32), Created: 5},
		ParseRoot, (*Root).Append, drawRoot),
	of("bucket", goldenBucket, &Bucket{Created: 5, DEK: 9}, ParseBucket, (*Bucket).Append, drawBucket),
	of("bucket with access settings", goldenOpenBucket, &Bucket{Created: 5, DEK: 9, PublicAccess: 0x11, Ownership: objstore.OwnerWriter}, ParseBucket, (*Bucket).Append, drawBucket),
	of("bucket with configurations", goldenConfiguredBucket, &Bucket{Created: 5, DEK: 9, Configs: 0x9001}, ParseBucket, (*Bucket).Append, drawBucket),
	of("versioned bucket", goldenVersionedBucket, &Bucket{Created: 5, DEK: 9, Versioning: objstore.VersioningEnabled, Lock: objstore.LockConfig{
		Enabled: true, Default: objstore.DefaultRetention{Mode: objstore.LockCompliance, Days: 3}}}, ParseBucket, (*Bucket).Append, drawBucket),
	of("root with versions", goldenVersionedRoot, &Root{StoreID: id(1), NextInode: 4097, ETagKey: bytes.Repeat([]byte{7}, 32), Created: 5, VersionCeil: 1 << 40},
		ParseRoot, (*Root).Append, drawRoot),
	of("noncurrent file", goldenHeldFile, &Inode{Type: objstore.TypeRegular, Mode: 0644, Bucket: 2, Parent: 3, Seq: 300, Null: true, Held: true},
		ParseInode, (*Inode).Append, drawInode),
	of("directory with a history", goldenHistory, &Inode{Type: objstore.TypeDirectory, Nlink: 2, Bucket: 2, Parent: 2, History: 9},
		ParseInode, (*Inode).Append, drawInode),
	of("directory with several histories", goldenPast, &Inode{Type: objstore.TypeDirectory, Nlink: 2, Bucket: 2, Parent: 2, History: 9, Past: []objstore.InodeID{10, 300}},
		ParseInode, (*Inode).Append, drawInode),
	plain("version", goldenVersion, Version{Inode: 7, Null: true}, ParseVersion, Version.Append, drawVersion),
	plain("delete marker", goldenDeleteMarker, Version{Made: 5}, ParseVersion, Version.Append, drawVersion),
	plain("null number", goldenNullNumber, NullNumber(300), ParseNullNumber, NullNumber.Append, drawNullNumber),
	of("upload of a locked object", goldenLockedUpload, &Upload{
		Initiated: 5, Content: Content{ID: id(1), Mode: objstore.SSES3, DEK: 9, SealedOEK: []byte("sealed")}, Lock: sampleLock,
	}, ParseUpload, (*Upload).Append, drawUpload),
	of("configuration", goldenConfig, &Config{Document: []byte("<x/>"), Modified: 5}, ParseConfig, (*Config).Append, drawConfig),
	of("lifecycle run", goldenLifecycleRun, &LifecycleRun{Day: 5, Rules: 6, Phase: LifecycleUploads, From: "k"}, ParseLifecycleRun, (*LifecycleRun).Append, drawLifecycleRun),
	of("data key", goldenDEK, &DEK{KeyID: "sse-s3/1", Context: map[string]string{"b": "2", "a": "1"}, Sealed: []byte("sealed")},
		ParseDEK, (*DEK).Append, drawDEK),
	of("data key of a bucket", goldenDEKOf, &DEKOf{ID: 300}, ParseDEKOf, (*DEKOf).Append, func(t *rapid.T) *DEKOf {
		return &DEKOf{ID: DEKID(rapid.Uint64Min(1).Draw(t, "dek"))}
	}),
	of("bucket of SSE-KMS", goldenKMSBucket, &Bucket{Created: 5, DEK: 9, Encryption: objstore.BucketEncryption{
		Mode: objstore.SSEKMS, KMSKeyID: "alias/a", BucketKey: true, BlockSSEC: true,
	}}, ParseBucket, (*Bucket).Append, drawBucket),
	of("file of two layers", goldenTwoLayers, &Inode{Type: objstore.TypeRegular, Nlink: 1, Size: 1, Bucket: 2, Content: Content{
		ID: id(1), Gen: 1, Layout: LayoutInline, Mode: objstore.SSEDSSE, DEK: 9, SealedOEK: []byte("sealed"), KMSKeyID: "key",
		OuterDEK: 10, SealedOuter: []byte("outer"), ETag: ETagRandom, ETagSum: id(17),
	}}, ParseInode, (*Inode).Append, drawInode),
	of("upload of two layers", goldenTwoLayersUpload, &Upload{Initiated: 5, Content: Content{
		ID: id(1), Mode: objstore.SSEDSSE, DEK: 9, SealedOEK: []byte("sealed"), KMSKeyID: "key", OuterDEK: 10, SealedOuter: []byte("outer"),
	}}, ParseUpload, (*Upload).Append, drawUpload),
	of("file with a key for checksums", goldenChecksumKey, &Inode{Type: objstore.TypeRegular, Nlink: 1, Size: 1, Bucket: 2, Content: Content{
		ID: id(1), Gen: 1, Layout: LayoutChunks, Mode: objstore.SSEC, SealedOEK: []byte("sealed"), ETag: ETagRandom, ETagSum: id(17), PartCount: 1,
		ChecksumAlgo: checksum.CRC64NVME, ChecksumType: checksum.FullObject, Checksum: []byte("sum"), ChecksumKey: []byte("key"),
	}}, ParseInode, (*Inode).Append, drawInode),
	of("upload with a key for checksums", goldenChecksumKeyUpload, &Upload{Initiated: 5, Content: Content{
		ID: id(1), Mode: objstore.SSEC, SealedOEK: []byte("sealed"), ChecksumKey: []byte("key"),
	}, ChecksumKey: []byte("other")}, ParseUpload, (*Upload).Append, drawUpload),
	of("chunk reference of two layers", goldenTwoLayersChunk, &ChunkRef{Chunk: id(1), Span: 5, Sealed: []byte("sealed"), Outer: []byte("outer")},
		ParseChunkRef, (*ChunkRef).Append, drawChunkRef),
	of("extent of two layers", goldenTwoLayersExtent, &Extent{
		PlainLen: 5, Suite: 2, Base: [12]byte{1}, Runs: []Run{{id(2), 4096, 0, 1}}, Owner: id(5), Sealed: []byte("sealed"), Live: 5,
		Outer: []byte("outer"), OuterBase: [12]byte{2},
	}, ParseExtent, (*Extent).Append, drawExtent),
	of("extent reference of two layers", goldenTwoLayersRef, &ExtentRef{Sealed: []byte("sealed"), Live: 5, Outer: []byte("outer")},
		ParseExtentRef, (*ExtentRef).Append, drawExtentRef),
	of("inline data of two layers", goldenTwoLayersInline, &Inline{
		PlainLen: 5, Suite: 2, Base: [12]byte{1}, Extent: id(5), Sealed: []byte("sealed"), Stream: []byte("stream"),
		Outer: []byte("outer"), OuterBase: [12]byte{2},
	}, ParseInline, (*Inline).Append, drawInline),
	of("setting", goldenSetting, &Setting{DEK: 3, Sealed: []byte("sealed")}, ParseSetting, (*Setting).Append, drawSetting),
	of("upload", goldenUpload, &Upload{
		Initiated: 5, Meta: sampleMeta, Algorithm: checksum.CRC64NVME, Type: checksum.FullObject,
		Content: Content{ID: id(1), Mode: objstore.SSES3, DEK: 9, SealedOEK: []byte("sealed"), KMSKeyID: "key", BucketKey: true},
	}, ParseUpload, (*Upload).Append, drawUpload),
	of("upload of opaque ETags", goldenOpaqueUpload, &Upload{
		Initiated: 5, Content: Content{ID: id(1), Mode: objstore.SSES3, DEK: 9, SealedOEK: []byte("sealed")}, ETags: objstore.ETagsOpaque,
	}, ParseUpload, (*Upload).Append, drawUpload),
	of("upload with tags", goldenTaggedUpload, &Upload{
		Initiated: 5, Content: Content{ID: id(1), Mode: objstore.SSES3, DEK: 9, SealedOEK: []byte("sealed")}, Tags: map[string]string{"b": "", "a": "1"},
	}, ParseUpload, (*Upload).Append, drawUpload),
	of("part", goldenPart, &Part{ID: id(1), Size: 5 << 20, Allocated: 5 << 20, ETagSum: id(3), Modified: 6,
		ChecksumAlgo: checksum.SHA256, Checksum: []byte("sum")}, ParsePart, (*Part).Append, drawPart),
	of("part of opaque ETag", goldenOpaquePart, &Part{ID: id(1), Size: 5, Allocated: 5, ETagSum: id(3), Modified: 6, ETags: objstore.ETagsOpaque},
		ParsePart, (*Part).Append, drawPart),
	plain("part sizes", goldenPartSizes, PartSizes{5 << 20, 1, 0}, ParsePartSizes, PartSizes.Append, drawPartSizes),
	plain("parts without sums", goldenPartSizes, &Parts{Sizes: PartSizes{5 << 20, 1, 0}}, ParseParts, (*Parts).Append, drawParts),
	plain("parts that were asked for", goldenAskedParts, &Parts{Sizes: PartSizes{5 << 20, 1}, Asked: id(1)}, ParseParts, (*Parts).Append, drawParts),
	plain("parts with sums", goldenParts, &Parts{Sizes: PartSizes{5 << 20, 1}, Algorithm: checksum.CRC32, Checksums: []byte("sealed")}, ParseParts, (*Parts).Append, drawParts),
	of("chunk reference", goldenChunkRef, &ChunkRef{Chunk: id(1), Off: 4096, Span: MaxChunk - 4096, Sealed: []byte("sealed"), Borrowed: true},
		ParseChunkRef, (*ChunkRef).Append, drawChunkRef),
	of("chunk", goldenChunk, &Chunk{Owned: true, Shared: true}, ParseChunk, (*Chunk).Append, drawChunk),
	plain("map entry", goldenMapEntry, MapEntry{Length: 0x01020304, Off: 0x1000, Extent: id(1)}.fit(), ParseMapEntry, MapEntry.Append, drawMapEntry),
	of("extent", goldenExtent, &Extent{PlainLen: MaxExtent, Suite: 1, Base: [12]byte{1, 2, 3}, Owner: id(1), Sealed: []byte("sealed"),
		Live: 100, Shared: true, Runs: []Run{{id(2), 4096, 0, 3}, {id(3), 0, 60, 4}}}, ParseExtent, (*Extent).Append, drawExtent),
	of("extent reference", goldenExtentRef, &ExtentRef{Sealed: []byte("sealed"), Live: 4096}, ParseExtentRef, (*ExtentRef).Append, drawExtentRef),
	of("inline data", goldenInline, &Inline{PlainLen: 5, Suite: 1, Base: [12]byte{9}, Extent: id(4), Sealed: []byte("sealed"), Stream: []byte("stream")},
		ParseInline, (*Inline).Append, drawInline),
	of("logged write", goldenLoggedWrite, &LoggedWrite{
		Data:  Inline{PlainLen: 5, Suite: 1, Base: [12]byte{9}, Extent: id(4), Sealed: []byte("sealed"), Stream: []byte("stream")},
		Inode: 300, Ranges: []LoggedRange{{1 << 40, 3}, {0, 2}},
	}, ParseLoggedWrite, (*LoggedWrite).Append, drawLoggedWrite),
	of("file with logged writes", goldenLoggedFile, &Inode{Type: objstore.TypeRegular, Nlink: 1, Size: 5, Bucket: 2, Content: Content{
		ID: id(1), Gen: 7, Layout: LayoutChunks, Mode: objstore.SSES3, DEK: 9, SealedOEK: []byte("sealed"), Logged: 1024,
	}}, ParseInode, (*Inode).Append, drawInode),
	of("segment", goldenSegment, &Segment{Live: 1 << 30, Refs: 12}, ParseSegment, (*Segment).Append, drawSegment),
}

// fit brings a length that was chosen for its bytes under the bound.
func (m MapEntry) fit() MapEntry { m.Length &= 0x1fffff; return m }

func TestRecordsAreWrittenAsTheFirstFormatWroteThem(t *testing.T) {
	for _, k := range kinds {
		got := hex.EncodeToString(k.append(k.sample))
		if got != k.golden {
			t.Errorf("%s is written as\n%s, was\n%s", k.name, got, k.golden)
			continue
		}
		b, _ := hex.DecodeString(k.golden)
		v, err := k.parse(b)
		if err != nil || !reflect.DeepEqual(v, k.sample) {
			t.Errorf("%s is read as\n%+v, was\n%+v: %v", k.name, v, k.sample, err)
		}
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := k.draw(t)
				b := k.append(v)
				got, err := k.parse(b)
				if err != nil || !reflect.DeepEqual(got, v) {
					t.Fatalf("got %+v, want %+v: %v", got, v, err)
				}
			})
		})
	}
}

func TestRecordsOfNewerVersionsAreRefused(t *testing.T) {
	for _, k := range kinds {
		b := k.append(k.sample)
		b[0] = 3 // parts alone have a version 2
		if _, err := k.parse(b); !errors.Is(err, ErrVersion) {
			t.Errorf("%s of version 3: %v", k.name, err)
		}
		if _, err := k.parse(nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("empty %s: %v", k.name, err)
		}
		if !k.fields {
			continue
		}
		b[0] = 1
		if _, err := k.parse(append(bytes.Clone(b), 63, 1, 1)); !errors.Is(err, ErrVersion) {
			t.Errorf("%s with the unknown field 63: %v", k.name, err)
		}
		v, err := k.parse(append(bytes.Clone(b), 127, 1, 1))
		if err != nil || !reflect.DeepEqual(v, k.sample) {
			t.Errorf("%s with the unknown field 127: %v", k.name, err)
		}
		if _, err := k.parse(append(bytes.Clone(b), b[1:]...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s with fields twice: %v", k.name, err)
		}
	}
}

// Name and lock of a version are behind the fields that every reader has to know:
// who does not know them is kept away by the bucket's record.
func TestLockOfAVersionComesBack(t *testing.T) {
	n := &Inode{Type: objstore.TypeRegular, Seq: 300, Name: "n", Lock: sampleLock}
	b := n.Append(nil)
	if got := hex.EncodeToString(b); got != "010101013702ac024b016e4c01014d010e4e0101" {
		t.Errorf("written as %s", got)
	}
	if got, err := ParseInode(b); err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("read as %+v: %v", got, err)
	}
}

// What an upload's request asked for is all that it adds to one that is encrypted so.
func TestEncryptionThatWasAskedForMayBeIgnored(t *testing.T) {
	u := &Upload{Initiated: 5, Content: Content{ID: id(1), Mode: objstore.SSEKMS, DEK: 9, SealedOEK: []byte("sealed"), KMSKeyID: "key"}}
	without := hex.EncodeToString(u.Append(nil))
	u.Asked = objstore.AskedSSE{Mode: objstore.SSEKMS, KMSKeyID: "alias/a"}
	b := u.Append(nil)
	if got := hex.EncodeToString(b); got != without+"5601025707616c6961732f61" {
		t.Errorf("written as %s", got)
	}
	if got, err := ParseUpload(b); err != nil || !reflect.DeepEqual(got, u) {
		t.Errorf("read as %+v: %v", got, err)
	}
	u.Asked.Mode = objstore.SSEDSSE + 1
	if _, err := ParseUpload(u.Append(nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an unknown mode: %v", err)
	}
}

// What a coffer that knows nothing of ETag forms ignores is all that the choice
// adds to a bucket.
func TestChoiceOfETagsIsAFieldThatMayBeIgnored(t *testing.T) {
	k := &Bucket{Created: 5, DEK: 9, ETags: objstore.ETagsOpaque}
	b := k.Append(nil)
	if got := hex.EncodeToString(b); got != goldenBucket+"400101" {
		t.Errorf("written as %s", got)
	}
	if got, err := ParseBucket(b); err != nil || *got != *k {
		t.Errorf("read as %+v: %v", got, err)
	}
}

func TestCutRecordsAreNotTakenForWhole(t *testing.T) {
	for _, k := range kinds {
		b := k.append(k.sample)
		for n := range b {
			if v, err := k.parse(b[:n:n]); err == nil && reflect.DeepEqual(v, k.sample) {
				t.Errorf("%s cut to %d bytes is read as the whole", k.name, n)
			}
		}
	}
}

func TestRecordsOutsideTheirBoundsAreRefused(t *testing.T) {
	inode := func(change func(*Inode)) []byte {
		n := &Inode{Type: objstore.TypeRegular, Nlink: 1}
		change(n)
		return n.Append(nil)
	}
	extent := func(runs ...Run) []byte {
		return (&Extent{PlainLen: 1, Sealed: []byte("k"), Runs: runs}).Append(nil)
	}
	parseInode := func(b []byte) error { _, err := ParseInode(b); return err }
	parseExtent := func(b []byte) error { _, err := ParseExtent(b); return err }
	logged := func(ranges ...LoggedRange) []byte {
		w := &LoggedWrite{Data: Inline{PlainLen: 5, Sealed: []byte("k"), Stream: []byte("s")}, Inode: 1, Ranges: ranges}
		return w.Append(nil)
	}
	parseLogged := func(b []byte) error { _, err := ParseLoggedWrite(b); return err }
	parseEntry := func(b []byte) error { _, err := ParseDirent(b); return err }
	parseMap := func(b []byte) error { _, err := ParseMapEntry(b); return err }
	parseSizes := func(b []byte) error { _, err := ParsePartSizes(b); return err }
	parseParts := func(b []byte) error { _, err := ParseParts(b); return err }
	parseBucket := func(b []byte) error { _, err := ParseBucket(b); return err }
	parseUpload := func(b []byte) error { _, err := ParseUpload(b); return err }
	parsePart := func(b []byte) error { _, err := ParsePart(b); return err }
	upload := &Upload{Content: Content{ID: id(1), Mode: objstore.SSES3, SealedOEK: []byte("k")}, ETags: 2}
	parseChunk := func(b []byte) error { _, err := ParseChunkRef(b); return err }
	cases := []struct {
		name  string
		b     []byte
		parse func([]byte) error
		want  error
	}{
		{"inode without a type", inode(func(n *Inode) { n.Type = 0 }), parseInode, ErrCorrupt},
		{"inode of type 8", inode(func(n *Inode) { n.Type = 8 }), parseInode, ErrCorrupt},
		{"mode 010000", inode(func(n *Inode) { n.Mode = 010000 }), parseInode, ErrCorrupt},
		{"largest file", inode(func(n *Inode) { n.Size = objstore.MaxFileSize }), parseInode, nil},
		{"larger file", inode(func(n *Inode) { n.Size = objstore.MaxFileSize + 1 }), parseInode, ErrCorrupt},
		{"negative size", inode(func(n *Inode) { n.Size = -1 }), parseInode, ErrCorrupt},
		{"layout 3", inode(func(n *Inode) { n.Content.Layout = 3 }), parseInode, ErrVersion},
		{"SSE mode 5", inode(func(n *Inode) { n.Content.Mode = 5 }), parseInode, ErrVersion},
		{"ETag kind 4", inode(func(n *Inode) { n.Content.ETag = 4 }), parseInode, ErrVersion},
		{"logged writes over nothing", inode(func(n *Inode) { n.Content.Logged = 1 }), parseInode, ErrCorrupt},
		{"too many logged writes", inode(func(n *Inode) {
			n.Content = Content{ID: id(1), Layout: LayoutChunks, Mode: objstore.SSES3, Logged: MaxLoggedWrites + 1}
		}), parseInode, ErrCorrupt},
		{"logged write of another length", logged(LoggedRange{0, 4}), parseLogged, ErrCorrupt},
		{"logged write without ranges", logged(), parseLogged, ErrCorrupt},
		{"logged write up to the end", logged(LoggedRange{objstore.MaxFileSize - 5, 5}), parseLogged, nil},
		{"logged write behind the end", logged(LoggedRange{objstore.MaxFileSize - 4, 5}), parseLogged, ErrCorrupt},
		{"logged write with an empty range", logged(LoggedRange{0, 5}, LoggedRange{9, 0}), parseLogged, ErrCorrupt},
		{"data without a key", inode(func(n *Inode) { n.Content.ID, n.Content.Layout = id(1), LayoutInline }), parseInode, ErrCorrupt},
		{"type as a byte too many", append(inode(func(*Inode) {})[:1], 1, 2, 0x81, 0x00), parseInode, nil},
		{"type over 64 bits", []byte{1, 1, 11, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, parseInode, ErrCorrupt},
		{"layout 258", append(inode(func(*Inode) {}), 22, 2, 0x82, 0x02), parseInode, ErrCorrupt},
		{"field length over the end", []byte{1, 1, 5, 1}, parseInode, ErrCorrupt},
		{"huge field length", []byte{1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, parseInode, ErrCorrupt},
		{"huge field number", []byte{1, 255, 255, 255, 255, 1, 1, 1}, parseInode, ErrCorrupt},
		{"zero written out", []byte{1, 1, 1, 0}, parseInode, ErrCorrupt},
		{"flag 2", []byte{1, 1, 1, 1, 14, 1, 2}, parseInode, ErrCorrupt},
		{"content id of 15 bytes", append([]byte{1, 1, 1, 1, 20, 15}, make([]byte, 15)...), parseInode, ErrCorrupt},
		{"bucket of ETag form 2", (&Bucket{DEK: 1, ETags: 2}).Append(nil), parseBucket, ErrVersion},
		{"bucket of versioning 3", (&Bucket{DEK: 1, Versioning: 3}).Append(nil), parseBucket, ErrVersion},
		{"bucket of lock mode 3", (&Bucket{DEK: 1, Lock: objstore.LockConfig{Default: objstore.DefaultRetention{Mode: 3}}}).Append(nil), parseBucket, ErrVersion},
		{"bucket of 101 years", (&Bucket{DEK: 1, Lock: objstore.LockConfig{Default: objstore.DefaultRetention{Years: 101}}}).Append(nil), parseBucket, ErrCorrupt},
		{"inode of lock mode 3", inode(func(n *Inode) { n.Lock.Mode = 3 }), parseInode, ErrVersion},
		{"inode of legal hold 3", inode(func(n *Inode) { n.Lock.Hold = 3 }), parseInode, ErrVersion},
		{"null number 0", []byte{1}, func(b []byte) error { _, err := ParseNullNumber(b); return err }, ErrCorrupt},
		{"upload of ETag form 2", upload.Append(nil), parseUpload, ErrVersion},
		{"part of ETag form 2", (&Part{ID: id(1), ETags: 2}).Append(nil), parsePart, ErrVersion},
		{"entry of 10 bytes", make10(1), parseEntry, ErrCorrupt},
		{"entry without an inode", append([]byte{1, 1, 0}, make([]byte, 8)...), parseEntry, ErrCorrupt},
		{"entry with flag 2", append([]byte{1, 1, 2}, 0, 0, 0, 0, 0, 0, 0, 1), parseEntry, ErrVersion},
		{"runs to the last package", extent(Run{Packages: 64}), parseExtent, nil},
		{"runs behind the last package", extent(Run{First: 1, Packages: 64}), parseExtent, ErrCorrupt},
		{"run without packages", extent(Run{}), parseExtent, ErrCorrupt},
		{"runs that overlap", extent(Run{Packages: 2}, Run{First: 1, Packages: 1}), parseExtent, ErrCorrupt},
		{"run that wraps", extent(Run{First: 1<<32 - 1, Packages: 2}), parseExtent, ErrCorrupt},
		{"map entry to the end", MapEntry{Length: 1, Off: MaxExtent - 1}.Append(nil), parseMap, nil},
		{"map entry behind the end", MapEntry{Length: 2, Off: MaxExtent - 1}.Append(nil), parseMap, ErrCorrupt},
		{"map entry that wraps", MapEntry{Length: 2, Off: 1<<32 - 1}.Append(nil), parseMap, ErrCorrupt},
		{"map entry of nothing", MapEntry{}.Append(nil), parseMap, ErrCorrupt},
		{"chunk of 64 MiB", (&ChunkRef{Span: MaxChunk, Sealed: []byte("k")}).Append(nil), parseChunk, nil},
		{"chunk of more", (&ChunkRef{Span: MaxChunk + 1, Sealed: []byte("k")}).Append(nil), parseChunk, ErrCorrupt},
		{"chunk to the end", (&ChunkRef{Off: MaxChunk - 1, Span: 1, Sealed: []byte("k")}).Append(nil), parseChunk, nil},
		{"chunk behind the end", (&ChunkRef{Off: MaxChunk - 1, Span: 2, Sealed: []byte("k")}).Append(nil), parseChunk, ErrCorrupt},
		{"chunk of nothing", (&ChunkRef{Sealed: []byte("k")}).Append(nil), parseChunk, ErrCorrupt},
		{"10,000 parts", make(PartSizes, objstore.MaxPartNumber).Append(nil), parseSizes, nil},
		{"10,001 parts", make(PartSizes, objstore.MaxPartNumber+1).Append(nil), parseSizes, ErrCorrupt},
		{"sums of no parts", []byte{2, 2, 1, 'x', 3, 1, 'x'}, parseParts, ErrCorrupt},
		{"parts of no sums", []byte{2, 1, 2, 1, 1, 2, 1, 'x'}, parseParts, ErrCorrupt},
		{"parts with a newer field", []byte{2, 1, 2, 1, 1, 2, 1, 'x', 3, 1, 'x', 5, 1, 'x'}, parseParts, ErrVersion},
		{"parts of version 3", []byte{3}, parseParts, ErrVersion},
		{"too many sums", (&Parts{Sizes: PartSizes{1}, Algorithm: "x", Checksums: make([]byte, maxPartSums+1)}).Append(nil), parseParts, ErrCorrupt},
		{"part over 5 GiB", PartSizes{objstore.MaxPartSize + 1}.Append(nil), parseSizes, ErrCorrupt},
	}
	for _, c := range cases {
		if err := c.parse(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func make10(version byte) []byte { return append([]byte{version}, make([]byte, 9)...) }

// FuzzParse: whatever is parsed is written so that it is parsed alike.
func FuzzParse(f *testing.F) {
	for i, k := range kinds {
		b, err := hex.DecodeString(k.golden)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
		f.Add(uint8(i), b[:len(b)/2])
		f.Add(uint8(i), append(bytes.Clone(b), 70, 1, 1))
	}
	f.Add(uint8(0), []byte{1, 1, 11, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Add(uint8(0), []byte{1, 1, 2, 0x81, 0x00})
	for i, k := range kinds {
		if k.name == "upload with tags" { // a field of no pairs
			f.Add(uint8(i), []byte("\x01\x01\x010\x02\x100000000000000000\x03\x01\x01\x04\x010\x05\x06000000\x15\x00"))
		}
		if k.name == "file" { // a sum without the kind of ETag that has one
			f.Add(uint8(i), []byte("\x01\x01\x01\x01\x05\x01\x01\x1d\x100123456789abcdef"))
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		k := kinds[int(i)%len(kinds)]
		v, err := k.parse(b)
		if err != nil {
			return
		}
		once := k.append(v)
		again, err := k.parse(once)
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%s: %+v, then %+v: %v", k.name, v, again, err)
		}
		if !bytes.Equal(once, k.append(again)) {
			t.Fatalf("%s: two encodings of one value", k.name)
		}
	})
}

// So is the request that renamed a file.
func TestRenameOfAFileComesBack(t *testing.T) {
	n := &Inode{Type: objstore.TypeRegular, Nlink: 1, Renamed: RenameID(id(1))}
	b := n.Append(nil)
	if got := hex.EncodeToString(b); got != "0101010105010155100102030405060708090a0b0c0d0e0f10" {
		t.Errorf("written as %s", got)
	}
	if got, err := ParseInode(b); err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("read as %+v: %v", got, err)
	}
}
