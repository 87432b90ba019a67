package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// clock is one that tests set.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.ns.Load()) }

// set sets the clock to a time of November 2026, "05T10:30:00".
func (c *clock) set(s string) {
	t, err := time.Parse("2006-01-02T15:04:05", "2026-11-"+s)
	if err != nil {
		panic(err)
	}
	c.ns.Store(t.UnixNano())
}

// lifecycleStack is a store with a clock of its own.
func lifecycleStack(t *testing.T, change ...func(*Options)) (*stack, *clock) {
	t.Helper()
	c := new(clock)
	c.set("01T00:00:00")
	k, _ := newStack(t, func(k *stack) {
		k.options.Now = c.now
		k.options.LifecycleInterval = -1
		for _, f := range change {
			f(&k.options)
		}
	})
	return k, c
}

func (k *stack) rules(rules ...string) {
	k.t.Helper()
	doc := "<LifecycleConfiguration><Rule><Status>Enabled</Status>" + strings.Join(rules, "</Rule><Rule><Status>Enabled</Status>") + "</Rule></LifecycleConfiguration>"
	if err := k.s.SetBucketConfig(bg, s3C, "bucket", objstore.ConfigLifecycle, []byte(doc)); err != nil {
		k.t.Fatal(err)
	}
}

func (k *stack) putAt(c *clock, at, key string, size int, tags ...string) {
	k.t.Helper()
	c.set(at)
	_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: key, Body: strings.NewReader(strings.Repeat("x", size)), Size: int64(size), Tags: tagList(tags...)})
	if err != nil {
		k.t.Fatal(err)
	}
}

// keysLeft are the keys of the bucket.
func (k *stack) keysLeft() string {
	k.t.Helper()
	res, err := k.s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "bucket", MaxKeys: 1000})
	if err != nil {
		k.t.Fatal(err)
	}
	var keys []string
	for _, e := range res.Entries {
		keys = append(keys, e.Key)
	}
	return strings.Join(keys, " ")
}

// look takes a look at a time, and checks what there is after it.
func (k *stack) look(c *clock, at, left string) LifecycleReport {
	k.t.Helper()
	c.set(at)
	r, err := k.s.Lifecycle(bg, false)
	if err != nil {
		k.t.Fatalf("%s: %v", at, err)
	}
	if got := k.keysLeft(); got != left {
		k.t.Errorf("%s: %q is left, want %q: %+v", at, got, left, r)
	}
	return r
}

func TestObjectsExpireAtTheMidnightThatFollows(t *testing.T) {
	k, c := lifecycleStack(t)
	k.putAt(c, "01T10:30:00", "a", 1)
	k.putAt(c, "02T00:00:00", "b", 1)
	k.putAt(c, "02T00:00:01", "c", 1)
	k.rules("<Prefix></Prefix><Expiration><Days>3</Days></Expiration>")
	k.look(c, "02T12:00:00", "a b c")
	k.look(c, "04T23:59:59", "a b c")
	if r := k.look(c, "05T00:00:00", "c"); r != (LifecycleReport{Buckets: 1, Seen: 3, Expired: 2}) {
		t.Errorf("%+v", r)
	}
	k.look(c, "05T23:59:59", "c")
	k.putAt(c, "05T23:59:59", "d", 1)
	k.look(c, "06T09:00:00", "d")
	k.look(c, "09T08:00:00", "")
	k.reopen()
	if err := checkTree(bg, k.s); err != nil {
		t.Error(err)
	}
}

func TestRulesActFromTheMidnightAfterTheyWereSet(t *testing.T) {
	k, c := lifecycleStack(t)
	k.putAt(c, "01T00:00:00", "old", 1)
	k.putAt(c, "01T00:00:00", "other", 1)
	c.set("10T12:00:00")
	k.rules("<Prefix>old</Prefix><Expiration><Days>1</Days></Expiration>")
	if r := k.look(c, "10T23:59:59", "old other"); r.Buckets != 0 {
		t.Errorf("a run on the day on which the rules were set: %+v", r)
	}
	k.look(c, "11T00:00:00", "other")
	// Once a day, whoever looks how often.
	k.putAt(c, "01T00:00:00", "old", 1)
	if r := k.look(c, "11T13:00:00", "old other"); r.Buckets != 0 {
		t.Errorf("a second run: %+v", r)
	}
	k.reopen()
	if r := k.look(c, "11T14:00:00", "old other"); r.Buckets != 0 {
		t.Errorf("a second run after a restart: %+v", r)
	}
	k.rules("<Prefix>o</Prefix><Expiration><Days>1</Days></Expiration>")
	k.look(c, "11T23:00:00", "old other")
	k.look(c, "14T00:00:00", "")
	// A clock that was set back does not begin anew.
	k.putAt(c, "01T00:00:00", "old", 1)
	k.look(c, "13T00:00:00", "old")
	c.set("13T01:00:00")
	if r, err := k.s.Lifecycle(bg, true); err != nil || r.Expired != 1 {
		t.Errorf("a run that was asked for: %+v %v", r, err)
	}
}

func TestFiltersOfRules(t *testing.T) {
	k, c := lifecycleStack(t)
	for i, key := range []string{"a/1", "a/2", "b/1", "b/22", "ab", "z"} {
		k.putAt(c, "01T00:00:00", key, i, "n", fmt.Sprint(i%2))
	}
	const date = "<Expiration><Date>2026-11-03T00:00:00Z</Date></Expiration>"
	for _, r := range [][2]string{
		{"<Filter><Prefix>a/</Prefix></Filter><Expiration><Days>90</Days></Expiration>", "a/1 a/2 ab b/1 b/22 z"},
		{"<Filter><ObjectSizeLessThan>1</ObjectSizeLessThan></Filter>" + date, "a/2 ab b/1 b/22 z"},
		{"<Filter><And><Prefix>b/</Prefix><Tag><Key>n</Key><Value>1</Value></Tag></And></Filter>" + date, "a/2 ab b/1 z"},
		{"<Filter><And><ObjectSizeGreaterThan>2</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>" + date, "a/2 b/1 z"},
		{"<Filter><Tag><Key>n</Key><Value>2</Value></Tag></Filter>" + date, "a/2 b/1 z"},
		{"<Filter></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", "a/2 b/1 z"},
		{"<Prefix></Prefix>" + strings.Replace(date, "-03T", "-30T", 1), "a/2 b/1 z"},
		{"<Prefix></Prefix>" + date, ""},
	} {
		k.rules(r[0])
		c.set("04T00:00:00")
		if _, err := k.s.Lifecycle(bg, true); err != nil {
			t.Fatal(err)
		}
		if got := k.keysLeft(); got != r[1] {
			t.Errorf("%s: %q is left, want %q", r[0], got, r[1])
		}
	}
}

// A run looks at no more than the prefixes of its rules.
func TestRunsKeepToTheirPrefixes(t *testing.T) {
	k, c := lifecycleStack(t)
	for _, key := range []string{"a", "b", "b/1", "b/2", "ba", "c", "d/1", "e"} {
		k.putAt(c, "01T00:00:00", key, 1)
	}
	const days = "<Expiration><Days>1</Days></Expiration>"
	k.rules("<Prefix>b/</Prefix>"+days, "<Prefix>d</Prefix>"+days, "<Prefix>b/2</Prefix>"+days, "<Prefix>c</Prefix><Expiration><Days>90</Days></Expiration>")
	if r := k.look(c, "05T00:00:00", "a b ba c e"); r.Seen != 4 || r.Expired != 3 {
		t.Errorf("%+v", r)
	}
}

// What the mount shows follows the rules, too, but not because of times that a
// program gave a file, and no directory goes that somebody made there.
func TestLifecycleInTheMount(t *testing.T) {
	k, c := lifecycleStack(t)
	root, err := k.s.Lookup(bg, objstore.RootInode, "bucket")
	if err != nil {
		t.Fatal(err)
	}
	c.set("02T12:00:00")
	dir, err := k.s.Mkdir(bg, mountC, root.Inode, "dir", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.Mkdir(bg, mountC, root.Inode, "empty", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := k.s.Mknod(bg, mountC, dir.Inode, "f", objstore.TypeRegular, 0o644, 0)
	if err != nil {
		t.Fatal(err)
	}
	past := objstore.Time(1)
	if _, err := k.s.SetAttr(bg, mountC, f.Inode, objstore.SetAttr{Mtime: &past}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.Symlink(bg, mountC, dir.Inode, "link", "f"); err != nil {
		t.Fatal(err)
	}
	k.putAt(c, "02T12:00:00", "marker/", 0)
	k.putAt(c, "02T12:00:00", "implicit/k", 0)
	c.set("02T13:00:00")
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	k.look(c, "03T23:00:00", "dir/ dir/f empty/ implicit/k marker/")
	k.look(c, "04T00:00:00", "dir/ empty/")
	for name, want := range map[string]bool{"dir": true, "empty": true, "marker": false, "implicit": false} {
		if _, err := k.s.Lookup(bg, root.Inode, name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.s.Lookup(bg, dir.Inode, "link"); err != nil {
		t.Errorf("the link: %v", err)
	}
	if err := checkTree(bg, k.s); err != nil {
		t.Error(err)
	}
}

func TestUploadsAreAborted(t *testing.T) {
	k, c := lifecycleStack(t)
	begin := func(at, key string) {
		t.Helper()
		c.set(at)
		up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: "bucket", Key: key, Upload: up.ID, Number: 1, Body: strings.NewReader("x"), Size: 1}); err != nil {
			t.Fatal(err)
		}
	}
	uploads := func() (keys string) {
		t.Helper()
		res, err := k.s.ListUploads(bg, s3C, objstore.ListUploadsRequest{Bucket: "bucket", Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range res.Uploads {
			keys += u.Key + " "
		}
		return keys
	}
	begin("01T12:00:00", "a")
	begin("01T12:00:00", "logs/x")
	begin("02T12:00:00", "logs/x")
	begin("01T12:00:00", "logs/y")
	k.rules("<Filter><Prefix>logs/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
	k.look(c, "03T12:00:00", "")
	if got := uploads(); got != "a logs/x logs/x logs/y " {
		t.Errorf("too early: %q", got)
	}
	if r := k.look(c, "04T00:00:00", ""); r.Aborted != 2 || uploads() != "a logs/x " {
		t.Errorf("%+v %q", r, uploads())
	}
	k.look(c, "05T00:00:00", "")
	if got := uploads(); got != "a " {
		t.Errorf("the day after: %q", got)
	}
	if err := k.s.reapAll(bg); err != nil {
		t.Fatal(err)
	}
}

// More uploads of one key than a page holds do not keep a run in one place.
func TestManyUploadsOfOneKeyAreAborted(t *testing.T) {
	k, c := lifecycleStack(t)
	root, err := k.s.openBucket(bg, "test", "bucket")
	if err != nil {
		t.Fatal(err)
	}
	c.set("01T12:00:00")
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var rec []byte
	id, _ := uploadID(up.ID)
	err = k.kv.Update(bg, func(x meta.Txn) error {
		if rec, err = x.Get(record.UploadKey(root, "a", id)); err != nil {
			return err
		}
		rec = append([]byte(nil), rec...)
		for i := range lifecyclePage * 2 {
			x.Set(record.UploadKey(root, "b", record.UploadID{1, byte(i >> 8), byte(i)}), rec)
		}
		x.Set(record.UploadKey(root, "c", id), rec)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	k.rules("<Filter></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>90</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
	if r := k.look(c, "02T00:00:00", ""); r.Aborted != 0 {
		t.Errorf("%+v", r)
	}
	k.rules("<Filter></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
	if r := k.look(c, "05T00:00:00", ""); r.Aborted != 2*lifecyclePage+2 {
		t.Errorf("%+v", r)
	}
}

// A run that was cut short, by kill -9 at that, goes on where it was.
func TestRunGoesOnAfterACrash(t *testing.T) {
	k, c := lifecycleStack(t)
	root, err := k.s.openBucket(bg, "test", "bucket")
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*lifecyclePage + 100
	c.set("01T00:00:00")
	for i := range n {
		if _, err := putKey(k.s, root, fmt.Sprintf("k%05d", i)); err != nil {
			t.Fatal(err)
		}
	}
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	if err := k.s.Sync(bg); err != nil {
		t.Fatal(err)
	}
	c.set("03T00:00:00")
	run, err := k.s.openLifecycle(bg, "bucket", false)
	if err != nil || run == nil {
		t.Fatalf("%+v %v", run, err)
	}
	if err := run.objects(bg); err != nil {
		t.Fatal(err)
	}
	if err := run.keep(bg); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Sync(bg); err != nil {
		t.Fatal(err)
	}
	if err := run.objects(bg); err != nil { // and this is lost, or half of it
		t.Fatal(err)
	}
	k = k.crash(rand.New(rand.NewPCG(1, 2)), 50)
	if err := k.open(false); err != nil {
		t.Fatal(err)
	}
	defer k.close()
	r, err := k.s.Lifecycle(bg, false)
	if err != nil || run.report.Expired != 2*lifecyclePage || r.Seen > n-lifecyclePage || r.Seen < n-2*lifecyclePage || r.Seen != r.Expired || k.keysLeft() != "" {
		t.Errorf("%+v after %+v: %v", r, run.report, err)
	}
	if r, err := k.s.Lifecycle(bg, false); err != nil || r.Buckets != 0 {
		t.Errorf("once more: %+v %v", r, err)
	}
	if err := checkTree(bg, k.s); err != nil {
		t.Error(err)
	}
}

func TestWhatChangesMeanwhileStays(t *testing.T) {
	k, c := lifecycleStack(t)
	k.putAt(c, "01T00:00:00", "k", 1)
	k.putAt(c, "01T00:00:00", "gone", 1)
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	c.set("03T00:00:00")
	run, err := k.s.openLifecycle(bg, "bucket", false)
	if err != nil || run == nil {
		t.Fatalf("%+v %v", run, err)
	}
	k.putAt(c, "03T00:00:00", "k", 2)
	for _, key := range []string{"k", "never"} {
		if gone, err := run.expire(bg, key); err != nil || gone {
			t.Errorf("%s: %v %v", key, gone, err)
		}
	}
	k.rules("<Prefix></Prefix><Expiration><Days>90</Days></Expiration>")
	if gone, err := run.expire(bg, "gone"); gone || kindOf(err) != objstore.KindConflict {
		t.Errorf("by rules that are no more: %v %v", gone, err)
	}
	if err := run.keep(bg); kindOf(err) != objstore.KindConflict {
		t.Errorf("keep: %v", err)
	}
	if err := k.s.DeleteBucketConfig(bg, s3C, "bucket", objstore.ConfigLifecycle); err != nil {
		t.Fatal(err)
	}
	if gone, err := run.expire(bg, "gone"); gone || kindOf(err) != objstore.KindConflict {
		t.Errorf("without rules: %v %v", gone, err)
	}
	if got := k.keysLeft(); got != "gone k" {
		t.Errorf("%q", got)
	}
	if r := k.look(c, "09T00:00:00", "gone k"); r.Buckets != 0 {
		t.Errorf("%+v", r)
	}
}

// The progress of a run goes with its bucket.
func TestRunLeavesNothingOfABucketThatGoes(t *testing.T) {
	k, c := lifecycleStack(t)
	k.putAt(c, "01T00:00:00", "k", 1)
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	k.look(c, "05T00:00:00", "")
	if err := k.s.DeleteBucket(bg, s3C, "bucket"); err != nil {
		t.Fatal(err)
	}
	err := k.kv.View(bg, func(r meta.Reader) error {
		for p, err := range r.Scan(meta.Prefix([]byte{'b'})) {
			t.Errorf("%q is left, %v", p.Key, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := k.s.Lifecycle(bg, true); err != nil || r.Buckets != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// The store carries out the rules by itself.
func TestRulesAreCarriedOutUnasked(t *testing.T) {
	k, c := lifecycleStack(t, func(o *Options) { o.LifecycleInterval = time.Millisecond })
	k.putAt(c, "01T00:00:00", "k", 1)
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	gone := make(chan struct{})
	stop := k.s.Watch(func(list []objstore.Change) {
		for _, ch := range list {
			if ch.Name == "k" && ch.Removed {
				close(gone)
			}
		}
	})
	defer stop()
	c.set("02T00:00:00")
	ctx, cancel := context.WithTimeout(bg, 2*time.Minute)
	defer cancel()
	select {
	case <-gone:
	case <-ctx.Done():
		t.Fatal("nothing expired")
	}
	if got := k.keysLeft(); got != "" {
		t.Errorf("%q", got)
	}
}

func TestReadOnlyStoreCarriesOutNothing(t *testing.T) {
	k, c := lifecycleStack(t)
	k.putAt(c, "01T00:00:00", "k", 1)
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	k.options.ReadOnly = true
	k.reopen()
	c.set("05T00:00:00")
	if _, err := k.s.Lifecycle(bg, true); kindOf(err) != objstore.KindReadOnly {
		t.Errorf("%v", err)
	}
	if got := k.keysLeft(); got != "k" {
		t.Errorf("%q", got)
	}
}
