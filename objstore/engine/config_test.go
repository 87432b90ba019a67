package engine

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

func TestBucketConfigurationsAreKeptByName(t *testing.T) {
	s, _ := treeStore(t)
	makeBucket(t, s, "configured")
	makeBucket(t, s, "plain")
	names := []objstore.ConfigName{objstore.ConfigPolicy, objstore.ConfigCORS, objstore.ConfigWebsite, objstore.ConfigMetrics.Name("a"), objstore.ConfigMetrics.Name("b")}
	for _, n := range names {
		if _, err := s.BucketConfig(bg, s3C, "configured", n); kindOf(err) != objstore.KindNoSuchConfig {
			t.Errorf("%s before it is set: %v", n, err)
		}
		if err := s.DeleteBucketConfig(bg, s3C, "configured", n); kindOf(err) != objstore.KindNoSuchConfig {
			t.Errorf("%s deleted before it is set: %v", n, err)
		}
	}
	for _, n := range names {
		for _, version := range []string{"one", "two"} {
			if err := s.SetBucketConfig(bg, s3C, "configured", n, []byte(version+" "+string(n))); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if doc, err := s.BucketConfig(bg, s3C, "configured", n); err != nil || string(doc) != version+" "+string(n) {
					t.Errorf("%s: %q %v", n, doc, err)
				}
			}
		}
		if _, err := s.BucketConfig(bg, s3C, "plain", n); kindOf(err) != objstore.KindNoSuchConfig {
			t.Errorf("%s of the other bucket: %v", n, err)
		}
	}
	for i, n := range names {
		if err := s.DeleteBucketConfig(bg, s3C, "configured", n); err != nil {
			t.Fatal(err)
		}
		for j, o := range names {
			want := objstore.Kind(0)
			if j <= i {
				want = objstore.KindNoSuchConfig
			}
			if _, err := s.BucketConfig(bg, s3C, "configured", o); (err != nil) != (j <= i) || err != nil && kindOf(err) != want {
				t.Errorf("%s after %s is deleted: %v", o, n, err)
			}
		}
	}
}

func TestBucketConfigurationRefusals(t *testing.T) {
	s, _ := treeStore(t)
	makeBucket(t, s, "configured")
	for _, n := range []objstore.ConfigName{"", "x", "policy/x", "metrics", "metrics/", "/", "/x", objstore.ConfigMetrics.Name(strings.Repeat("x", 65))} {
		if err := s.SetBucketConfig(bg, s3C, "configured", n, []byte("x")); kindOf(err) != objstore.KindInvalidArgument {
			t.Errorf("set %q: %v", n, err)
		}
		if _, err := s.BucketConfig(bg, s3C, "configured", n); kindOf(err) != objstore.KindInvalidArgument {
			t.Errorf("get %q: %v", n, err)
		}
		if err := s.DeleteBucketConfig(bg, s3C, "configured", n); kindOf(err) != objstore.KindInvalidArgument {
			t.Errorf("delete %q: %v", n, err)
		}
	}
	for size, want := range map[int]bool{0: false, 1: true, objstore.MaxConfigSize: true, objstore.MaxConfigSize + 1: false} {
		doc := bytes.Repeat([]byte("x"), size)
		err := s.SetBucketConfig(bg, s3C, "configured", objstore.ConfigMetrics.Name(strings.Repeat("x", 64)), doc)
		if (err == nil) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, _, err := s.ListBucketConfigs(bg, s3C, "configured", "policy", "", 10); kindOf(err) != objstore.KindInvalidArgument {
		t.Errorf("list of policies: %v", err)
	}
	_, get := s.BucketConfig(bg, s3C, "not-there", objstore.ConfigCORS)
	set := s.SetBucketConfig(bg, s3C, "not-there", objstore.ConfigCORS, []byte("x"))
	del := s.DeleteBucketConfig(bg, s3C, "not-there", objstore.ConfigCORS)
	_, _, list := s.ListBucketConfigs(bg, s3C, "not-there", objstore.ConfigMetrics, "", 1)
	for _, err := range []error{get, set, del, list} {
		if kindOf(err) != objstore.KindNoSuchBucket {
			t.Errorf("no bucket: %v", err)
		}
	}
}

func TestConfigurationsOfAFamilyAreListedById(t *testing.T) {
	s, _ := treeStore(t)
	makeBucket(t, s, "configured")
	for _, id := range []string{"b", "a", "a-b", "c"} {
		if err := s.SetBucketConfig(bg, s3C, "configured", objstore.ConfigInventory.Name(id), []byte("doc "+id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetBucketConfig(bg, s3C, "configured", objstore.ConfigMetrics.Name("x"), []byte("other")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after     string
		max       int
		want      string
		truncated bool
	}{
		{"", 10, "a a-b b c", false}, {"", 4, "a a-b b c", false}, {"", 3, "a a-b b", true},
		{"a", 2, "a-b b", true}, {"b", 2, "c", false}, {"c", 2, "", false}, {"aa", 1, "b", true},
	} {
		list, truncated, err := s.ListBucketConfigs(bg, s3C, "configured", objstore.ConfigInventory, c.after, c.max)
		var got []string
		for _, n := range list {
			_, id, _ := n.Name.Family()
			got = append(got, id)
			if string(n.Document) != "doc "+id {
				t.Errorf("%s: %q", n.Name, n.Document)
			}
		}
		if err != nil || strings.Join(got, " ") != c.want || truncated != c.truncated {
			t.Errorf("%+v: %q %v %v", c, got, truncated, err)
		}
	}
}

func TestConfigurationsOfAFamilyAreBounded(t *testing.T) {
	s, m := treeStore(t)
	root := makeBucket(t, s, "configured")
	set := func(id string) error {
		return s.SetBucketConfig(bg, s3C, "configured", objstore.ConfigMetrics.Name(id), []byte("x"))
	}
	if err := set("first"); err != nil {
		t.Fatal(err)
	}
	err := m.Update(bg, func(x meta.Txn) error {
		for i := range objstore.MaxConfigIDs - 2 {
			x.Set(record.ConfigKey(root, objstore.ConfigMetrics.Name(fmt.Sprint(i))), (&record.Config{Document: []byte("x")}).Append(nil))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := set("last"); err != nil {
		t.Fatal(err)
	}
	if err := set("one too many"); kindOf(err) != objstore.KindTooManyConfigs {
		t.Errorf("one too many: %v", err)
	}
	if err := set("last"); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := s.DeleteBucket(bg, s3C, "configured"); err != nil {
		t.Fatal(err)
	}
	if n := configsLeft(t, m); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

func configsLeft(t *testing.T, m *memMeta) (n int) {
	err := m.View(bg, func(r meta.Reader) error {
		for _, err := range r.Scan(meta.Prefix([]byte{'b'})) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A bucket of the same name has none of the configurations of the one before,
// whichever door removed that.
func TestConfigurationsGoWithTheirBucket(t *testing.T) {
	s, m := treeStore(t)
	for _, remove := range []func() error{
		func() error { return s.DeleteBucket(bg, s3C, "configured") },
		func() error { return s.Rmdir(bg, mountC, objstore.RootInode, "configured") },
	} {
		makeBucket(t, s, "configured")
		for _, n := range []objstore.ConfigName{objstore.ConfigPolicy, objstore.ConfigAnalytics.Name("x")} {
			if _, err := s.BucketConfig(bg, s3C, "configured", n); kindOf(err) != objstore.KindNoSuchConfig {
				t.Errorf("%s of a new bucket: %v", n, err)
			}
			if err := s.SetBucketConfig(bg, s3C, "configured", n, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.BucketConfig(bg, s3C, "configured", n); err != nil {
				t.Fatal(err)
			}
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if n := configsLeft(t, m); n != 0 {
			t.Errorf("%d records are left", n)
		}
	}
}

// What is asked with every request reads no record.
func TestConfigurationsCostARequestNothing(t *testing.T) {
	s, m := treeStore(t)
	makeBucket(t, s, "configured")
	if err := s.SetBucketConfig(bg, s3C, "configured", objstore.ConfigCORS, []byte("x")); err != nil {
		t.Fatal(err)
	}
	ask := func() {
		if _, err := s.BucketConfig(bg, s3C, "configured", objstore.ConfigCORS); err != nil {
			t.Error(err)
		}
		if _, err := s.BucketConfig(bg, s3C, "configured", objstore.ConfigPolicy); kindOf(err) != objstore.KindNoSuchConfig {
			t.Error(err)
		}
	}
	ask()
	before := m.steps
	for range 10 {
		ask()
	}
	if n := m.steps - before; n != 0 {
		t.Errorf("%d records are read", n)
	}
}

// Documents that are forgotten for others' sake are read again.
func TestConfigurationsBeyondTheCacheAreRight(t *testing.T) {
	c := newCache()
	token := c.quiet()
	for root := range objstore.InodeID(200) {
		c.putConfig(token, root, objstore.ConfigPolicy, make([]byte, 100<<10))
		if c.configBytes > configCacheSize {
			t.Fatalf("%d bytes are kept", c.configBytes)
		}
	}
	if _, ok := c.config(199, objstore.ConfigPolicy); !ok {
		t.Error("the last one is not kept")
	}
	c.end(c.start(), changes{buckets: map[objstore.InodeID]bool{199: true}})
	if _, ok := c.config(199, objstore.ConfigPolicy); ok {
		t.Error("what was changed is still there")
	}
	kept := 0
	for _, docs := range c.configs {
		kept += len(docs) * 100 << 10
	}
	if kept != c.configBytes {
		t.Errorf("%d bytes are counted, %d are kept", c.configBytes, kept)
	}
}

// A reader never sees a document that is older than one it has seen.
func TestConfigurationsBesideTheirWriterAreInOrder(t *testing.T) {
	s, _ := treeStore(t)
	makeBucket(t, s, "configured")
	set := func(i int) {
		if err := s.SetBucketConfig(bg, s3C, "configured", objstore.ConfigCORS, fmt.Appendf(nil, "%05d", i)); err != nil {
			t.Error(err)
		}
	}
	set(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := ""
			for {
				select {
				case <-stop:
					return
				default:
				}
				doc, err := s.BucketConfig(bg, s3C, "configured", objstore.ConfigCORS)
				if err != nil || string(doc) < last {
					t.Errorf("%q after %q: %v", doc, last, err)
					return
				}
				last = string(doc)
			}
		})
	}
	for i := range 300 {
		set(i)
	}
	close(stop)
	wg.Wait()
	if doc, err := s.BucketConfig(bg, s3C, "configured", objstore.ConfigCORS); err != nil || string(doc) != "00299" {
		t.Errorf("%q %v", doc, err)
	}
}
