package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func tagsOf(t *testing.T, s *Store, bucket, key string) string {
	t.Helper()
	tags, info, err := s.ObjectTags(bg, s3C, objstore.TagsRequest{Bucket: bucket, Key: key})
	if err != nil || info.Tags != len(tags) {
		t.Fatalf("%s: %v %+v %v", key, tags, info, err)
	}
	var list []string
	for _, tag := range tags {
		list = append(list, tag.Key+"="+tag.Value)
	}
	return strings.Join(list, " ")
}

func setTags(t *testing.T, s *Store, bucket, key string, pairs ...string) {
	t.Helper()
	if _, err := s.SetObjectTags(bg, s3C, objstore.TagsRequest{Bucket: bucket, Key: key}, tagList(pairs...)); err != nil {
		t.Fatal(err)
	}
}

func tagList(pairs ...string) (tags []objstore.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, objstore.Tag{Key: pairs[i], Value: pairs[i+1]})
	}
	return tags
}

// A tag is the extended attribute user.s3.tag.KEY, and the other way round.
func TestTagsAreAttributesInTheMount(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "tagged", "f")
	f := w.stat("f").Inode
	if err := s.SetXattr(bg, mountC, f, "user.other", []byte("o"), 0); err != nil {
		t.Fatal(err)
	}
	setTags(t, s, "tagged", "f", "b", "2", "a", "1")
	if got, err := s.ListXattr(bg, f); err != nil || !slices.Equal(got, []string{"user.other", "user.s3.tag.a", "user.s3.tag.b"}) {
		t.Errorf("%q %v", got, err)
	}
	if v, err := s.GetXattr(bg, f, "user.s3.tag.b"); err != nil || string(v) != "2" {
		t.Errorf("%q %v", v, err)
	}
	if err := s.SetXattr(bg, mountC, f, "user.s3.tag.c", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveXattr(bg, mountC, f, "user.s3.tag.a"); err != nil {
		t.Fatal(err)
	}
	if got := tagsOf(t, s, "tagged", "f"); got != "b=2 c=3" {
		t.Errorf("%q", got)
	}
	head, err := s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "tagged", Key: "f"})
	if err != nil || head.Tags != 2 {
		t.Errorf("%+v %v", head, err)
	}
	setTags(t, s, "tagged", "f")
	if got, err := s.ListXattr(bg, f); err != nil || !slices.Equal(got, []string{"user.other"}) {
		t.Errorf("%q %v", got, err)
	}
	if err := s.RemoveXattr(bg, mountC, f, "user.other"); err != nil {
		t.Fatal(err)
	}
	setTags(t, s, "tagged", "f", "x", "")
	if err := s.RemoveXattr(bg, mountC, f, "user.s3.tag.x"); err != nil {
		t.Fatal(err)
	}
	if got := tagsOf(t, s, "tagged", "f"); got != "" {
		t.Errorf("%q", got)
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

func TestTagsAreBounded(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "tagged", "f")
	f := w.stat("f").Inode
	// The room of plain attributes is not that of tags.
	if err := s.SetXattr(bg, mountC, f, "user.big", []byte(strings.Repeat("v", objstore.MaxXattrTotal-8)), 0); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("\U00010400", 64) // 128 units of UTF-16, 256 bytes: longer than a mount can name
	for i := range objstore.MaxObjectTags - 1 {
		if err := s.SetXattr(bg, mountC, f, fmt.Sprint("user.s3.tag.", i), []byte(strings.Repeat("v", 256)), 0); err != nil {
			t.Fatal(err)
		}
	}
	tags, _, err := s.ObjectTags(bg, s3C, objstore.TagsRequest{Bucket: "tagged", Key: "f"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetObjectTags(bg, s3C, objstore.TagsRequest{Bucket: "tagged", Key: "f"}, append(tags, objstore.Tag{Key: long})); err != nil {
		t.Fatal(err)
	}
	if err := s.SetXattr(bg, mountC, f, "user.s3.tag.x", nil, 0); kindOf(err) != objstore.KindNoSpace {
		t.Errorf("the eleventh: %v", err)
	}
	if err := s.SetXattr(bg, mountC, f, "user.s3.tag.3", []byte("new"), 0); err != nil {
		t.Errorf("another value: %v", err)
	}
	if names, err := s.ListXattr(bg, f); err != nil || len(names) != 10 {
		t.Errorf("%d names, %v", len(names), err)
	}
	for what, bad := range map[string][]objstore.Tag{
		"long key": tagList(long+"k", ""), "long value": tagList("k", strings.Repeat("v", 257)), "empty key": tagList("", ""), "twice": tagList("k", "", "k", ""),
		"bytes": tagList("k", "\xff"), "too many": append(tags, tagList("x", "", "y", "")...),
	} {
		if _, err := s.SetObjectTags(bg, s3C, objstore.TagsRequest{Bucket: "tagged", Key: "f"}, bad); kindOf(err) != objstore.KindInvalidArgument {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "tagged", Key: "f", Body: strings.NewReader(""), Tags: bad}); kindOf(err) != objstore.KindInvalidArgument {
			t.Errorf("put, %s: %v", what, err)
		}
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

// What only stands for a directory becomes an object that can have tags.
func TestTagsOfADirectory(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "tagged", "d/", "d/f", "s3 implicit/k")
	dir := w.stat("d")
	req := objstore.TagsRequest{Bucket: "tagged", Key: "d/"}
	for range 2 {
		if _, err := s.SetObjectTags(bg, s3C, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	if head, err := s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "tagged", Key: "d/"}); err != nil || head.Inode != dir.Inode {
		t.Errorf("no tags: %+v %v", head, err)
	}
	before, _ := s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "tagged", Key: "d/"})
	setTags(t, s, "tagged", "d/", "k", "v")
	after, err := s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "tagged", Key: "d/"})
	if err != nil || after.Tags != 1 || after.ETag != before.ETag || after.LastModified != before.LastModified || after.Size != 0 {
		t.Errorf("%+v, was %+v: %v", after, before, err)
	}
	if got := tagsOf(t, s, "tagged", "d/"); got != "k=v" {
		t.Errorf("%q", got)
	}
	w.check("tagged", "d/", "d/f", "implicit/k")
	if names, err := s.ListXattr(bg, dir.Inode); err != nil || len(names) != 0 {
		t.Errorf("the directory: %q %v", names, err)
	}
	for _, key := range []string{"d", "implicit/", "none", "none/x"} {
		if _, err := s.SetObjectTags(bg, s3C, objstore.TagsRequest{Bucket: "tagged", Key: key}, tagList("k", "v")); kindOf(err) != objstore.KindNotFound {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "tagged", Key: "d/"}); err != nil {
		t.Fatal(err)
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

// Listing and stat do not read tags, however many there are.
func TestTagsCostAListingNothing(t *testing.T) {
	s, m := treeStore(t)
	root := makeBucket(t, s, "tagged")
	list := func() int {
		before := m.steps
		if _, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "tagged", MaxKeys: 1000}); err != nil {
			t.Fatal(err)
		}
		return m.steps - before
	}
	for i := range 50 {
		if _, err := putKey(s, root, fmt.Sprint("k", i)); err != nil {
			t.Fatal(err)
		}
	}
	plain := list()
	for i := range 50 {
		setTags(t, s, "tagged", fmt.Sprint("k", i), "a", "1", "b", "2")
	}
	if tagged := list(); tagged != plain {
		t.Errorf("listing reads %d records, %d without tags", tagged, plain)
	}
}

// An upload keeps the tags of the object that it becomes, over a restart too.
func TestTagsOfAnUploadAreThoseOfItsObject(t *testing.T) {
	k, _ := newStack(t, nil)
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "k", Tags: tagList("b", "2", "a", "1")})
	if err != nil {
		t.Fatal(err)
	}
	k.reopen()
	part, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: "bucket", Key: "k", Upload: up.ID, Number: 1, Body: strings.NewReader("x"), Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	info, err := k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: "k", Upload: up.ID, Size: -1, Parts: []objstore.CompletePart{{Number: 1, ETag: part.ETag}}})
	if err != nil || info.Tags != 2 {
		t.Fatalf("%+v %v", info, err)
	}
	k.reopen()
	if got := tagsOf(t, k.s, "bucket", "k"); got != "a=1 b=2" {
		t.Errorf("%q", got)
	}
	copied, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "k", DstBucket: "bucket", DstKey: "copy"})
	if err != nil || copied.Tags != 2 || tagsOf(t, k.s, "bucket", "copy") != "a=1 b=2" {
		t.Errorf("%+v %v", copied, err)
	}
	// The tags went with the object that was replaced.
	if _, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "k", Body: strings.NewReader("")}); err != nil {
		t.Fatal(err)
	}
	if got := tagsOf(t, k.s, "bucket", "k"); got != "" {
		t.Errorf("%q", got)
	}
	if err := checkTree(bg, k.s); err != nil {
		t.Fatal(err)
	}
}
