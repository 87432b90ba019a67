// Package ring takes requests of a FUSE mount from the kernel through io_uring instead
// of read(2) and write(2) on /dev/fuse, and answers them there (Linux 6.14,
// Documentation/filesystems/fuse/fuse-io-uring.rst).
//
// # Why
//
// With /dev/fuse the kernel wakes whatever thread waits for requests, on a processor
// that is idle, and that thread wakes the caller, on another: for small requests most
// of the time goes into those two interrupts. A ring has a queue for each processor. The
// thread that serves it is bound to that processor, so a request is a switch from the
// caller to that thread and back, and answering one and waiting for the next is one
// system call instead of two.
//
// # Parts
//
// The connection is still go-fuse's: it mounts, answers INIT, sends notices, and reads
// what does not come through rings (FORGET, INTERRUPT). Requests of rings are given to
// fuse.ProtocolServer, which calls the same fuse.RawFileSystem.
//
// A queue holds entries: buffers in which the kernel puts one request each. Every entry
// has a thread of its own. The kernel takes the entry that became free last, so a caller
// who is alone always meets the same thread, and when the last one is taken another is
// made: a handler may wait for whatever it wants to, other requests included.
//
// # Threads and Go
//
// The thread is locked to its goroutine, since it is bound to a processor. To such a
// goroutine waiting in Go (a channel, a mutex) is dear: it takes two more switches of
// threads. Requests that wait for the disk in any case are therefore handled in an
// ordinary goroutine, and the thread waits for it in the kernel. While it waits there
// it has no processor of Go's (P): see blocking.
//
// BUG(kill): On Linux 6.18 a request of write-back can outlive the connection when the
// process is killed: aborting the connection does not end it, and who waits for its pages
// waits for ever. Nobody should have rings who did not ask for them.
//
// BUG(register): The kernel takes a failed registration of one more entry, for want of
// memory, as the end of all rings of the mount if its switch is off by then.
//
// BUG(affinity): Where the process may not run on a processor that makes requests, drain
// does not reach that queue.
package ring
