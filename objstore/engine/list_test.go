package engine

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
	"pgregory.net/rapid"
)

// listModel is ListObjects over a sorted slice of keys.
func listModel(keys []string, req objstore.ListRequest) (res objstore.ListResult) {
	if req.MaxKeys == 0 {
		return res
	}
	last := ""
	for _, k := range keys {
		if !strings.HasPrefix(k, req.Prefix) {
			continue
		}
		e := objstore.ListEntry{Key: k}
		if i := strings.Index(k[len(req.Prefix):], req.Delimiter); req.Delimiter != "" && i >= 0 {
			e = objstore.ListEntry{Key: k[:len(req.Prefix)+i+len(req.Delimiter)], Prefix: true}
		}
		if e.Key <= req.After || e.Prefix && e.Key == last || e.Prefix && strings.HasPrefix(req.After, e.Key) {
			continue
		}
		if len(res.Entries) == req.MaxKeys {
			res.Truncated, res.Next = true, last
			return res
		}
		res.Entries, last = append(res.Entries, e), e.Key
	}
	return res
}

func names(r objstore.ListResult) []string {
	list := make([]string, len(r.Entries))
	for i, e := range r.Entries {
		list[i] = fmt.Sprintf("%s %v", e.Key, e.Prefix)
	}
	return list
}

func TestListingAgreesWithSortedKeysForAnyPage(t *testing.T) {
	s, _ := treeStore(t)
	piece := rapid.SampledFrom([]string{"a", "b", "/", "/", "-", "0", ".", "a/", "ä", longest})
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 0, 6).Draw(t, "pieces"), "")
	})
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		bucket := fmt.Sprintf("list-%d", n)
		root := makeBucket(t, s, bucket)
		set := make(map[string]bool)
		for _, k := range rapid.SliceOfN(text, 0, 25).Draw(t, "keys") {
			if objstore.CheckKey("put", k) != nil {
				continue
			}
			if _, err := putKey(s, root, k); err != nil {
				t.Fatalf("put %q: %v", k, err)
			}
			set[k] = true
		}
		keys := make([]string, 0, len(set))
		for k := range set {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for range 5 {
			req := objstore.ListRequest{
				Bucket: bucket, Prefix: text.Draw(t, "prefix"), After: text.Draw(t, "after"),
				Delimiter: rapid.SampledFrom([]string{"", "/", "/", "a", "-", "a/", "//", "ä"}).Draw(t, "delimiter"),
				MaxKeys:   rapid.IntRange(0, 6).Draw(t, "max"),
			}
			for page := 0; ; page++ {
				got, err := s.ListObjects(bg, s3C, req)
				if err != nil {
					t.Fatalf("%+v: %v", req, err)
				}
				want := listModel(keys, req)
				if !slices.Equal(names(got), names(want)) || got.Truncated != want.Truncated || got.Next != want.Next {
					t.Fatalf("%+v of %q:\ngot  %q %v %q\nwant %q %v %q", req, keys,
						names(got), got.Truncated, got.Next, names(want), want.Truncated, want.Next)
				}
				if !got.Truncated {
					break
				}
				req.After = got.Next
			}
		}
	})
}

func TestListingSortsAsS3Does(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "order")
	want := []string{"a", "a-b", "a/", "a/./x", "a//", "a//b", "a/b", "a0", "a0/x"}
	for i := range want {
		if _, err := putKey(s, root, want[(i*5)%len(want)]); err != nil {
			t.Fatal(err)
		}
	}
	res, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "order", MaxKeys: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range res.Entries {
		got = append(got, e.Key)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// TestListingCostsWhatThePageCosts counts the records that are read for pages of
// a bucket with 20,000 keys.
func TestListingCostsWhatThePageCosts(t *testing.T) {
	if raceDetector && !long {
		t.Skip("one goroutine, and slow")
	}
	s, m := treeStore(t)
	root := makeBucket(t, s, "large")
	for i := range 100 {
		for j := range 100 {
			for _, key := range []string{fmt.Sprintf("dir%02d/%02d", i, j), fmt.Sprintf("dir%02d/sub%02d/x", i, j)} {
				if _, err := putKey(s, root, key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	cases := []struct {
		name    string
		req     objstore.ListRequest
		entries int
		most    int // records read for each entry
	}{
		{"first page", objstore.ListRequest{MaxKeys: 10}, 10, 4},
		{"page in the middle", objstore.ListRequest{MaxKeys: 10, After: "dir50/50"}, 10, 4},
		{"behind a key that is not there", objstore.ListRequest{MaxKeys: 10, After: "dir50/sub50/y"}, 10, 5},
		{"last page", objstore.ListRequest{MaxKeys: 10, After: "dir99/sub97/x"}, 2, 12},
		{"prefix in the middle of a component", objstore.ListRequest{MaxKeys: 10, Prefix: "dir5"}, 10, 4},
		{"prefix that one key has", objstore.ListRequest{MaxKeys: 10, Prefix: "dir77/sub03"}, 1, 12},
		{"prefix that no key has", objstore.ListRequest{MaxKeys: 10, Prefix: "dir7x"}, 0, 6},
		{"common prefixes", objstore.ListRequest{MaxKeys: 100, Delimiter: "/"}, 100, 5},
		{"common prefixes below", objstore.ListRequest{MaxKeys: 50, Delimiter: "/", Prefix: "dir42/", After: "dir42/sub10/"}, 50, 5},
		{"another delimiter", objstore.ListRequest{MaxKeys: 5, Delimiter: "0"}, 5, 12},
		{"all in one common prefix", objstore.ListRequest{MaxKeys: 10, Delimiter: "i"}, 1, 12},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.req.Bucket = "large"
			before := m.steps
			res, err := s.ListObjects(bg, s3C, c.req)
			if err != nil {
				t.Fatal(err)
			}
			read := m.steps - before
			if len(res.Entries) != c.entries || read > c.most*max(c.entries, 1) {
				t.Fatalf("%d entries, %d records read", len(res.Entries), read)
			}
		})
	}
}

func TestListingOutlivesDamagedObject(t *testing.T) {
	s, m := treeStore(t)
	root := makeBucket(t, s, "damage")
	for _, k := range []string{"a", "b", "c/d"} {
		if _, err := putKey(s, root, k); err != nil {
			t.Fatal(err)
		}
	}
	ino, err := putKey(s, root, "b")
	if err != nil {
		t.Fatal(err)
	}
	m.put(string(record.InodeKey(ino)), []byte{1, 2, 3})
	s.cache = newCache() // as after a restart
	res, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "damage", MaxKeys: 10})
	if err != nil || len(res.Entries) != 3 {
		t.Fatalf("%d entries, %v", len(res.Entries), err)
	}
	if e := res.Entries[1]; e.Key != "b" || e.ETag != "" || res.Entries[0].ETag == "" || res.Entries[2].ETag == "" {
		t.Fatalf("%+v", res.Entries)
	}
	ents, attrs, _, err := s.ReadDir(bg, root, "", 10, true)
	if err != nil || len(ents) != 3 || attrs[1].Inode != 0 || attrs[0].Inode == 0 {
		t.Fatalf("%+v %+v %v", ents, attrs, err)
	}
	if _, err := s.Lookup(bg, root, "b"); !objstore.IsKind(err, objstore.KindCorrupt) {
		t.Fatalf("lookup: %v", err)
	}
}

func TestListingSkipsWhatNoKeyCanExpress(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "mount-only")
	deep := root
	for range 5 { // 5 * 201 bytes
		a, err := s.Mkdir(bg, mountC, deep, strings.Repeat("d", 200), 0755)
		if err != nil {
			t.Fatal(err)
		}
		deep = a.Inode
	}
	made := func(dir objstore.InodeID, name string, typ objstore.FileType) {
		t.Helper()
		if _, err := s.Mknod(bg, mountC, dir, name, typ, 0644, 0); err != nil {
			t.Fatal(err)
		}
	}
	made(deep, strings.Repeat("k", 19), objstore.TypeRegular) // 1,024 bytes
	made(deep, strings.Repeat("l", 20), objstore.TypeRegular) // 1,025
	made(root, "\xff\xfe", objstore.TypeRegular)
	made(root, "fifo", objstore.TypeFIFO)
	made(root, "z", objstore.TypeRegular)
	if _, err := s.Symlink(bg, mountC, root, "link", "z"); err != nil {
		t.Fatal(err)
	}
	bad, err := s.Mkdir(bg, mountC, root, "\xff", 0755)
	if err != nil {
		t.Fatal(err)
	}
	made(bad.Inode, "x", objstore.TypeRegular)
	res, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "mount-only", MaxKeys: 100})
	if err != nil {
		t.Fatal(err)
	}
	var lens []int
	for _, e := range res.Entries {
		lens = append(lens, len(e.Key))
	}
	if want := []int{201, 402, 603, 804, 1005, 1024, 1}; !slices.Equal(lens, want) {
		t.Fatalf("keys of %v bytes, want %v", lens, want)
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

func TestListingOfDirectoriesWithoutKeysHasNoCommonPrefix(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "no-keys")
	if _, err := putKey(s, root, "implicit/x"); err != nil {
		t.Fatal(err)
	}
	dir, err := s.Lookup(bg, root, "implicit")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Symlink(bg, s3C, dir.Inode, "link", "x"); err != nil { // as S3, so that it stays implicit
		t.Fatal(err)
	}
	if _, err := deleteKey(s, root, "implicit/x"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mkdir(bg, mountC, root, "made", 0755); err != nil {
		t.Fatal(err)
	}
	res, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "no-keys", Delimiter: "/", MaxKeys: 10})
	if err != nil || !slices.Equal(names(res), []string{"made/ true"}) {
		t.Fatalf("%q %v", names(res), err)
	}
	if ents, _, _, err := s.ReadDir(bg, root, "", 10, false); err != nil || len(ents) != 2 {
		t.Fatalf("%+v %v", ents, err)
	}
}
