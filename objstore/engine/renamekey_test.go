package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

func renameKey(s *Store, bucket, from, to string) error {
	return s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: bucket, SrcKey: from, DstKey: to})
}

// renameKeys is RenameObject on plain keys, each with the inode that it names.
func renameKeys(keys map[string]objstore.InodeID, from, to string) objstore.Kind {
	if !strings.HasSuffix(from, "/") {
		ino, found := keys[from]
		if !found {
			return objstore.KindNotFound
		}
		delete(keys, from)
		keys[to] = ino
		return ok
	}
	moved := map[string]objstore.InodeID{}
	for k, ino := range keys {
		if strings.HasPrefix(k, from) {
			moved[to+k[len(from):]] = ino
		}
	}
	switch {
	case len(moved) == 0:
		return objstore.KindNotFound
	case from == to:
		return ok
	case strings.HasPrefix(to, from):
		return objstore.KindInvalidRequest
	}
	for k := range keys {
		if strings.HasPrefix(k, to) && k != to {
			return objstore.KindNotEmpty
		}
	}
	delete(keys, to)
	for k := range keys {
		if strings.HasPrefix(k, from) {
			delete(keys, k)
		}
	}
	for k, ino := range moved {
		keys[k] = ino
	}
	return ok
}

func longestKey(keys map[string]objstore.InodeID) (n int) {
	for k := range keys {
		n = max(n, len(k))
	}
	return n
}

func TestRenamedKeysAgreeWithModel(t *testing.T) {
	checks(t, 150)
	s, _ := treeStore(t)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		bucket := fmt.Sprintf("model-%d", n)
		root := makeBucket(t, s, bucket)
		model := map[string]objstore.InodeID{}
		name := rapid.SampledFrom([]string{"a", "b", "a-", "", ".", "..", longest, "\u00e9"})
		key := rapid.Custom(func(t *rapid.T) string {
			k := strings.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "names"), "/")
			if k == "" || rapid.Bool().Draw(t, "slash") {
				k += "/"
			}
			return k
		})
		any := func(label string) string {
			if k := key.Draw(t, label); len(model) == 0 || rapid.Bool().Draw(t, "new") {
				return k
			}
			all := make([]string, 0, len(model))
			for k := range model {
				all = append(all, k)
			}
			slices.Sort(all)
			k := rapid.SampledFrom(all).Draw(t, label)
			if i := strings.IndexByte(k, '/'); i >= 0 && rapid.Bool().Draw(t, "above") {
				k = k[:i+1]
			}
			return k
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"put", "put", "delete", "rename", "rename", "rename"}).Draw(t, "op") {
			case "put":
				k := any("put")
				ino, err := putKey(s, root, k)
				if err != nil {
					t.Fatal(err)
				}
				model[k] = ino
			case "delete":
				k := any("delete")
				_, want := model[k]
				if existed, err := deleteKey(s, root, k); err != nil || existed != want {
					t.Fatalf("delete %q: %v, %v", k, existed, err)
				}
				delete(model, k)
			default:
				from, to := any("from"), key.Draw(t, "to")
				if rapid.Bool().Draw(t, "alike") {
					to = strings.TrimRight(to, "/") + from[len(strings.TrimRight(from, "/")):]
				}
				want := objstore.KindInvalidRequest
				if longestKey(model)+len(to) > objstore.MaxKeyLen {
					continue // it could not be listed
				}
				if to != "" && strings.HasSuffix(from, "/") == strings.HasSuffix(to, "/") {
					want = renameKeys(model, from, to)
				} else if to == "" {
					continue
				}
				if got := kindOf(renameKey(s, bucket, from, to)); got != want {
					t.Fatalf("rename %q to %q: %v, want %v", from, to, got, want)
				}
			}
			page, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: bucket, MaxKeys: objstore.MaxListKeys})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Entries) != len(model) {
				t.Fatalf("%d keys, want %d: %v", len(page.Entries), len(model), model)
			}
			for _, e := range page.Entries {
				info, err := s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: bucket, Key: e.Key, NoKey: true})
				if err != nil || info.Inode != model[e.Key] {
					t.Fatalf("%q is %d, want %d, %v", e.Key, info.Inode, model[e.Key], err)
				}
			}
		}
		if err := checkTree(bg, s); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRenameObjectKeepsTheObject(t *testing.T) {
	k, _ := newStack(t, nil)
	defer k.close()
	s := k.s
	makeBucket(t, s, "keeps")
	put := func(key, body string) objstore.ObjectInfo {
		t.Helper()
		info, err := s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "keeps", Key: key, Body: strings.NewReader(body), Size: int64(len(body)), Meta: objstore.ObjectMeta{ContentType: "x/y", User: map[string]string{"a": "b"}}})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	head := func(key string) (objstore.ObjectInfo, error) {
		return s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "keeps", Key: key})
	}
	was := put("a/b/c", strings.Repeat("x", 100_000))
	put("d/e", "replaced")
	if err := renameKey(s, "keeps", "a/b/c", "d/e"); err != nil {
		t.Fatal(err)
	}
	is, err := head("d/e")
	was.Key = "d/e"
	if err != nil || fmt.Sprint(is) != fmt.Sprint(was) {
		t.Fatalf("%+v\n%+v %v", is, was, err)
	}
	if _, err := head("a/b/c"); !objstore.IsKind(err, objstore.KindNotFound) {
		t.Fatal(err)
	}
	for i := range 500 {
		put(fmt.Sprintf("tree/of/%03d/x", i), "y")
	}
	put("tree/of/", "marker")
	before := k.s.commits.Load()
	if err := renameKey(s, "keeps", "tree/of/", "another/tree/"); err != nil {
		t.Fatal(err)
	}
	if n := k.s.commits.Load() - before; n != 1 {
		t.Errorf("%d transactions", n)
	}
	if _, err := head("another/tree/499/x"); err != nil {
		t.Error(err)
	}
	if is, err := head("another/tree/"); err != nil || is.Size != 6 {
		t.Error(is, err)
	}
	if err := checkStore(s); err != nil {
		t.Error(err)
	}
	// It is durable when it returns.
	k.reopen()
	s = k.s
	if _, err := head("another/tree/000/x"); err != nil {
		t.Error(err)
	}
}

func TestRenameObjectHoldsToItsConditions(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "conditions", "s3 a", "s3 b", "s3 dir/k", "s3 full/k")
	tag := func(key string) []string { return []string{string(etagOf(s, w.committed(key)))} }
	try := func(from, to string, src, dst objstore.Precondition) objstore.Kind {
		return kindOf(s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: "conditions", SrcKey: from, DstKey: to, SrcPrecondition: src, DstPrecondition: dst}))
	}
	none, failed := objstore.Precondition{}, objstore.KindPreconditionFailed
	past, future := objstore.Time(1e9), objstore.Time(4e18)
	any := objstore.Precondition{IfNoneMatch: []string{"*"}}
	for _, c := range []struct {
		from, to string
		src, dst objstore.Precondition
		want     objstore.Kind
	}{
		{"a", "b", none, any, failed},
		{"a", "b", none, objstore.Precondition{IfMatch: []string{"x"}}, failed},
		{"a", "c", none, objstore.Precondition{IfMatch: []string{"x"}}, objstore.KindNotFound},
		{"a", "b", objstore.Precondition{IfMatch: []string{"x"}}, none, failed},
		{"a", "b", any, none, failed},
		{"a", "b", objstore.Precondition{IfUnmodifiedSince: past}, none, failed},
		{"a", "b", objstore.Precondition{IfModifiedSince: future}, none, failed},
		{"a", "b", none, objstore.Precondition{IfUnmodifiedSince: past}, failed},
		{"a", "b", none, objstore.Precondition{IfModifiedSince: future}, failed},
		{"a", "c", none, objstore.Precondition{IfModifiedSince: past}, failed},
		{"dir/", "full/", none, any, failed},
		{"dir/", "full/", none, none, objstore.KindNotEmpty},
		{"dir/", "x/", objstore.Precondition{IfMatch: []string{"x"}}, none, objstore.KindNotFound},
		{"none", "x", none, none, objstore.KindNotFound},
		{"none/", "x/", none, none, objstore.KindNotFound},
		{"a/", "x/", none, none, objstore.KindNotFound},
		{"a", "x/", none, none, objstore.KindInvalidRequest},
		{"dir/", "dir/sub/x/", none, none, objstore.KindInvalidRequest},
	} {
		if got := try(c.from, c.to, c.src, c.dst); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		w.check("conditions", "a", "b", "dir/k", "full/k")
	}
	if got := try("a", "b", objstore.Precondition{IfMatch: tag("a"), IfUnmodifiedSince: future}, objstore.Precondition{IfMatch: tag("b")}); got != ok {
		t.Error(got)
	}
	w.check("conditions", "b", "dir/k", "full/k")
	if got := try("b", "a", objstore.Precondition{IfModifiedSince: past}, any); got != ok {
		t.Error(got)
	}
	if got := try("dir/", "x/y/", none, any); got != ok {
		t.Error(got)
	}
	w.check("conditions", "a", "full/k", "x/y/k")
}

func TestRenameTokenMakesARenameOnce(t *testing.T) {
	k, root := newStack(t, nil)
	defer func() { k.close() }()
	_ = root
	makeBucket(t, k.s, "tokens")
	put := func(key string) {
		t.Helper()
		if _, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "tokens", Key: key, Body: strings.NewReader(key), Size: int64(len(key))}); err != nil {
			t.Fatal(err)
		}
	}
	try := func(from, to, token string) objstore.Kind {
		return kindOf(k.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: "tokens", SrcKey: from, DstKey: to, Token: token}))
	}
	size := func(key string) int64 {
		info, err := k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "tokens", Key: key})
		if err != nil {
			return -1
		}
		return info.Size
	}
	put("a")
	put("dir/k")
	for range 2 {
		if got := try("a", "b", "t1"); got != ok {
			t.Fatal(got)
		}
		if got := try("dir/", "moved/", "t2"); got != ok {
			t.Fatal(got)
		}
		put("a") // somebody else's: the repeated request must not take it
		k.reopen()
	}
	if size("a") != 1 || size("b") != 1 || size("moved/k") != 5 {
		t.Error(size("a"), size("b"), size("moved/k"))
	}
	if got := try("a", "b", "t3"); got != ok {
		t.Error(got)
	}
	if got := try("a", "c", "t3"); got != objstore.KindIdempotency {
		t.Error(got)
	}
	if got := try("a", "b", ""); got != objstore.KindNotFound {
		t.Error(got)
	}
	for i := range 2 * maxRenames {
		k.s.renames.add(renameToken{byte(i), byte(i >> 8), 1}, [16]byte{1})
	}
	if n := len(k.s.renames.sums); n > maxRenames {
		t.Error(n, "tokens are remembered")
	}
}

func TestRenameObjectCommitsAnOpenFileFirst(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "open-rename", "f", "dir/", "dir/g")
	f := w.open("f")
	w.write(f, "written")
	if err := renameKey(s, "open-rename", "f", "h"); err != nil {
		t.Fatal(err)
	}
	if n := w.committed("h").Size; n != 7 {
		t.Error(n, "bytes")
	}
	if err := renameKey(s, "open-rename", "dir/", "e/f/"); err != nil {
		t.Fatal(err)
	}
	w.write(f, "again")
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	w.stat("h")
	w.stat("e/f/g")
	w.check("open-rename", "e/f/", "e/f/g", "h")
	// Two names of one file become one.
	w.make("l = h")
	if err := renameKey(s, "open-rename", "l", "h"); err != nil {
		t.Fatal(err)
	}
	if a := w.stat("h"); a.Nlink != 1 {
		t.Error(a.Nlink, "links")
	}
	w.check("open-rename", "e/f/", "e/f/g", "h")
}

// Who may write new objects alone can hide no version by renaming a prefix onto
// what is left of another one.
func TestRenamedPrefixHidesNoNullVersionOfWhoMayNotReplace(t *testing.T) {
	b := newVersioned(t, objstore.VersioningOff)
	b.put("dst/k", "kept")
	b.put("dst/sub/k", "kept below")
	b.put("live/k", "live")
	b.set(objstore.VersioningEnabled)
	b.del("dst/k", "")
	b.del("dst/sub/k", "")
	rename := func(from, to string, onlyNew bool) error {
		return b.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: b.name, SrcKey: from, DstKey: to,
			DstPrecondition: objstore.Precondition{OnlyNew: onlyNew}})
	}
	for _, state := range []objstore.Versioning{objstore.VersioningSuspended, objstore.VersioningEnabled, objstore.VersioningSuspended} {
		b.set(state)
		b.put("src/k", "new")
		for _, to := range []string{"dst/", "dst/sub/", "live/"} {
			if err := rename("src/", to, true); kindOf(err) != objstore.KindAccessDenied {
				t.Fatalf("%v: renamed to %s: %v", state, to, err)
			}
		}
		if err := rename("src/k", "dst/k", true); (kindOf(err) == objstore.KindAccessDenied) != (state == objstore.VersioningSuspended) {
			t.Errorf("%v: an object renamed: %v", state, err)
		}
		b.want("dst/k", objstore.NullVersion, "kept")
		b.want("dst/sub/k", objstore.NullVersion, "kept below")
		b.want("live/k", objstore.NullVersion, "live")
		if state == objstore.VersioningEnabled {
			b.del("dst/k", "")
		}
	}
	b.put("src/k", "new")
	if err := rename("src/", "free/", true); err != nil {
		t.Errorf("to a prefix that never was: %v", err)
	}
	// A part that is a copy takes nobody's place, and completing asks again.
	u, err := b.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: b.name, Key: "dst/k"})
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := b.s.CopyPart(bg, s3C, objstore.CopyPartRequest{Bucket: b.name, Key: "dst/k", Upload: u.ID, Number: 1, SrcBucket: b.name, SrcKey: "free/k"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: b.name, Key: "dst/k", Upload: u.ID, Size: -1,
		Parts: []objstore.CompletePart{{Number: 1, ETag: p.ETag}}, Precondition: objstore.Precondition{OnlyNew: true}})
	if kindOf(err) != objstore.KindAccessDenied {
		t.Errorf("completed: %v", err)
	}
	b.want("dst/k", objstore.NullVersion, "kept")
}
