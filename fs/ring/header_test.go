package ring

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"
)

// request is a header as the kernel fills it.
func request(length, payload int) header {
	h := make(header, headerSize)
	in := h.in()
	in.Length, in.Opcode, in.Unique = uint32(length), opWrite, 77
	for i := range operationSize {
		h[operationOffset+i] = byte(i)
	}
	binary.NativeEndian.PutUint64(h[264:], 42)
	binary.NativeEndian.PutUint32(h[272:], uint32(payload))
	return h
}

func TestFixedPartIsWhatTheLengthLeaves(t *testing.T) {
	for _, c := range []struct {
		length, payload int
		want            int // -1: an error
	}{
		{40, 0, 0}, {40 + 40 + 4096, 4096, 40}, {40 + 7, 7, 0}, {40 + 128, 0, 128},
		{40 + 129, 0, -1}, {39, 0, -1}, {0, 0, -1}, {40, 1, -1}, {1 << 31, 0, -1}, {40, 1 << 31, -1},
	} {
		h := request(c.length, c.payload)
		got, err := h.operation()
		if (err != nil) != (c.want < 0) {
			t.Errorf("length %d, payload %d: %v", c.length, c.payload, err)
			continue
		}
		if err == nil && !bytes.Equal(got, h[128:128+c.want]) {
			t.Errorf("length %d, payload %d: %d bytes, want %d", c.length, c.payload, len(got), c.want)
		}
	}
	if h := request(40, 0); h.commitID() != 42 {
		t.Errorf("commit id %d, want 42", h.commitID())
	}
}

func TestErrorIsAnAnswerToTheRequest(t *testing.T) {
	h := request(40, 0)
	var out [outHeaderSize]byte
	h.fail(out[:], syscall.EIO)
	h.answer(out[:], outHeaderSize)
	if length := binary.NativeEndian.Uint32(h); length != 16 {
		t.Errorf("length %d, want 16", length)
	}
	if status := int32(binary.NativeEndian.Uint32(h[4:])); status != -int32(syscall.EIO) {
		t.Errorf("status %d", status)
	}
	if unique := binary.NativeEndian.Uint64(h[8:]); unique != 77 {
		t.Errorf("answers request %d, want 77", unique)
	}
	if h.payloadSize() != 0 {
		t.Errorf("payload of %d", h.payloadSize())
	}
}
