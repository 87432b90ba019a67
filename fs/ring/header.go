package ring

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The layout of what the kernel and we exchange is linux/fuse.h, version 7.42: struct
// fuse_uring_req_header is fuse_in_header or fuse_out_header (128 bytes are kept for
// it), the operation's own fixed part (128 bytes), and struct fuse_uring_ent_in_out:
// flags, commit id (8 bytes each), size of the payload, padding (4 each), reserved (8).
// Names, data and answers are in the payload, which is a buffer of its own.
const (
	operationOffset = 128
	operationSize   = 128
	commitIDOffset  = operationOffset + operationSize + 8
	payloadOffset   = commitIDOffset + 8
	headerSize      = operationOffset + operationSize + 32

	inHeaderSize  = int(unsafe.Sizeof(fuse.InHeader{}))
	outHeaderSize = int(unsafe.Sizeof(fuse.OutHeader{}))

	cmdRegister       = 1 // FUSE_IO_URING_CMD_REGISTER
	cmdCommitAndFetch = 2 // FUSE_IO_URING_CMD_COMMIT_AND_FETCH
)

// Codes of operations (enum fuse_opcode).
const (
	opRead     = 15
	opWrite    = 16
	opFsync    = 20
	opFsyncdir = 30
	opSyncfs   = 50
)

// header is struct fuse_uring_req_header.
type header []byte

func (h header) in() *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&h[0])) }

func (h header) commitID() uint64 { return binary.NativeEndian.Uint64(h[commitIDOffset:]) }

func (h header) payloadSize() int { return int(binary.NativeEndian.Uint32(h[payloadOffset:])) }

// operation is the fixed part of the request, whose size only the request's length tells.
func (h header) operation() ([]byte, error) {
	n := int(h.in().Length) - inHeaderSize - h.payloadSize()
	if n < 0 || n > operationSize {
		return nil, fmt.Errorf("operation %d: a request of %d bytes with a payload of %d", h.in().Opcode, h.in().Length, h.payloadSize())
	}
	return h[operationOffset:][:n], nil
}

// answer puts in place of the request's header the one of an answer of n bytes, its
// header included.
func (h header) answer(out []byte, n int) {
	copy(h[:outHeaderSize], out)
	binary.NativeEndian.PutUint32(h, uint32(n))
	binary.NativeEndian.PutUint32(h[payloadOffset:], uint32(n-outHeaderSize))
}

// fail fills out with the header of an answer that is an error.
func (h header) fail(out []byte, errno syscall.Errno) {
	binary.NativeEndian.PutUint32(out[4:], uint32(-int32(errno)))
	binary.NativeEndian.PutUint64(out[8:], h.in().Unique)
}
