package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/lifecycle"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// versionedStack is a store whose bucket is versioned, with a clock of its own and
// pages of a few versions.
func versionedStack(t *testing.T, page int) (*stack, *clock) {
	t.Helper()
	k, c := lifecycleStack(t)
	k.s.lifecyclePage = page
	k.versioning(objstore.VersioningEnabled)
	return k, c
}

func (k *stack) versioning(v objstore.Versioning) {
	k.t.Helper()
	if err := k.s.SetBucketVersioning(bg, s3C, "bucket", v); err != nil {
		k.t.Fatal(err)
	}
}

func (k *stack) deleteAt(c *clock, at, key string) {
	k.t.Helper()
	c.set(at)
	if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: key}); err != nil {
		k.t.Fatal(err)
	}
}

// versionEntries are all versions of the bucket.
func (k *stack) versionEntries() []objstore.VersionEntry {
	k.t.Helper()
	res, err := k.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 1000})
	if err != nil || res.Truncated {
		k.t.Fatal(res.Truncated, err)
	}
	return res.Entries
}

// versionsLeft are all versions of the bucket: a key with the size of the version,
// a minus for a delete marker, a plus behind the latest.
func (k *stack) versionsLeft() string {
	var list []string
	for _, e := range k.versionEntries() {
		s := fmt.Sprint(e.Key, e.Size)
		if e.DeleteMarker {
			s = e.Key + "-"
		}
		if e.Latest {
			s += "+"
		}
		list = append(list, s)
	}
	return strings.Join(list, " ")
}

// lookVersions takes a look at a time, and checks what there is after it.
func (k *stack) lookVersions(c *clock, at, left string) LifecycleReport {
	k.t.Helper()
	c.set(at)
	r, err := k.s.Lifecycle(bg, false)
	if err != nil {
		k.t.Fatalf("%s: %v", at, err)
	}
	if got := k.versionsLeft(); got != left {
		k.t.Errorf("%s: %q is left, want %q: %+v", at, got, left, r)
	}
	if err := checkTree(bg, k.s); err != nil {
		k.t.Errorf("%s: %v", at, err)
	}
	return r
}

func TestCurrentVersionsExpireBehindADeleteMarker(t *testing.T) {
	k, c := versionedStack(t, 2)
	k.putAt(c, "01T12:00:00", "a", 1)
	k.putAt(c, "01T13:00:00", "dir/b", 2)
	k.putAt(c, "01T12:00:00", "c", 1)
	k.putAt(c, "02T12:00:00", "c", 2)
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	k.lookVersions(c, "02T23:59:59", "a1+ c2+ c1 dir/b2+")
	if r := k.lookVersions(c, "03T00:00:00", "a-+ a1 c2+ c1 dir/b-+ dir/b2"); r.Expired != 2 || r.Noncurrent+r.Markers != 0 {
		t.Errorf("%+v", r)
	}
	k.lookVersions(c, "10T00:00:00", "a-+ a1 c-+ c2 c1 dir/b-+ dir/b2")
	if r := k.lookVersions(c, "20T00:00:00", "a-+ a1 c-+ c2 c1 dir/b-+ dir/b2"); r.Expired != 0 {
		t.Errorf("markers expire again: %+v", r)
	}
	if got := k.keysLeft(); got != "" {
		t.Errorf("%q", got)
	}
}

func TestExpirationWhereVersioningIsSuspended(t *testing.T) {
	k, c := versionedStack(t, 2)
	k.putAt(c, "01T12:00:00", "a", 1)
	k.versioning(objstore.VersioningSuspended)
	k.putAt(c, "01T13:00:00", "a", 2)
	k.putAt(c, "01T13:00:00", "b", 2)
	k.rules("<Prefix></Prefix><Expiration><Days>1</Days></Expiration>")
	// What is null goes for good, a null marker takes its place.
	k.lookVersions(c, "04T00:00:00", "a-+ a1 b-+")
	// And is removed when it is alone and old.
	if r := k.lookVersions(c, "06T00:00:00", "a-+ a1"); r.Markers != 1 {
		t.Errorf("%+v", r)
	}
}

func TestNoncurrentVersionsExpire(t *testing.T) {
	for _, page := range []int{1, 2, 3, 100} {
		k, c := versionedStack(t, page)
		for i, at := range []string{"01T12:00:00", "02T12:00:00", "03T12:00:00", "04T12:00:00", "05T12:00:00"} {
			k.putAt(c, at, "a", i+1, "n", fmt.Sprint(i))
			k.putAt(c, at, "b/c", i+1)
		}
		k.deleteAt(c, "06T12:00:00", "b/c")
		const all = "a5+ a4 a3 a2 a1 b/c-+ b/c5 b/c4 b/c3 b/c2 b/c1"
		rule := func(filter, days, keep string) {
			inner := "<NoncurrentDays>" + days + "</NoncurrentDays>"
			if keep != "" {
				inner += "<NewerNoncurrentVersions>" + keep + "</NewerNoncurrentVersions>"
			}
			k.rules("<Filter>" + filter + "</Filter><NoncurrentVersionExpiration>" + inner + "</NoncurrentVersionExpiration>")
		}
		rule("<Prefix>x</Prefix>", "1", "")
		k.lookVersions(c, "08T00:00:00", all)
		rule("", "4", "")
		// a1 became noncurrent with a2, on the 2nd.
		if r := k.lookVersions(c, "09T00:00:00", "a5+ a4 b/c-+ b/c5 b/c4"); r.Noncurrent != 6 || r.Expired+r.Markers != 0 {
			t.Errorf("page %d: %+v", page, r)
		}
		rule("<Tag><Key>n</Key><Value>3</Value></Tag>", "1", "")
		k.lookVersions(c, "12T00:00:00", "a5+ b/c-+ b/c5 b/c4")
		rule("", "1", "1")
		k.lookVersions(c, "14T00:00:00", "a5+ b/c-+ b/c5")
		rule("", "1", "1")
		k.lookVersions(c, "15T00:00:00", "a5+ b/c-+ b/c5")
		rule("<ObjectSizeLessThan>5</ObjectSizeLessThan>", "1", "")
		k.lookVersions(c, "17T00:00:00", "a5+ b/c-+ b/c5")
		rule("", "1", "")
		k.lookVersions(c, "19T00:00:00", "a5+ b/c-+")
	}
}

func TestDeleteMarkersThatAreAloneGo(t *testing.T) {
	k, c := versionedStack(t, 2)
	k.putAt(c, "01T12:00:00", "a", 1)
	k.putAt(c, "01T12:00:00", "dir/b", 1)
	for _, key := range []string{"a", "dir/b", "never"} {
		k.deleteAt(c, "02T12:00:00", key)
	}
	k.deleteAt(c, "02T13:00:00", "never")
	k.rules("<Filter></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>")
	k.lookVersions(c, "03T12:00:00", "a-+ a1 dir/b-+ dir/b1 never-+ never-")
	if r := k.lookVersions(c, "04T00:00:00", "a-+ dir/b-+ never-+"); r.Noncurrent != 3 || r.Markers != 0 {
		t.Errorf("%+v", r)
	}
	if r := k.lookVersions(c, "05T00:00:00", ""); r.Markers != 3 {
		t.Errorf("%+v", r)
	}
	// A rule for current versions lets a marker go when it is old enough.
	k.deleteAt(c, "10T12:00:00", "late")
	k.rules("<Filter></Filter><Expiration><Days>3</Days></Expiration>")
	k.lookVersions(c, "13T12:00:00", "late-+")
	k.lookVersions(c, "14T00:00:00", "")
	if err := k.s.DeleteBucket(bg, s3C, "bucket"); err != nil {
		t.Errorf("nothing is left: %v", err)
	}
}

func TestLockedVersionsAreKept(t *testing.T) {
	k, c := lifecycleStack(t)
	if _, err := k.s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "locked", ObjectLock: true}); err != nil {
		t.Fatal(err)
	}
	put := func(at string, size int) objstore.VersionID {
		t.Helper()
		c.set(at)
		info, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "locked", Key: "k", Body: strings.NewReader(strings.Repeat("x", size)), Size: int64(size)})
		if err != nil {
			t.Fatal(err)
		}
		return info.Version
	}
	held, free := put("01T10:00:00", 1), put("01T11:00:00", 2)
	if _, err := k.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: "locked", Key: "k", Version: held}, objstore.HoldOn); err != nil {
		t.Fatal(err)
	}
	put("01T12:00:00", 3)
	doc := "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter></Filter><Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
	if err := k.s.SetBucketConfig(bg, s3C, "locked", objstore.ConfigLifecycle, []byte(doc)); err != nil {
		t.Fatal(err)
	}
	c.set("05T00:00:00")
	r, err := k.s.Lifecycle(bg, false)
	if err != nil || r.Expired != 1 || r.Noncurrent != 1 || r.Locked != 1 || r.Failed != 0 {
		t.Errorf("%+v %v", r, err)
	}
	for v, want := range map[objstore.VersionID]bool{held: true, free: false} {
		if _, err := k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "locked", Key: "k", Version: v}); (err == nil) != want {
			t.Errorf("version %s: %v", v, err)
		}
	}
	if _, err := k.s.SetLegalHold(bg, s3C, objstore.LockRequest{Bucket: "locked", Key: "k", Version: held}, objstore.HoldOff); err != nil {
		t.Fatal(err)
	}
	c.set("06T00:00:00")
	if r, err = k.s.Lifecycle(bg, false); err != nil || r.Noncurrent != 2 || r.Locked != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// What was found noncurrent may be current again, and a marker no longer alone.
func TestVersionsThatChangeMeanwhileStay(t *testing.T) {
	k, c := versionedStack(t, 10)
	k.putAt(c, "01T10:00:00", "a", 1)
	k.putAt(c, "01T11:00:00", "a", 2)
	k.deleteAt(c, "01T12:00:00", "b")
	k.rules("<Filter></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>")
	c.set("05T00:00:00")
	run, err := k.s.openLifecycle(bg, "bucket", false)
	if err != nil || run == nil {
		t.Fatalf("%+v %v", run, err)
	}
	var due []goingVersion
	err = k.s.view(bg, "test", "", func(r reader) error {
		due, _, _, err = run.dueVersions(bg, r, "", "")
		return err
	})
	if err != nil || len(due) != 2 {
		t.Fatalf("%+v %v", due, err)
	}
	latest := k.versionEntries()[0].Version
	if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "a", Version: latest}); err != nil {
		t.Fatal(err)
	}
	k.putAt(c, "05T00:00:00", "b", 3)
	for _, v := range due {
		if gone, err := run.remove(bg, v); err != nil || gone {
			t.Errorf("%+v: %v %v", v, gone, err)
		}
	}
	if got := k.versionsLeft(); got != "a1+ b3+ b-" {
		t.Errorf("%q", got)
	}
	k.deleteAt(c, "05T01:00:00", "b")
	for _, v := range due {
		if gone, err := run.remove(bg, v); v.marker && (err != nil || gone) {
			t.Errorf("%+v: %v %v", v, gone, err)
		}
	}
	if got := k.versionsLeft(); got != "a1+ b-+ b3 b-" {
		t.Errorf("%q", got)
	}
}

// A version is noncurrent from when it was replaced or deleted on, whatever is listed
// before it: directories that were renamed bring versions of other times.
func TestNoncurrentVersionsOfRenamedDirectoriesStayAsLongAsOthers(t *testing.T) {
	for _, page := range []int{1, 2, 3, 100} {
		k, c := lifecycleStack(t)
		k.s.lifecyclePage = page
		k.putAt(c, "01T10:00:00", "a/k", 1)
		k.putAt(c, "01T11:00:00", "b/k", 2)
		k.putAt(c, "01T12:00:00", "c/k", 3)
		k.versioning(objstore.VersioningEnabled)
		k.putAt(c, "02T12:00:00", "new/k", 4)
		k.putAt(c, "10T12:00:00", "old/k", 5)
		k.deleteAt(c, "10T13:00:00", "old/k")
		// All of d/k are from before versioning: only the markers tell a time, and go.
		for _, from := range []string{"a/", "b/", "c/"} {
			c.set("20T10:00:00")
			if from != "a/" {
				k.deleteAt(c, "20T10:00:00", "d/k")
			}
			if err := renameKey(k.s, "bucket", from, "d/"); err != nil {
				t.Fatal(err)
			}
			for _, e := range k.versionEntries() {
				if e.Key == "d/k" && e.DeleteMarker {
					if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: e.Key, Version: e.Version}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := renameKey(k.s, "bucket", "new/", "old/"); err != nil {
			t.Fatal(err)
		}
		k.putAt(c, "23T12:00:00", "old/k", 6)
		const all = "d/k3+ d/k2 d/k1 old/k6+ old/k- old/k5 old/k4"
		if got := k.versionsLeft(); got != all {
			t.Fatalf("%q", got)
		}
		k.rules("<Filter></Filter><NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration>")
		// The 5 of old/ was deleted on the 10th, the 4 of new/ replaced on the 23rd.
		k.lookVersions(c, "24T00:00:00", "d/k3+ d/k2 d/k1 old/k6+ old/k- old/k4")
		k.lookVersions(c, "26T00:00:00", "d/k3+ old/k6+ old/k- old/k4")
		k.lookVersions(c, "28T23:00:00", "d/k3+ old/k6+ old/k- old/k4")
		k.lookVersions(c, "29T00:00:00", "d/k3+ old/k6+")
	}
}

// What was set aside before times were noted is taken for younger than it may be, and
// left alone where nothing tells at all.
func TestNoncurrentVersionsWithoutATimeGoLater(t *testing.T) {
	for _, page := range []int{1, 2, 100} {
		k, c := lifecycleStack(t)
		k.s.lifecyclePage = page
		k.putAt(c, "01T10:00:00", "a/k", 1)
		k.putAt(c, "01T11:00:00", "b/k", 2)
		k.versioning(objstore.VersioningEnabled)
		k.putAt(c, "01T12:00:00", "c", 3)
		k.putAt(c, "02T12:00:00", "c", 4)
		k.putAt(c, "10T12:00:00", "c", 5)
		k.deleteAt(c, "10T12:00:00", "b/k")
		marker := k.versionEntries()[1]
		if err := renameKey(k.s, "bucket", "a/", "b/"); err != nil {
			t.Fatal(err)
		}
		if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "b/k", Version: marker.Version}); err != nil {
			t.Fatal(err)
		}
		if got := k.versionsLeft(); got != "b/k1+ b/k2 c5+ c4 c3" {
			t.Fatalf("%q", got)
		}
		err := k.s.update(bg, objstore.Caller{}, "forget", "", func(x *tx) error {
			for p, err := range x.Scan(meta.Prefix([]byte{'v'})) {
				if err != nil {
					return err
				}
				at, err := record.ParseVersionKey(p.Key)
				if err != nil || at.Number == 0 || at.Gone != 0 {
					continue
				}
				v, err := record.ParseVersion(p.Value)
				if err != nil {
					return err
				}
				v.Made = 0
				x.txn.Set(bytes.Clone(p.Key), v.Append(nil))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		k.rules("<Filter></Filter><NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration>")
		k.lookVersions(c, "12T00:00:00", "b/k1+ b/k2 c5+ c4")
		k.lookVersions(c, "25T00:00:00", "b/k1+ b/k2 c5+")
	}
}

// What somebody writes who still has a version open makes it no younger.
func TestWrittenVersionIsNoncurrentAsLongAsBefore(t *testing.T) {
	k, c := versionedStack(t, 10)
	k.putAt(c, "01T10:00:00", "a", 1)
	root, err := k.s.Lookup(bg, objstore.RootInode, "bucket")
	if err != nil {
		t.Fatal(err)
	}
	b := &versionedBucket{t: t, s: k.s, name: "bucket", root: root.Inode}
	f := b.open(b.root, "a")
	k.putAt(c, "02T10:00:00", "a", 2)
	since := k.versionEntries()[1].NoncurrentSince
	c.set("03T10:00:00")
	if _, err := f.WriteAt(bg, []byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	b.must(f.Close(bg))
	k.deleteAt(c, "04T10:00:00", "a")
	b.del("a", k.versionEntries()[1].Version)
	if got := k.versionEntries()[1].NoncurrentSince; got != since || k.versionsLeft() != "a-+ a1" {
		t.Errorf("noncurrent since %d, not %d: %s", got, since, k.versionsLeft())
	}
}

// expect is what one run of rules at now makes of a versioned bucket's versions.
func expect(rules []lifecycle.Rule, all []objstore.VersionEntry, now objstore.Time) (left []string) {
	for i := 0; i < len(all); {
		n := i
		for n < len(all) && all[n].Key == all[i].Key {
			n++
		}
		key := all[i:n]
		i = n
		newer, first := 0, 0
		if e := key[0]; e.DeleteMarker {
			o := lifecycle.Object{Key: e.Key, Since: e.LastModified}
			goes := lifecycle.MarkerGoes(rules, &o, now)
			if len(key) == 1 && goes {
				continue
			}
			left, first = append(left, e.Key+"-"), 1
		} else if r, at := lifecycle.Expiration(rules, &lifecycle.Object{Key: e.Key, Size: e.Size, Since: e.LastModified}); r != nil && at <= now {
			left = append(left, e.Key+"-") // and it became noncurrent only now
			left, first, newer = append(left, fmt.Sprint(e.Key, e.Size)), 1, 1
		} else {
			left, first = append(left, fmt.Sprint(e.Key, e.Size)), 1
		}
		for _, e := range key[first:] {
			goes := lifecycle.NoncurrentGoes(rules, &lifecycle.Object{Key: e.Key, Size: e.Size}, e.NoncurrentSince, newer, now)
			newer++
			switch {
			case goes:
			case e.DeleteMarker:
				left = append(left, e.Key+"-")
			default:
				left = append(left, fmt.Sprint(e.Key, e.Size))
			}
		}
	}
	return left
}

// Random histories and rules, in pages of every size, against what the rules say.
func TestLifecycleOfVersionsAgreesWithItsRules(t *testing.T) {
	rounds := 25
	if long {
		rounds = 500
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(1, uint64(round)))
		k, c := versionedStack(t, 1+rng.IntN(4))
		keys := []string{"a", "a/b", "a/c/d", "b", "c/"}
		start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		at := start
		for range 30 {
			at = at.Add(time.Duration(rng.IntN(20)) * time.Hour)
			c.ns.Store(at.UnixNano())
			key := keys[rng.IntN(len(keys))]
			var err error
			if rng.IntN(3) == 0 {
				_, err = k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: key})
			} else {
				size := rng.IntN(4)
				_, err = k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: key, Body: strings.NewReader("xxxx"[:size]), Size: int64(size)})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		var rules []string
		for range 1 + rng.IntN(2) {
			r := "<Filter>" + []string{"", "<Prefix>a</Prefix>", "<Prefix>a/</Prefix>", "<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>"}[rng.IntN(4)] + "</Filter>"
			switch rng.IntN(4) {
			case 0:
				r += "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
			case 1:
				r += fmt.Sprintf("<Expiration><Days>%d</Days></Expiration>", 1+rng.IntN(15))
			}
			r += fmt.Sprintf("<NoncurrentVersionExpiration><NoncurrentDays>%d</NoncurrentDays><NewerNoncurrentVersions>%d</NewerNoncurrentVersions></NoncurrentVersionExpiration>", 1+rng.IntN(15), rng.IntN(4))
			rules = append(rules, r)
		}
		k.rules(rules...)
		for range 3 {
			at = at.Add(time.Duration(24+rng.IntN(72)) * time.Hour)
			c.ns.Store(at.UnixNano())
			before := k.versionsLeft()
			doc, err := k.s.BucketConfig(bg, s3C, "bucket", objstore.ConfigLifecycle)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := lifecycle.Parse(doc)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Join(expect(parsed, k.versionEntries(), objstore.TimeOf(at)), " ")
			report, err := k.s.Lifecycle(bg, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(k.versionsLeft(), "+", ""); got != want {
				t.Fatalf("round %d: rules %q at %s, page %d: of\n%s\nis left\n%s, want\n%s: %+v", round, rules, at, k.s.lifecyclePage, before, got, want, report)
			}
			if err := checkTree(bg, k.s); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		k.close()
	}
}
