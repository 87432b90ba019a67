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

// The part of io_uring(7) that one thread needs which has one command under way; the
// names and figures are those of linux/io_uring.h.

const (
	opUringCmd = 46 // IORING_OP_URING_CMD

	setupSQE128       = 1 << 10 // IORING_SETUP_SQE128: commands carry 80 bytes
	setupSingleIssuer = 1 << 12 // IORING_SETUP_SINGLE_ISSUER
	// setupDeferTaskrun, IORING_SETUP_DEFER_TASKRUN: the kernel puts a request into our
	// buffer when we wait for it, and never interrupts the thread to do so.
	setupDeferTaskrun = 1 << 13

	enterGetEvents = 1 // IORING_ENTER_GETEVENTS

	featSingleMmap = 1 // IORING_FEAT_SINGLE_MMAP

	offSQEs = 0x10000000 // IORING_OFF_SQES

	sqeSize = 128
	cqeSize = 16
)

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32

	sqOff struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
		userAddr                                                    uint64
	}
	cqOff struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
		userAddr                                                    uint64
	}
}

// uring is an io_uring for one command at a time. All calls must come from the thread
// that made it.
type uring struct {
	fd    int
	rings []byte // submission and completion queue
	sqes  []byte
	p     uringParams
}

func newUring() (*uring, error) {
	u := &uring{fd: -1}
	u.p.flags = setupSQE128 | setupSingleIssuer | setupDeferTaskrun
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&u.p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	u.fd = int(fd)
	if u.p.features&featSingleMmap == 0 {
		u.close()
		return nil, errors.New("io_uring_setup: the kernel's rings are those of before Linux 5.4")
	}
	size := max(u.p.sqOff.array+u.p.sqEntries*4, u.p.cqOff.cqes+u.p.cqEntries*cqeSize)
	var err error
	if u.rings, err = mapUring(u.fd, 0, int(size)); err == nil {
		u.sqes, err = mapUring(u.fd, offSQEs, int(u.p.sqEntries)*sqeSize)
	}
	if err != nil {
		u.close()
		return nil, fmt.Errorf("io_uring: %w", err)
	}
	return u, nil
}

func mapUring(fd int, offset int64, size int) ([]byte, error) {
	return unix.Mmap(fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// close gives all back. A command under way is cancelled, as when a process ends.
func (u *uring) close() {
	if u.sqes != nil {
		unix.Munmap(u.sqes)
	}
	if u.rings != nil {
		unix.Munmap(u.rings)
	}
	unix.Close(u.fd)
}

// field is a figure of the rings.
func (u *uring) field(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&u.rings[offset])) }

// command is what an IORING_OP_URING_CMD says.
type command struct {
	fd   int
	op   uint32
	addr unsafe.Pointer // not in Go's memory
	len  uint32
	arg  [24]byte
}

// prepare puts c into the submission queue, which must be empty.
func (u *uring) prepare(c *command) {
	sqe := u.sqes[:sqeSize]
	clear(sqe)
	sqe[0] = opUringCmd
	binary.NativeEndian.PutUint32(sqe[4:], uint32(c.fd))
	binary.NativeEndian.PutUint32(sqe[8:], c.op)
	binary.NativeEndian.PutUint64(sqe[16:], uint64(uintptr(c.addr)))
	binary.NativeEndian.PutUint32(sqe[24:], c.len)
	copy(sqe[48:], c.arg[:])
	tail := u.field(u.p.sqOff.tail)
	*u.field(u.p.sqOff.array) = 0 // the index of sqe
	atomic.StoreUint32(tail, *tail+1)
}

// start submits c and does not wait for its end. done says that it has ended
// nevertheless, with res: a negative errno, most likely.
func (u *uring) start(c *command) (res int32, done bool, err error) {
	u.prepare(c)
	for {
		_, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), 1, 0, enterGetEvents, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return 0, false, fmt.Errorf("io_uring_enter: %w", errno)
		}
		res, done = u.completion()
		return res, done, nil
	}
}

// do submits c and waits for its end.
func (u *uring) do(c *command) (res int32, err error) {
	u.prepare(c)
	return u.wait(1)
}

// wait submits what was prepared, submit commands, and waits for one to end.
func (u *uring) wait(submit uintptr) (res int32, err error) {
	for {
		n, errno := blocking(unix.SYS_IO_URING_ENTER, uintptr(u.fd), submit, 1, enterGetEvents, 0, 0)
		switch {
		case errno == 0:
			submit -= min(submit, n)
		case errno != syscall.EINTR:
			return 0, fmt.Errorf("io_uring_enter: %w", errno)
		}
		if res, done := u.completion(); done {
			return res, nil
		}
	}
}

// completion takes the result of the command that has ended, if one has.
func (u *uring) completion() (res int32, done bool) {
	head := u.field(u.p.cqOff.head)
	if *head == atomic.LoadUint32(u.field(u.p.cqOff.tail)) {
		return 0, false
	}
	i := *head & *u.field(u.p.cqOff.ringMask)
	cqe := u.rings[u.p.cqOff.cqes+i*cqeSize:][:cqeSize]
	res = int32(binary.NativeEndian.Uint32(cqe[8:]))
	atomic.StoreUint32(head, *head+1)
	return res, true
}
