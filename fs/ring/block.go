package ring

import (
	"syscall"
	_ "unsafe" // for go:linkname
)

// What the runtime does before and after a system call that is known to block. The
// runtime keeps the names for packages like this one (go.dev/issue/67401).

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// blocking makes a system call for which the thread gives up its P at once. After
// syscall.Syscall6 a P stays with a thread in the kernel until the runtime's monitor
// takes it away, milliseconds later; what the thread made runnable just before, and
// others when many threads wait, would have to wait for that. The arguments must not
// point into a stack of Go's, and what they point to must be held by the caller.
//
//go:nosplit
//go:norace
func blocking(trap, a1, a2, a3, a4, a5, a6 uintptr) (r uintptr, errno syscall.Errno) {
	entersyscallblock()
	r, _, errno = syscall.RawSyscall6(trap, a1, a2, a3, a4, a5, a6)
	exitsyscall()
	return r, errno
}
