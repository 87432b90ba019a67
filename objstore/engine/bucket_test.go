package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func TestBucketIsDirectoryInTheRoot(t *testing.T) {
	s, _ := treeStore(t)
	info, err := s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "made-by-s3"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Lookup(bg, objstore.RootInode, "made-by-s3")
	if err != nil || a.Inode != info.Root || a.Bucket != info.Root || a.Mode != 0755 || a.Type != objstore.TypeDirectory {
		t.Fatalf("%+v %v", a, err)
	}
	if a, err = s.Mkdir(bg, mountC, objstore.RootInode, "made-by-mkdir", 0700); err != nil || a.UID != mountC.UID {
		t.Fatalf("%+v %v", a, err)
	}
	head, err := s.HeadBucket(bg, s3C, "made-by-mkdir")
	if err != nil || head.Root != a.Inode || head.Created != a.Btime {
		t.Fatalf("%+v %v", head, err)
	}
	if top, err := s.GetAttr(bg, objstore.RootInode); err != nil || top.Nlink != 4 || top.Bucket != 0 {
		t.Fatalf("%+v %v", top, err)
	}
	for name, want := range map[string][2]objstore.Kind{
		"made-by-s3": {objstore.KindBucketExists, objstore.KindBucketExists},
		"Bad":        {objstore.KindInvalidBucketName, objstore.KindInvalidBucketName},
		"a":          {objstore.KindInvalidBucketName, objstore.KindInvalidBucketName},
	} {
		_, create := s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: name})
		_, mkdir := s.Mkdir(bg, mountC, objstore.RootInode, name, 0755)
		if kindOf(create) != want[0] || kindOf(mkdir) != want[1] {
			t.Errorf("%q: %v, %v", name, create, mkdir)
		}
	}
	if _, err := s.Mknod(bg, mountC, objstore.RootInode, "file", objstore.TypeRegular, 0644, 0); kindOf(err) != objstore.KindNotPermitted {
		t.Errorf("a file beside the buckets: %v", err)
	}
	if err := s.Unlink(bg, mountC, objstore.RootInode, "made-by-s3"); kindOf(err) != objstore.KindIsDirectory {
		t.Errorf("unlink: %v", err)
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(bg, s3C, "made-by-mkdir"); err != nil {
		t.Fatal(err)
	}
	if err := s.Rmdir(bg, mountC, objstore.RootInode, "made-by-s3"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(bg, s3C, "made-by-s3"); kindOf(err) != objstore.KindNoSuchBucket {
		t.Errorf("delete what is gone: %v", err)
	}
	if err := s.Rmdir(bg, mountC, objstore.RootInode, "made-by-s3"); kindOf(err) != objstore.KindNotFound {
		t.Errorf("rmdir of what is gone: %v", err)
	}
	if _, err := s.HeadBucket(bg, s3C, "made-by-s3"); kindOf(err) != objstore.KindNoSuchBucket {
		t.Errorf("head: %v", err)
	}
	if _, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "made-by-s3"}); kindOf(err) != objstore.KindNoSuchBucket {
		t.Errorf("list: %v", err)
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

func TestBucketWithAnythingInItStays(t *testing.T) {
	s, _ := treeStore(t)
	for i, what := range []string{"f", "d/", "link -> x", "fifo|", "s3 k", "s3 d/", "s3 a/./b", "s3 /", "s3 " + longest} {
		name := fmt.Sprintf("stays-%d", i)
		newWorld(t, s, name, what)
		if err := s.DeleteBucket(bg, s3C, name); kindOf(err) != objstore.KindBucketNotEmpty {
			t.Errorf("delete with %q: %v", what, err)
		}
		if err := s.Rmdir(bg, mountC, objstore.RootInode, name); kindOf(err) != objstore.KindNotEmpty {
			t.Errorf("rmdir with %q: %v", what, err)
		}
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

func TestBucketsAreListedByName(t *testing.T) {
	s, _ := treeStore(t)
	all := []string{"abc", "abc-d", "abc.d", "abcd", "b-0", "bcd"}
	for i := range all {
		makeBucket(t, s, all[(i*5)%len(all)])
	}
	cases := []struct {
		prefix, after string
		max           int
		want          []string
		truncated     bool
	}{
		{"", "", 10, all, false},
		{"", "", 6, all, false},
		{"", "", 5, all[:5], true},
		{"", "abc", 2, all[1:3], true},
		{"", "abc-", 1, all[1:2], true},
		{"abc", "", 10, all[:4], false},
		{"abc", "abc.d", 10, all[3:4], false},
		{"abc", "zzz", 10, nil, false},
		{"x", "", 10, nil, false},
	}
	for _, c := range cases {
		list, truncated, err := s.ListBuckets(bg, s3C, c.prefix, c.after, c.max)
		var got []string
		for _, b := range list {
			got = append(got, b.Name)
			if b.Root == 0 || b.Created == 0 {
				t.Errorf("%+v", b)
			}
		}
		if err != nil || truncated != c.truncated || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%+v: %q %v %v", c, got, truncated, err)
		}
	}
}

// A request that found the bucket right before it was removed is told so.
func TestBucketThatGoesUnderARequestIsNotThere(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "goes")
	if err := s.DeleteBucket(bg, s3C, "goes"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.bucketRecord(bg, root); kindOf(err) != objstore.KindNoSuchBucket {
		t.Errorf("its key: %v", err)
	}
	if _, err := putKey(s, root, "k"); kindOf(err) != objstore.KindNoSuchBucket {
		t.Errorf("put: %v", err)
	}
	if s.corruptions.Load() != 0 {
		t.Error("taken for damage")
	}
}

// Buckets are found in the cache: what is found there has to be what is.
func TestBucketOfTheSameNameIsFoundAnew(t *testing.T) {
	s, _ := treeStore(t)
	var before objstore.BucketInfo
	for i := range 3 {
		made, err := s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "again"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			root, err := s.openBucket(bg, "test", "again")
			if err != nil || root != made.Root {
				t.Fatalf("round %d: root %d, %v; made %d", i, root, err, made.Root)
			}
			head, err := s.HeadBucket(bg, s3C, "again")
			if err != nil || head != made || head.Root == before.Root {
				t.Fatalf("round %d: %+v, %v; made %+v", i, head, err, made)
			}
		}
		if err := s.DeleteBucket(bg, s3C, "again"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.openBucket(bg, "test", "again"); kindOf(err) != objstore.KindNoSuchBucket {
			t.Fatalf("round %d: %v", i, err)
		}
		if head, err := s.HeadBucket(bg, s3C, "again"); kindOf(err) != objstore.KindNoSuchBucket {
			t.Fatalf("round %d: %+v, %v", i, head, err)
		}
		before = made
	}
}

// Whoever puts while a bucket comes and goes either succeeds or is told that it
// is not there.
func TestPutsBesideABucketThatComesAndGoes(t *testing.T) {
	k, _ := newStack(t, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("d%d/k%d", i, n%3)
				_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "flicker", Key: key, Body: strings.NewReader("x"), Size: 1})
				if err != nil && kindOf(err) != objstore.KindNoSuchBucket {
					t.Errorf("put: %v", err)
				}
				if _, err = k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "flicker", Key: key}); err != nil && kindOf(err) != objstore.KindNoSuchBucket {
					t.Errorf("delete: %v", err)
				}
			}
		})
	}
	removed := 0
	// On a busy machine it can take long until nobody is between a put and a delete.
	for round := 0; round < 200 || removed == 0 && round < 100_000; round++ {
		if _, err := k.s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "flicker"}); err != nil && kindOf(err) != objstore.KindBucketExists {
			t.Errorf("create: %v", err)
		}
		for range 20 {
			err := k.s.DeleteBucket(bg, s3C, "flicker")
			if err == nil {
				removed++
				break
			}
			if kindOf(err) != objstore.KindBucketNotEmpty {
				t.Errorf("delete bucket: %v", err)
			}
		}
	}
	close(stop)
	wg.Wait()
	if removed == 0 {
		t.Error("the bucket never went")
	}
	if err := checkTree(bg, k.s); err != nil {
		t.Error(err)
	}
	if k.s.corruptions.Load() != 0 {
		t.Error("taken for damage")
	}
}
