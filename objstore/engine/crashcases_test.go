package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// TestCrashWhileLifecycleRulesAreCarriedOut: an object that a rule removes is there,
// whole, or gone, and so are a version and an upload; another run ends what was begun.
func TestCrashWhileLifecycleRulesAreCarriedOut(t *testing.T) {
	for _, versioning := range []objstore.Versioning{objstore.VersioningOff, objstore.VersioningEnabled} {
		t.Run(fmt.Sprint(versioning), func(t *testing.T) {
			c := newCrashCase(t, versioning)
			k, clock := c.k, c.clock
			k.s.lifecyclePage = 8
			bodies := make(map[string][][]byte) // by key, newest last
			for round := range 3 {
				for i, size := range []int{0, 300, 40_000, 200_000, 700_000} {
					key := fmt.Sprintf("d%d/k%d", i%2, i)
					p := bytesOf(uint64(10*round+i), size+round)
					put(t, k.s, key, p)
					bodies[key] = append(bodies[key], p)
				}
			}
			ups := make(map[string]crashUpload)
			for i := range 3 {
				u := k.uploadPart("bucket", fmt.Sprint("up", i), bytesOf(uint64(i), 100_000))
				ups[u.key] = u
			}
			k.rules("<Filter></Filter><Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>" +
				"<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
			run := func(k *stack) error {
				_, err := k.s.Lifecycle(bg, true)
				return err
			}
			for _, day := range []string{"05T01:00:00", "09T01:00:00"} {
				c.steps = append(c.steps, func() error {
					clock.set(day)
					return run(k)
				})
			}
			c.check = func(k *stack, done, begun int) error {
				for key, list := range bodies {
					p, _, err := get(k.s, objstore.GetRequest{Key: key})
					switch {
					case objstore.IsKind(err, objstore.KindNotFound):
					case err != nil:
						return fmt.Errorf("%q: %w", key, err)
					case done > 0 || !bytes.Equal(p, list[2]):
						return fmt.Errorf("%q: %d bytes are there", key, len(p))
					}
				}
				res, err := k.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 1000})
				if err != nil {
					return err
				}
				for _, e := range res.Entries {
					if e.DeleteMarker {
						continue
					}
					p, _, err := get(k.s, objstore.GetRequest{Key: e.Key, Version: e.Version})
					if err != nil {
						return fmt.Errorf("%q version %q: %w", e.Key, e.Version, err)
					}
					known := false
					for _, b := range bodies[e.Key] {
						known = known || bytes.Equal(p, b)
					}
					if !known || done > 1 {
						return fmt.Errorf("%q version %q has %d bytes", e.Key, e.Version, len(p))
					}
				}
				for _, u := range ups {
					_, err := k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: u.key, Upload: u.id, Parts: u.parts, Size: -1})
					if objstore.IsKind(err, objstore.KindNoSuchUpload) {
						continue
					}
					if err != nil || done > 0 {
						return fmt.Errorf("%q: an upload ends with %v", u.key, err)
					}
					if p, _, err := get(k.s, objstore.GetRequest{Key: u.key}); err != nil || !bytes.Equal(p, u.p) {
						return fmt.Errorf("%q: %d bytes of an upload, %v", u.key, len(p), err)
					}
				}
				if begun > 0 {
					return run(k)
				}
				return nil
			}
			c.at(everyChange(14))
		})
	}
}

// TestCrashWhilePrefixIsRenamed: all that is below a prefix is at one place, with its
// versions.
func TestCrashWhilePrefixIsRenamed(t *testing.T) {
	c := newCrashCase(t, objstore.VersioningEnabled)
	k := c.k
	places := []string{"a/", "b/", "c/d/e/", "a/"}
	want := make(map[string][2][]byte)
	for i, size := range []int{10, 20_000, 300_000} {
		name := fmt.Sprintf("x%d/f", i)
		old, now := bytesOf(uint64(i), size), bytesOf(uint64(i+100), size)
		put(t, k.s, "a/"+name, old)
		put(t, k.s, "a/"+name, now)
		want[name] = [2][]byte{old, now}
	}
	for i := range places[1:] {
		c.steps = append(c.steps, func() error {
			return k.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: "bucket", SrcKey: places[i], DstKey: places[i+1], Token: fmt.Sprint("token", i)})
		})
	}
	c.check = func(k *stack, done, begun int) error {
		at := -1
		for i := done; i <= begun; i++ {
			p, _, err := get(k.s, objstore.GetRequest{Key: places[i] + "x0/f"})
			if err == nil && bytes.Equal(p, want["x0/f"][1]) {
				at = i
			}
		}
		if at < 0 {
			return fmt.Errorf("the prefix is at none of %q", places[done:begun+1])
		}
		versions := make(map[string]int)
		res, err := k.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 1000})
		if err != nil {
			return err
		}
		for _, e := range res.Entries {
			name, ok := strings.CutPrefix(e.Key, places[at])
			p, _, err := get(k.s, objstore.GetRequest{Key: e.Key, Version: e.Version})
			if err != nil {
				return fmt.Errorf("%q version %q: %w", e.Key, e.Version, err)
			}
			w := want[name]
			if e.Latest && !bytes.Equal(p, w[1]) || !e.Latest && !bytes.Equal(p, w[0]) || !ok {
				return fmt.Errorf("%q version %q has %d bytes", e.Key, e.Version, len(p))
			}
			versions[name]++
		}
		for name := range want {
			if versions[name] != 2 {
				return fmt.Errorf("%q has %d versions at %q", name, versions[name], places[at])
			}
		}
		if at == begun-1 { // the client repeats what it had no answer to
			return k.s.RenameObject(bg, s3C, objstore.RenameRequest{Bucket: "bucket", SrcKey: places[at], DstKey: places[at+1], Token: fmt.Sprint("token", at)})
		}
		return nil
	}
	c.at(1)
}

// TestCrashWhileKeyIsRotated: whichever version of the key a bucket's data key is sealed
// under, the keystore has it.
func TestCrashWhileKeyIsRotated(t *testing.T) {
	c := newCrashCase(t, objstore.VersioningOff)
	k := c.k
	want := bytesOf(1, 30_000)
	const buckets = 6
	for i := range buckets {
		name := fmt.Sprint("box-", i)
		makeBucket(t, k.s, name)
		if _, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: name, Key: "k", Body: bytes.NewReader(want), Size: -1}); err != nil {
			t.Fatal(err)
		}
	}
	c.steps = []func() error{k.rotate, k.rotate, k.rotate}
	c.check = func(k *stack, _, _ int) error {
		for i := range buckets {
			err := k.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: fmt.Sprint("box-", i), Key: "k"}, func(o *Object) error {
				var b bytes.Buffer
				_, err := o.WriteTo(&b)
				if err == nil && !bytes.Equal(b.Bytes(), want) {
					err = errors.New("other bytes")
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("bucket %d: %w", i, err)
			}
		}
		return k.rotate()
	}
	c.at(1)
}

// TestCrashWhileBucketWithUploadsIsRemoved: the bucket is there, with uploads that can be
// completed, or gone, and nothing is left of it.
func TestCrashWhileBucketWithUploadsIsRemoved(t *testing.T) {
	c := newCrashCase(t, objstore.VersioningOff)
	k := c.k
	put(t, k.s, "other", bytesOf(1, 100_000))
	makeBucket(t, k.s, "gone")
	var ups []crashUpload
	for i := range 3 * uploadsAtOnce {
		ups = append(ups, k.uploadPart("gone", fmt.Sprintf("u%03d", i), bytesOf(uint64(i), 20_000)))
	}
	remove := func(k *stack) error { return k.s.DeleteBucket(bg, s3C, "gone") }
	c.steps = []func() error{
		func() error { return remove(k) },
		func() error { return k.s.reapAll(bg) },
	}
	c.check = func(k *stack, done, begun int) error {
		_, err := k.s.HeadBucket(bg, s3C, "gone")
		switch {
		case objstore.IsKind(err, objstore.KindNoSuchBucket):
			return nil
		case err != nil:
			return err
		case done > 0:
			return errors.New("the bucket is back")
		}
		left := 0
		for _, u := range ups {
			_, err := k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "gone", Key: u.key, Upload: u.id, Parts: u.parts, Size: -1})
			if objstore.IsKind(err, objstore.KindNoSuchUpload) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%q: an upload ends with %w", u.key, err)
			}
			if left++; left == 3 { // the others go with the bucket
				break
			}
		}
		for _, u := range ups {
			if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "gone", Key: u.key}); err != nil {
				return err
			}
		}
		if err := remove(k); err != nil {
			return err
		}
		return k.s.reapAll(bg)
	}
	c.at(everyChange(3))
}

// TestCrashWhileSegmentsAreCompacted: what others share or read is whole, whichever
// segment it stands in.
func TestCrashWhileSegmentsAreCompacted(t *testing.T) {
	for name, read := range map[string]bool{"for nobody": false, "under a reader": true} {
		t.Run(name, func(t *testing.T) { crashCompaction(t, read) })
	}
}

func crashCompaction(t *testing.T, read bool) {
	c := newCrashCase(t, objstore.VersioningOff)
	k := c.k
	want := make(map[string][]byte)
	for i := range 12 {
		key := fmt.Sprintf("k%02d", i)
		want[key] = bytesOf(uint64(i), 150_000)
		put(t, k.s, key, want[key])
	}
	fillSegment(t, k)
	c.lazy = true
	g := newCollector()
	collect := func() error {
		for range 3 { // the next ones remove what the first has moved away from
			c.clock.ns.Add(int64(time.Minute)) // the grace period
			if err := k.s.collect(bg, g); err != nil {
				return err
			}
		}
		return nil
	}
	later := make(map[string]int) // by key: the step that makes it
	gone := make(map[string]int)  // the step that removes it
	for i := range 12 {
		key := fmt.Sprintf("k%02d", i)
		if i%3 == 0 {
			copied := key + "-copy"
			want[copied], later[copied] = want[key], len(c.steps)+1
			c.steps = append(c.steps, func() error {
				_, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: key, DstBucket: "bucket", DstKey: copied})
				return err
			}, collect)
			continue
		}
		gone[key] = len(c.steps) + 1
		c.steps = append(c.steps, func() error {
			_, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: key})
			return errors.Join(err, k.s.reapAll(bg), collect())
		})
	}
	c.steps = append(c.steps, collect, collect, collect)
	c.check = func(k *stack, done, begun int) error {
		for key, w := range want {
			p, _, err := get(k.s, objstore.GetRequest{Key: key})
			switch made, removed := later[key], gone[key]; {
			case err == nil && bytes.Equal(p, w):
				if made > begun || removed > 0 && removed <= done {
					return fmt.Errorf("%q is there after %d steps", key, done)
				}
			case objstore.IsKind(err, objstore.KindNotFound):
				if made <= done && (removed == 0 || removed > begun) {
					return fmt.Errorf("%q is gone after %d steps", key, done)
				}
			default:
				return fmt.Errorf("%q: %d bytes, %w", key, len(p), err)
			}
		}
		return nil
	}
	before := segments(t, k)
	if !read {
		c.at(everyChange(9))
		if n := segments(t, k); n >= before {
			t.Errorf("%d segments, %d before", n, before)
		}
		return
	}
	err := k.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "k01"}, func(o *Object) error {
		c.at(everyChange(9))
		if n := segments(t, k); n <= before {
			t.Errorf("%d segments, %d before: nothing was compacted", n, before)
		}
		var b bytes.Buffer
		if _, err := o.WriteTo(&b); err != nil {
			return err
		}
		same(t, "what was being read", b.Bytes(), want["k01"])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
