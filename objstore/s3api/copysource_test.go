package s3api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
	"github.com/cofferfs/coffer/objstore/meta"
)

// steppedMeta runs a function ahead of the transaction of that number, of those that
// requests ask for: the store's own come whenever they come.
type steppedMeta struct {
	meta.Store
	mu   sync.Mutex
	left int
	fn   func()
}

// at arranges for fn to run ahead of the n-th transaction from now on, counted from 0.
func (m *steppedMeta) at(n int, fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left, m.fn = n, fn
}

func (m *steppedMeta) step(ctx context.Context) {
	if ctx.Value(http.ServerContextKey) == nil {
		return
	}
	m.mu.Lock()
	fn := m.fn
	if m.left--; m.left >= 0 {
		fn = nil
	}
	if fn != nil {
		m.fn = nil
	}
	m.mu.Unlock()
	if fn != nil {
		fn()
	}
}

func (m *steppedMeta) View(ctx context.Context, fn func(meta.Reader) error) error {
	m.step(ctx)
	return m.Store.View(ctx, fn)
}

func (m *steppedMeta) Update(ctx context.Context, fn func(meta.Txn) error) error {
	m.step(ctx)
	return m.Store.Update(ctx, fn)
}

func openSteppedDoor(t *testing.T) (*keyDoor, *steppedMeta) {
	stepped := &steppedMeta{}
	store := storetest.Open(t, storetest.Options{Engine: func(o *engine.Options) {
		stepped.Store = o.Meta
		o.Meta = stepped
	}})
	return keyDoorOf(openDoorOf(t, store), store), stepped
}

// atEachStep runs try with a function that is called ahead of one transaction of
// what try does, of each in turn, until there is none any more.
func (m *steppedMeta) atEachStep(t *testing.T, before, between, try func()) {
	t.Helper()
	for n := 0; ; n++ {
		before()
		reached := false
		m.at(n, func() { reached = true; between() })
		try()
		m.at(0, nil)
		if !reached {
			if n < 2 {
				t.Fatal("nothing was interrupted")
			}
			return
		}
	}
}

// A copy has headers, tags and bytes of one object, whenever its source is replaced:
// by one with the same ETag, even if the copy has a condition of its own.
func TestCopyIsOfOneSource(t *testing.T) {
	d, steps := openSteppedDoor(t)
	d.bucket("bucket")
	for _, c := range []struct{ name, other, header, value string }{
		{"same bytes", "bytes", "", ""},
		{"other bytes", "other bytes", "", ""},
		{"condition", "other bytes", "x-amz-copy-source-if-none-match", `"x"`},
		{"condition that both meet", "other bytes", "x-amz-copy-source-if-unmodified-since", "Fri, 01 Jan 2100 00:00:00 GMT"},
	} {
		first := func() {
			d.do("PUT", "/bucket/src", "bytes", "x-amz-storage-class", "STANDARD_IA", "x-amz-meta-v", "1", "x-amz-tagging", "v=1").ok(t, "first", 200)
		}
		second := func() {
			d.do("PUT", "/bucket/src", c.other, "x-amz-storage-class", "STANDARD_IA", "x-amz-meta-v", "2", "x-amz-tagging", "v=2").ok(t, "second", 200)
		}
		steps.atEachStep(t, first, second, func() {
			headers := []string{"x-amz-copy-source", "bucket/src"}
			if c.header != "" {
				headers = append(headers, c.header, c.value)
			}
			d.do("PUT", "/bucket/copy", "", headers...).ok(t, c.name, 200)
			steps.at(0, nil)
			a := d.do("GET", "/bucket/copy", "")
			tags := d.do("GET", "/bucket/copy?tagging", "")
			v := a.header.Get("x-amz-meta-v")
			want := map[string]string{"1": "bytes", "2": c.other}[v]
			if want == "" || a.body != want || element(tags.body, "Value") != v || a.header.Get("x-amz-storage-class") != "" {
				t.Errorf("%s: %v %v, tagged %s", c.name, a, a.header, element(tags.body, "Value"))
			}
		})
	}
}

// What a policy lets copy for its tags is what is copied.
func TestCopyIsOfTheSourceThatWasAuthorized(t *testing.T) {
	d, steps := openSteppedDoor(t)
	d.bucket("bucket")
	const any = "arn:aws:s3:::bucket/*"
	public := d.user("public",
		`{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectTagging"],"Resource":"`+any+`","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"public"}}}`,
		`{"Effect":"Allow","Action":["s3:PutObject","s3:PutObjectTagging"],"Resource":"`+any+`"}`)
	untagged := d.user("untagged", `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"`+any+`"}`)
	put := func(body, tags string) func() {
		return func() { d.do("PUT", "/bucket/src", body, "x-amz-tagging", tags).ok(t, body, 200) }
	}
	_, part := d.begin("/bucket/parts")
	for _, c := range []struct {
		name, target   string
		who            *door
		before, second func()
	}{
		{"copy", "/bucket/copy", public, put("open", "class=public"), put("secret", "class=secret")},
		{"copy of what has no tags", "/bucket/copy", untagged, put("open", ""), put("secret", "class=secret")},
		{"part", part(1), public, put("open", "class=public"), put("secret", "class=secret")},
	} {
		refused := false
		steps.atEachStep(t, c.before, c.second, func() {
			a := c.who.do("PUT", c.target, "", "x-amz-copy-source", "bucket/src")
			if a.status == 403 {
				refused = true
				return
			}
			a.ok(t, c.name, 200)
			if strings.Contains(a.body, md5Hex("secret")) {
				t.Errorf("%s: copied what it must not: %v", c.name, a)
			}
		})
		if !refused {
			t.Errorf("%s: the source was never replaced in time", c.name)
		}
	}
	// It is asked about again, not refused, when the other one may be copied as well.
	steps.atEachStep(t, put("open", "class=public&v=1"), put("other", "class=public&v=2"), func() {
		public.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/src").ok(t, "both are public", 200)
	})
	// So is one under customers' keys, which are read anew each time.
	keyed := func(body, tags string) func() {
		return func() {
			d.do("PUT", "/bucket/src", body, join(customer("a"), []string{"x-amz-tagging", tags})...).ok(t, body, 200)
		}
	}
	steps.atEachStep(t, keyed("open", "class=public&v=1"), keyed("other", "class=public&v=2"), func() {
		public.do("PUT", "/bucket/copy", "", join(sourceOf("a"), customer("b"), []string{"x-amz-copy-source", "bucket/src"})...).ok(t, "both are public, under keys", 200)
	})
}
