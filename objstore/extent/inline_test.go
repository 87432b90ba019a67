package extent

import (
	"bytes"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

func TestAppendInlineIsSealInlineEncoded(t *testing.T) {
	c := Of(objstore.ContentID{1}, One(secret.Random()))
	head := []byte("what stands before")
	for _, size := range []int{1, 100, MaxInline - 1, MaxInline} {
		plain := bytes.Repeat([]byte{byte(size)}, size)
		for _, room := range []int{0, size, 2*size + 1024} {
			dst := append(make([]byte, 0, len(head)+room), head...)
			out, err := AppendInline(dst, c, plain)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(out, head) {
				t.Fatalf("%d bytes with room for %d: changed what was there", size, room)
			}
			if same := &out[0] == &dst[0]; same != (room > 2*size) {
				t.Errorf("%d bytes with room for %d: in the same memory: %v", size, room, same)
			}
			n, err := record.ParseInline(out[len(head):])
			if err != nil || n.PlainLen != uint32(size) {
				t.Fatalf("%+v, %v", n, err)
			}
			got, err := OpenInline(nil, c, n)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes with room for %d: %d bytes, %v", size, room, len(got), err)
			}
		}
	}
	if out, err := AppendInline(head, c, nil); err == nil || !bytes.Equal(out, head) {
		t.Errorf("of nothing: %q, %v", out, err)
	}
}
