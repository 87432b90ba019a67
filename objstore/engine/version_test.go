package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

// versioned is a bucket of a store whose metadata are in memory, in a state of
// versioning.
type versionedBucket struct {
	t    rapid.TB
	s    *Store
	name string
	root objstore.InodeID
}

func newVersioned(t testing.TB, state objstore.Versioning) *versionedBucket {
	t.Helper()
	s, _ := treeStore(t)
	b := &versionedBucket{t: t, s: s, name: "versioned"}
	b.root = makeBucket(t, s, b.name)
	if state != objstore.VersioningOff {
		b.set(state)
	}
	t.Cleanup(func() {
		if err := checkTree(bg, s); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *versionedBucket) set(state objstore.Versioning) {
	b.t.Helper()
	if err := b.s.SetBucketVersioning(bg, s3C, b.name, state); err != nil {
		b.t.Fatal(err)
	}
}

func (b *versionedBucket) put(key, body string) objstore.VersionID {
	b.t.Helper()
	info, err := b.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: b.name, Key: key, Body: strings.NewReader(body), Size: int64(len(body))})
	if err != nil {
		b.t.Fatalf("put %q: %v", key, err)
	}
	return info.Version
}

func (b *versionedBucket) get(key string, id objstore.VersionID) (string, error) {
	var buf bytes.Buffer
	err := b.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: b.name, Key: key, Version: id}, func(o *Object) error {
		_, err := o.WriteTo(&buf)
		if id != "" && o.Info.Version != id && !(id == objstore.NullVersion && o.Info.Version == "") {
			return fmt.Errorf("the answer has version %q", o.Info.Version)
		}
		return err
	})
	return buf.String(), err
}

// want checks what a version holds; empty: that it is not there.
func (b *versionedBucket) want(key string, id objstore.VersionID, body string) {
	b.t.Helper()
	got, err := b.get(key, id)
	kind := objstore.KindNoSuchVersion
	if id == "" {
		kind = objstore.KindNotFound
	}
	if body == "" {
		if err == nil || kindOf(err) != kind {
			b.t.Errorf("%q version %q holds %q, %v", key, id, got, err)
		}
		return
	}
	if err != nil || got != body {
		b.t.Errorf("%q version %q holds %q, not %q: %v", key, id, got, body, err)
	}
}

func (b *versionedBucket) del(key string, id objstore.VersionID) objstore.DeleteResult {
	b.t.Helper()
	res, err := b.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: b.name, Key: key, Version: id})
	if err != nil {
		b.t.Fatalf("delete %q version %q: %v", key, id, err)
	}
	return res
}

// versions renders all versions, taken in pages of max: key, "*" for the latest,
// what it holds.
func (b *versionedBucket) versions(max int) []string {
	b.t.Helper()
	var out []string
	for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: max}) {
		line := e.Key
		if e.Latest {
			line += "*"
		}
		if e.DeleteMarker {
			line += " marker"
		} else if body, err := b.get(e.Key, e.Version); err != nil {
			b.t.Errorf("get %q version %q: %v", e.Key, e.Version, err)
		} else {
			line += " " + body
		}
		if e.Version == objstore.NullVersion {
			line += " null"
		}
		if e.Latest == (e.NoncurrentSince != 0) {
			b.t.Errorf("%s: noncurrent since %d", line, e.NoncurrentSince)
		}
		out = append(out, line)
	}
	return out
}

func (b *versionedBucket) pages(req objstore.ListVersionsRequest) (all []objstore.VersionEntry) {
	b.t.Helper()
	for n := 0; ; n++ {
		res, err := b.s.ListVersions(bg, s3C, req)
		if err != nil {
			b.t.Fatalf("list versions: %v", err)
		}
		if len(res.Entries) > req.MaxKeys || res.Truncated && len(res.Entries) < req.MaxKeys || n > 1000 {
			b.t.Fatalf("page of %d, truncated %v", len(res.Entries), res.Truncated)
		}
		all = append(all, res.Entries...)
		if !res.Truncated {
			return all
		}
		req.KeyMarker, req.VersionMarker = res.NextKey, res.NextVersion
	}
}

func (b *versionedBucket) listed(want ...string) {
	b.t.Helper()
	for _, max := range []int{1, 2, 3, 1000} {
		if got := b.versions(max); !slices.Equal(got, want) {
			b.t.Errorf("in pages of %d:\n%s\nnot\n%s", max, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// file writes a file through the mount, in one session.
func (b *versionedBucket) file(dir objstore.InodeID, name, body string) {
	b.t.Helper()
	_, f, err := b.s.Create(bg, mountC, dir, name, 0644, objstore.OpenFlags{Write: true, Truncate: true}, false)
	if err != nil {
		b.t.Fatalf("create %q: %v", name, err)
	}
	if _, err := f.WriteAt(bg, []byte(body), 0); err != nil {
		b.t.Fatal(err)
	}
	if err := f.Close(bg); err != nil {
		b.t.Fatal(err)
	}
}

func (b *versionedBucket) open(dir objstore.InodeID, name string) *File {
	b.t.Helper()
	a, err := b.s.Lookup(bg, dir, name)
	if err != nil {
		b.t.Fatal(err)
	}
	f, err := b.s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Read: true, Write: true})
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

func TestOverwrittenAndDeletedObjectsStayAsVersions(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	v1, v2 := b.put("a/k", "one"), b.put("a/k", "two")
	b.want("a/k", "", "two")
	b.want("a/k", v1, "one")
	b.want("a/k", v2, "two")
	m := b.del("a/k", "")
	if !m.Marker || m.Version == "" || !m.Existed {
		t.Errorf("%+v", m)
	}
	b.want("a/k", "", "")
	if _, err := b.get("a/k", m.Version); kindOf(err) != objstore.KindDeleteMarker {
		t.Errorf("get of a delete marker: %v", err)
	}
	b.listed("a/k* marker", "a/k two", "a/k one")
	v3 := b.put("a/k", "three")
	b.listed("a/k* three", "a/k marker", "a/k two", "a/k one")
	b.del("a/k", v3)
	b.listed("a/k* marker", "a/k two", "a/k one")
	b.del("a/k", m.Version)
	b.listed("a/k* two", "a/k one")
	b.want("a/k", "", "two")
	b.del("a/k", v2)
	b.listed("a/k* one")
	b.del("a/k", v1)
	b.listed()
	b.want("a/k", v1, "")
	if m := b.del("never", ""); !m.Marker || m.Existed {
		t.Errorf("%+v", m)
	}
	b.listed("never* marker")
}

func TestNullVersions(t *testing.T) {
	b := newVersioned(t, objstore.VersioningOff)
	if v := b.put("k", "before"); v != "" {
		t.Errorf("version %q without versioning", v)
	}
	b.listed("k* before null")
	b.want("k", objstore.NullVersion, "before")
	b.set(objstore.VersioningEnabled)
	b.want("k", objstore.NullVersion, "before")
	b.put("k", "one")
	b.listed("k* one", "k before null")
	b.want("k", objstore.NullVersion, "before")
	b.set(objstore.VersioningSuspended)
	if v := b.put("k", "null two"); v != objstore.NullVersion {
		t.Errorf("version %q while suspended", v)
	}
	b.listed("k* null two null", "k one")
	b.put("k", "null three")
	b.listed("k* null three null", "k one")
	if m := b.del("k", ""); !m.Marker || m.Version != objstore.NullVersion {
		t.Errorf("%+v", m)
	}
	b.listed("k* marker null", "k one")
	b.del("k", "")
	b.listed("k* marker null", "k one")
	b.set(objstore.VersioningEnabled)
	b.put("k", "two")
	b.listed("k* two", "k marker null", "k one")
	b.set(objstore.VersioningSuspended)
	b.put("k", "null four")
	b.listed("k* null four null", "k two", "k one")
	b.del("k", objstore.NullVersion)
	b.listed("k* two", "k one")
}

func TestVersionIDsAreOpaqueAndCannotBeMadeUp(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	v := b.put("k", "one")
	other := b.put("other", "one")
	if len(v) != 32 || v == other {
		t.Errorf("%q and %q", v, other)
	}
	changed := []byte(v)
	changed[31] ^= 1
	for _, bad := range []objstore.VersionID{"x", "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD", objstore.VersionID(changed), v[:31], v + "A", v[:31] + "\n", v[:28] + "\n\r\n\r"} {
		if _, err := b.get("k", bad); kindOf(err) != objstore.KindInvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := b.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: b.name, Key: "k", Version: bad}); kindOf(err) != objstore.KindInvalidArgument {
			t.Errorf("delete %q: %v", bad, err)
		}
	}
	if _, err := b.get("k", other); kindOf(err) != objstore.KindNoSuchVersion {
		t.Errorf("version of another key: %v", err)
	}
}

// The time at which a version is made decides nothing: the clock may go backwards,
// and the daemon may be started anew meanwhile.
func TestClockGoingBackwardsKeepsTheOrderOfVersions(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k, _ := newStack(t, func(k *stack) { k.options.Now = func() time.Time { return now } })
	if _, err := k.s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "clock"}); err != nil {
		t.Fatal(err)
	}
	b := &versionedBucket{t: t, s: k.s, name: "clock"}
	b.set(objstore.VersioningEnabled)
	var want []string
	for i := range 9 {
		body := fmt.Sprint("body ", i)
		b.put("k", body)
		want = append([]string{"k " + body}, want...)
		now = now.Add(-time.Hour)
		if i%3 == 2 {
			k.reopen()
			b.s = k.s
		}
	}
	want[0] = strings.Replace(want[0], "k ", "k* ", 1)
	b.listed(want...)
	all := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10})
	for i := 2; i < len(all); i++ {
		if all[i].NoncurrentSince > all[i-1].NoncurrentSince {
			t.Errorf("version %d is noncurrent since %d, the next newer one since %d", i, all[i].NoncurrentSince, all[i-1].NoncurrentSince)
		}
	}
}

func TestVersionsAreListedInPagesByPrefixAndDelimiter(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	for _, key := range []string{"a", "a-b", "a/x", "a/y", "a/z/1", "a0", "b/1", "b/2", "c"} {
		b.put(key, "1")
		b.put(key, "2")
	}
	b.del("a/x", "")
	b.del("a/y", "")
	b.del("a/z/1", "")
	b.del("b/1", "")
	render := func(prefix, delimiter string, max int) string {
		var out []string
		for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, Prefix: prefix, Delimiter: delimiter, MaxKeys: max}) {
			switch {
			case e.Prefix:
				out = append(out, e.Key+"..")
			case e.DeleteMarker:
				out = append(out, e.Key+"!")
			default:
				out = append(out, e.Key)
			}
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct{ prefix, delimiter, want string }{
		{"", "", "a a a-b a-b a/x! a/x a/x a/y! a/y a/y a/z/1! a/z/1 a/z/1 a0 a0 b/1! b/1 b/1 b/2 b/2 c c"},
		{"", "/", "a a a-b a-b a/.. a0 a0 b/.. c c"},
		{"a/", "/", "a/x! a/x a/x a/y! a/y a/y a/z/.."},
		{"a/z/", "/", "a/z/1! a/z/1 a/z/1"},
		{"a/z", "", "a/z/1! a/z/1 a/z/1"},
		{"b/2", "", "b/2 b/2"},
		{"d", "", ""},
		{"a", "-", "a a a-.. a/x! a/x a/x a/y! a/y a/y a/z/1! a/z/1 a/z/1 a0 a0"},
	} {
		for _, max := range []int{1, 2, 3, 7, 1000} {
			if got := render(c.prefix, c.delimiter, max); got != c.want {
				t.Errorf("prefix %q, delimiter %q, pages of %d:\n%s\nnot\n%s", c.prefix, c.delimiter, max, got, c.want)
			}
		}
	}
	// A key marker alone is behind all versions of the key; a version that was
	// deleted meanwhile still marks its place.
	first, err := b.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 1})
	if err != nil || !first.Truncated || first.NextKey != "a" {
		t.Fatalf("%+v %v", first, err)
	}
	next := func(version objstore.VersionID) objstore.VersionEntry {
		res, err := b.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: b.name, KeyMarker: "a", VersionMarker: version, MaxKeys: 1})
		if err != nil || len(res.Entries) != 1 {
			t.Fatalf("%+v %v", res, err)
		}
		return res.Entries[0]
	}
	if e := next(""); e.Key != "a-b" || !e.Latest {
		t.Errorf("behind the key: %+v", e)
	}
	b.del("a", first.NextVersion)
	if e := next(first.NextVersion); e.Key != "a" || !e.Latest {
		t.Errorf("behind a version that is gone: %+v", e)
	}
}

func TestDirectoryThatIsGoneKeepsItsVersions(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	v := b.put("x/y/z/k", "one")
	b.del("x/y/z/k", "")
	if _, err := b.s.Lookup(bg, b.root, "x"); kindOf(err) != objstore.KindNotFound {
		t.Errorf("the mount shows a directory of versions: %v", err)
	}
	b.want("x/y/z/k", v, "one")
	b.put("x/y/other", "two") // brings x/y back, with what it has left
	b.listed("x/y/other* two", "x/y/z/k* marker", "x/y/z/k one")
	b.put("x/y/z/k", "three")
	b.listed("x/y/other* two", "x/y/z/k* three", "x/y/z/k marker", "x/y/z/k one")
	if err := b.s.DeleteBucket(bg, s3C, b.name); kindOf(err) != objstore.KindBucketNotEmpty {
		t.Errorf("delete bucket: %v", err)
	}
	for _, e := range b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 100}) {
		b.del(e.Key, e.Version)
	}
	b.listed()
	if err := checkTree(bg, b.s); err != nil {
		t.Error(err)
	}
	if err := b.s.DeleteBucket(bg, s3C, b.name); err != nil {
		t.Errorf("delete bucket: %v", err)
	}
}

func TestBucketWithNothingButVersionsIsNotEmpty(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	m := b.del("a/b", "")
	for _, err := range []error{b.s.DeleteBucket(bg, s3C, b.name), b.s.Rmdir(bg, mountC, objstore.RootInode, b.name)} {
		if kindOf(err) != objstore.KindBucketNotEmpty {
			t.Errorf("%v", err)
		}
	}
	b.del("a/b", m.Version)
	if err := b.s.Rmdir(bg, mountC, objstore.RootInode, b.name); err != nil {
		t.Errorf("%v", err)
	}
}

func TestCopiesOfVersions(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	v1 := b.put("k", "one")
	b.put("k", "two")
	info, err := b.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: b.name, SrcKey: "k", SrcVersion: v1, DstBucket: b.name, DstKey: "k"})
	if err != nil || info.SourceVersion != v1 || info.Version == "" || info.Version == v1 {
		t.Fatalf("%+v %v", info, err)
	}
	b.listed("k* one", "k two", "k one")
	m := b.del("k", "")
	if _, err := b.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: b.name, SrcKey: "k", SrcVersion: m.Version, DstBucket: b.name, DstKey: "l"}); kindOf(err) != objstore.KindDeleteMarker {
		t.Errorf("copy of a delete marker: %v", err)
	}
	up, err := b.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: b.name, Key: "m"})
	if err != nil {
		t.Fatal(err)
	}
	part, _, err := b.s.CopyPart(bg, s3C, objstore.CopyPartRequest{SrcBucket: b.name, SrcKey: "k", SrcVersion: v1, Bucket: b.name, Key: "m", Upload: up.ID, Number: 1})
	if err != nil || part.SourceVersion != v1 {
		t.Fatalf("%+v %v", part, err)
	}
	done, err := b.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: b.name, Key: "m", Upload: up.ID, Size: -1, Parts: []objstore.CompletePart{{Number: 1, ETag: part.ETag}}})
	if err != nil || done.Version == "" {
		t.Fatalf("%+v %v", done, err)
	}
	b.want("m", done.Version, "one")
}

func TestTagsAreOfVersions(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	v1, v2 := b.put("k", "one"), b.put("k", "two")
	tag := func(v objstore.VersionID, value string) {
		t.Helper()
		info, err := b.s.SetObjectTags(bg, s3C, objstore.TagsRequest{Bucket: b.name, Key: "k", Version: v}, []objstore.Tag{{Key: "is", Value: value}})
		if err != nil || info.Version != v {
			t.Fatalf("%+v %v", info, err)
		}
	}
	tag(v1, "old")
	tag(v2, "new")
	for v, want := range map[objstore.VersionID]string{v1: "old", v2: "new", "": "new"} {
		tags, _, err := b.s.ObjectTags(bg, s3C, objstore.TagsRequest{Bucket: b.name, Key: "k", Version: v})
		if err != nil || len(tags) != 1 || tags[0].Value != want {
			t.Errorf("%q: %v %v", v, tags, err)
		}
	}
	// Writing through the mount sets the old tags aside with the old content.
	f := b.open(b.root, "k")
	if _, err := f.WriteAt(bg, []byte("three"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	tags, _, err := b.s.ObjectTags(bg, s3C, objstore.TagsRequest{Bucket: b.name, Key: "k", Version: v2})
	if err != nil || len(tags) != 1 || tags[0].Value != "new" {
		t.Errorf("%v %v", tags, err)
	}
}

// A page may begin in the versions of the object of a directory that is gone.
func TestVersionsOfADirectoryThatIsGoneAreListedInPages(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.del("c/", "")
	b.put("c/", "x")
	b.put("c/d", "y")
	b.del("c/d", "")
	b.del("c/", "")
	all := b.versions(1000)
	if len(all) != 5 {
		t.Fatalf("%q", all)
	}
	for max := 1; max < 5; max++ {
		if got := b.versions(max); !slices.Equal(got, all) {
			t.Errorf("in pages of %d: %q, want %q", max, got, all)
		}
	}
}
