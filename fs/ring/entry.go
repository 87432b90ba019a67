package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// entry is a place for one request of a queue, and the thread that serves it.
type entry struct {
	q     *queue
	ring  *uring
	bound bool // the thread, to the queue's processor

	// mem is not Go's, since the kernel keeps its address: a page with header, the
	// vectors that say where the parts are; then payload.
	mem     []byte
	header  header
	payload []byte

	aside atomic.Uint32 // futex(2): 1 while a goroutine handles the request
	side  []byte        // a payload that its answer would overwrite
	// in and out are what ProtocolServer is given, answer the first of out.
	in     [3][]byte
	out    [2][]byte
	answer [outHeaderSize]byte
}

// Offsets in the first page of an entry's memory.
const (
	vectorsOffset = 1024
	pageSize      = 4096

	vectorCount = 2 // FUSE_URING_IOV_SEGS: the header's and the payload's
)

// newEntry makes an entry; it belongs to the calling thread.
func newEntry(q *queue) (*entry, error) {
	e := &entry{q: q, bound: true}
	var err error
	if e.ring, err = newUring(); err != nil {
		return nil, err
	}
	size := pageSize + q.s.payloadSize
	if e.mem, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		e.ring.close()
		return nil, fmt.Errorf("memory for requests: %w", err)
	}
	e.header = header(e.mem[:headerSize])
	e.payload = e.mem[pageSize:]
	for i, part := range [vectorCount][]byte{e.header, e.payload} {
		v := (*unix.Iovec)(unsafe.Pointer(&e.mem[vectorsOffset+i*int(unsafe.Sizeof(unix.Iovec{}))]))
		v.Base = &part[0]
		v.SetLen(len(part))
	}
	return e, nil
}

func (e *entry) close() {
	e.ring.close()
	unix.Munmap(e.mem)
}

// command is one of FUSE's: commitID names the request that it answers.
func (e *entry) command(op uint32, commitID uint64) *command {
	c := &command{fd: e.q.s.device, op: op}
	if op == cmdRegister {
		c.addr, c.len = unsafe.Pointer(&e.mem[vectorsOffset]), vectorCount
	}
	// struct fuse_uring_cmd_req: flags, commit_id, qid, padding.
	binary.NativeEndian.PutUint64(c.arg[8:], commitID)
	binary.NativeEndian.PutUint16(c.arg[16:], e.q.id)
	return c
}

// register gives the entry to the kernel. has says that it has a request already.
func (e *entry) register() (has bool, err error) {
	res, done, err := e.ring.start(e.command(cmdRegister, 0))
	if err == nil && done && res < 0 {
		err = syscall.Errno(-res)
	}
	if err != nil {
		return false, fmt.Errorf("register with the queue of processor %d: %w", e.q.id, err)
	}
	return done, nil
}

// serve answers requests until the mount is gone, for which the error is nil. The entry
// must be registered; has is what register said.
func (e *entry) serve(has bool) error {
	var res int32
	var err error
	if !has {
		res, err = e.ring.wait(0)
	}
	for err == nil && res >= 0 {
		id := e.header.commitID()
		e.q.take()
		e.handle()
		e.q.free.Add(1)
		res, err = e.ring.do(e.command(cmdCommitAndFetch, id))
	}
	if err == nil {
		err = syscall.Errno(-res)
	}
	if gone(err) {
		return nil
	}
	return err
}

// gone reports whether err says that the mount, or the connection, has ended.
func gone(err error) bool {
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.ENODEV)
}

// handle answers the request in the entry.
func (e *entry) handle() {
	operation, err := e.header.operation()
	if err != nil {
		e.q.s.log.Error("a request through io_uring is not understood", "error", err)
		clear(e.answer[:])
		e.header.fail(e.answer[:], syscall.EIO)
		e.header.answer(e.answer[:], outHeaderSize)
		return
	}
	opcode := e.header.in().Opcode
	payload := e.payload[:e.header.payloadSize()]
	if opcode != opWrite { // whose answer has no payload of its own
		e.side = append(e.side[:0], payload...)
		payload = e.side
	}
	e.in = [...][]byte{e.header[:inHeaderSize], operation, payload}
	e.out = [...][]byte{e.answer[:], e.payload}
	if long(opcode, operation) == e.bound {
		e.bound = !e.bound
		e.q.s.bind(e.q, e.bound)
	}
	if waits(opcode) {
		e.callAside()
	} else {
		e.call()
	}
}

// longRequest is the size in bytes of a long READ or WRITE.
const longRequest = 128 << 10

// long reports whether to copy, encrypt or decrypt the data takes longer than to wake a
// processor. The kernel reads ahead and writes back in several of those at a time, all
// in one queue.
func long(opcode uint32, operation []byte) bool {
	const size = 16 // its offset in struct fuse_read_in and struct fuse_write_in
	return (opcode == opRead || opcode == opWrite) && len(operation) >= size+4 &&
		binary.NativeEndian.Uint32(operation[size:]) >= longRequest
}

// waits reports whether a request waits for the disk in any case.
func waits(opcode uint32) bool {
	switch opcode {
	case opFsync, opFsyncdir, opSyncfs:
		return true
	}
	return false
}

func (e *entry) call() {
	clear(e.answer[:])
	n, _ := e.q.s.protocol.HandleRequest(e.in[:], e.out[:])
	if n < outHeaderSize {
		// What it did not understand it logs and does not answer.
		n = outHeaderSize
		e.header.fail(e.answer[:], syscall.EIO)
	}
	e.header.answer(e.answer[:], n)
}

// callAside is call in a goroutine that is not locked to the thread.
func (e *entry) callAside() {
	e.aside.Store(1)
	word := uintptr(unsafe.Pointer(&e.aside)) // e does not move, and lives until close
	go func() {
		defer func() {
			e.aside.Store(0)
			syscall.RawSyscall(unix.SYS_FUTEX, word, futexWake, 1)
		}()
		e.call()
	}()
	for e.aside.Load() == 1 {
		blocking(unix.SYS_FUTEX, word, futexWait, 1, 0, 0, 0)
	}
}

// Operations of futex(2), on a word of this process alone (FUTEX_PRIVATE_FLAG).
const (
	futexWait = 0 | 128
	futexWake = 1 | 128
)
