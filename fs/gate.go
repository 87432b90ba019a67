package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// gate keeps everybody out of a mount whose use is not decided (Options.Gated):
// who looks up a name or opens a directory waits. Nothing but the root's own
// attributes can be had without one of these.
type gate struct {
	decided chan struct{} // nil: the mount was never gated
	refused bool          // set before decided is closed
}

// pass returns OK once the gate is open. ESTALE makes the kernel walk the path
// anew, from where the process stands: to what is mounted there now.
func (g *gate) pass() fuse.Status {
	if g.decided == nil {
		return fuse.OK
	}
	<-g.decided
	if g.refused {
		return fuse.Status(syscall.ESTALE)
	}
	return fuse.OK
}

// shut reports whether nobody has passed. The kernel has no names of such a mount,
// and telling it of one would wait for those who wait, who hold the root's lock.
func (g *gate) shut() bool {
	if g.decided == nil {
		return false
	}
	select {
	case <-g.decided:
		return g.refused
	default:
		return true
	}
}

// Admit lets in everybody who waits for a gated mount, and returns when it answers.
// Either Admit or Refuse is called, once.
func (m *Mounted) Admit() error {
	close(m.fs.gate.decided)
	return m.server.WaitMount()
}

// Refuse sends everybody who waits for a gated mount to what lies below it. The
// mount must have been unmounted, lazily, or they come back.
func (m *Mounted) Refuse() {
	m.fs.gate.refused = true
	close(m.fs.gate.decided)
}
