package localdata

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
)

func TestHeaderGolden(t *testing.T) {
	id := data.SegmentID{0: 0xa0, 15: 0x0f}
	h := bytes.Repeat([]byte{0xff}, headerBytes)
	putHeader(h, id)
	want := "cofferSG" + "\x00\x00\x00\x01" + "\x00\x00\x10\x00" +
		"\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0f" + "\x00\x00\x00\x00"
	if string(h[:36]) != want {
		t.Fatalf("header begins with %q", h[:36])
	}
	if got := [4]byte(h[headerBytes-4:]); got != [4]byte{0x38, 0x42, 0x34, 0x6a} {
		t.Fatalf("checksum is %#v", got)
	}
	if err := checkHeader(h, id); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownVersionIsRefusedAndNotCalledCorrupt(t *testing.T) {
	id := newSegmentID()
	h := make([]byte, headerBytes)
	putHeader(h, id)
	h[offVersion+3] = 2
	if err := checkHeader(h, id); err == nil || errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("got %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	id := data.SegmentID{1, 2, 3}
	h := make([]byte, headerBytes)
	putHeader(h, id)
	f.Add(h, id[:])
	f.Add(h[:headerBytes-1], id[:])
	f.Add(h, []byte("another id here.."))
	f.Add([]byte{}, id[:])
	f.Fuzz(func(t *testing.T, h, name []byte) {
		var id data.SegmentID
		copy(id[:], name)
		if checkHeader(h, id) != nil {
			return
		}
		// What is accepted is exactly what is written, reserved bytes apart.
		want := make([]byte, headerBytes)
		putHeader(want, id)
		if !bytes.Equal(h[:32], want[:32]) {
			t.Fatalf("accepted %x for %v", h[:32], id)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("00112233445566778899aabbccddeeff")
	f.Add("00112233445566778899AABBCCDDEEFF")
	f.Add("00112233445566778899aabbccddeef")
	f.Add("")
	f.Fuzz(func(t *testing.T, name string) {
		if id, ok := parseName(name); ok && id.String() != name {
			t.Fatalf("%q is taken for %v", name, id)
		}
	})
}
