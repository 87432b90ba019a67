package s3api

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

func TestFullDiskIsSaidAndPasses(t *testing.T) {
	var full atomic.Bool
	d := openDoorOf(t, storetest.Open(t, storetest.Options{FreeSpace: func() (uint64, error) {
		if full.Load() {
			return 0, nil
		}
		return 1 << 40, nil
	}}))
	d.bucket("bucket")
	d.put("bucket", "before", "kept")
	full.Store(true)
	// Enough to need room that is not set aside yet.
	refused := 0
	for i := range 12 {
		a := d.do("PUT", fmt.Sprintf("/bucket/k%d", i), strings.Repeat("x", 8<<20))
		if a.status == 200 {
			continue
		}
		refused++
		a.want(t, "full", 507, "InsufficientStorage", "The storage of this server is full. Nothing was changed.")
		d.do("GET", fmt.Sprintf("/bucket/k%d", i), "").want(t, "refused", 404, "NoSuchKey", "", "Key", fmt.Sprintf("k%d", i))
	}
	if refused == 0 {
		t.Error("a full disk took everything")
	}
	if d.get("bucket", "before") != "kept" {
		t.Error("what was there")
	}
	full.Store(false)
	d.do("PUT", "/bucket/after", strings.Repeat("x", 8<<20)).ok(t, "room again", 200)
}

func TestReadOnlyStoreRefusesChanges(t *testing.T) {
	s := storetest.Open(t, storetest.Options{})
	d := openDoorOf(t, s)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	s.Options.ReadOnly = true
	s.Reopen(t)
	d = openDoorOf(t, s)
	const message = "This store is read-only."
	for _, c := range [][2]string{{"PUT", "/bucket/n"}, {"DELETE", "/bucket/k"}, {"PUT", "/newbucket"}, {"DELETE", "/bucket"}, {"POST", "/bucket/k?uploads"}} {
		d.do(c[0], c[1], "").want(t, c[0]+c[1], 403, "AccessDenied", message)
	}
	if d.get("bucket", "k") != "x" {
		t.Error("reading")
	}
	d.do("GET", "/bucket?list-type=2", "").ok(t, "listing", 200)
}

func TestWritesWaitUntilMountsWereTold(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	var mu sync.Mutex
	told := map[string]bool{}
	stop := d.store.Watch(func(changes []objstore.Change) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range changes {
			told[c.Name] = true
		}
	})
	defer stop()
	was := func(name string) bool {
		mu.Lock()
		defer mu.Unlock()
		ok := told[name]
		clear(told)
		return ok
	}
	d.put("bucket", "put", "x")
	if !was("put") {
		t.Error("PutObject")
	}
	d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/put").ok(t, "copy", 200)
	if !was("copy") {
		t.Error("CopyObject")
	}
	id, part := d.begin("/bucket/multi")
	etag := d.do("PUT", part(1), "x").header.Get("Etag")
	d.do("POST", "/bucket/multi?uploadId="+id, completeXML(partXML(1, etag))).ok(t, "complete", 200)
	if !was("multi") {
		t.Error("CompleteMultipartUpload")
	}
	d.do("DELETE", "/bucket/put", "").ok(t, "delete", 204)
	if !was("put") {
		t.Error("DeleteObject")
	}
	doc := `<Delete><Object><Key>copy</Key></Object><Object><Key>multi</Key></Object></Delete>`
	sum := md5.Sum([]byte(doc))
	d.do("POST", "/bucket?delete", doc, "Content-MD5", base64.StdEncoding.EncodeToString(sum[:])).ok(t, "delete objects", 200)
	if !was("multi") {
		t.Error("DeleteObjects")
	}
	d.do("DELETE", "/bucket", "").ok(t, "delete bucket", 204)
	if !was("bucket") {
		t.Error("DeleteBucket")
	}
	d.bucket("another")
	if !was("another") {
		t.Error("CreateBucket")
	}
}

func TestSlowMountDoesNotHoldUpWritesForLong(t *testing.T) {
	d := openDoor(t, func(o *Options) { o.CoherenceWait = time.Millisecond })
	d.bucket("bucket")
	release := make(chan struct{})
	stop := d.store.Watch(func([]objstore.Change) { <-release })
	defer stop()
	defer close(release)
	d.put("bucket", "k", "x")
	if d.get("bucket", "k") != "x" {
		t.Error("the write is done all the same")
	}
	if !strings.Contains(d.log.String(), "a mount was slow") {
		t.Error("nobody was told")
	}
}

func TestFilesOfTheMountAreObjects(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	c := objstore.Caller{Origin: 1, UID: 1000, GID: 1000}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := d.store.HeadBucket(ctx, c, "bucket")
	must(err)
	dir, err := d.store.Mkdir(ctx, c, b.Root, "dir", 0o755)
	must(err)
	_, f, err := d.store.Create(ctx, c, dir.Inode, "page.html", 0o644, objstore.OpenFlags{Read: true, Write: true}, true)
	must(err)
	_, err = f.WriteAt(ctx, []byte("<html>"), 0)
	must(err)
	must(f.Flush(ctx))
	_, err = d.store.Symlink(ctx, c, dir.Inode, "link", "page.html")
	must(err)

	a := d.do("GET", "/bucket/dir/page.html", "", "x-amz-checksum-mode", "ENABLED")
	etag := a.header.Get("Etag")
	if a.body != "<html>" || !strings.HasSuffix(etag, `-1"`) || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || a.header.Get("x-amz-server-side-encryption") != "AES256" || a.header.Get("x-amz-checksum-type") != "" {
		t.Errorf("%v %v", a, a.header)
	}
	list := d.do("GET", "/bucket?list-type=2", "").body
	if strings.Count(list, "<Key>") != 2 || !strings.Contains(list, "<Key>dir/</Key>") || !strings.Contains(list, "<Key>dir/page.html</Key>") || !strings.Contains(list, strings.ReplaceAll(etag, `"`, "&quot;")) {
		t.Error(list)
	}
	d.do("GET", "/bucket/dir/link", "").want(t, "symbolic link", 404, "NoSuchKey", "", "Key", "dir/link")
	if a := d.do("GET", "/bucket/dir/", ""); a.status != 200 || a.body != "" {
		t.Error(a)
	}
	// Replaced through S3, the open file stays what it was.
	d.put("bucket", "dir/page.html", "new")
	buf := make([]byte, 16)
	n, err := f.ReadAt(ctx, buf, 0)
	if err != nil || string(buf[:n]) != "<html>" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	must(f.Close(ctx))
	if got := d.get("bucket", "dir/page.html"); got != "new" {
		t.Errorf("%q", got)
	}
	d.do("DELETE", "/bucket", "").want(t, "bucket", 409, "BucketNotEmpty", "")
}

func TestCustomerKeysNeedTLS(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	plain := httptest.NewServer(d.server.Config.Handler)
	defer plain.Close()
	d.server.URL = plain.URL
	key := strings.Repeat("k", 32)
	sum := md5.Sum([]byte(key))
	const p = "x-amz-server-side-encryption-customer-"
	a := d.do("PUT", "/bucket/k", "x", p+"algorithm", "AES256", p+"key", base64.StdEncoding.EncodeToString([]byte(key)), p+"key-md5", base64.StdEncoding.EncodeToString(sum[:]))
	a.want(t, "plain HTTP", 400, "InvalidRequest", "")
	if !strings.Contains(a.fields["Message"], "secure connection") {
		t.Error(a)
	}
	d.do("PUT", "/bucket/k", "x").ok(t, "without a key", 200)
}
