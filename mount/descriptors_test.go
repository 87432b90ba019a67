package mount

import (
	"errors"
	"net"
	"testing"
)

func TestDescriptorsAreSharedOut(t *testing.T) {
	for _, limit := range []int{minDescriptors, 1024, 2048, 4096, 20000, 1 << 30} {
		d := shareOut(limit)
		most := d.connections + d.tables + 2*d.segments
		if d.connections < 16 || d.tables < 64 || d.segments < 1 || limit-most < 80 {
			t.Errorf("%d: %+v, which leaves %d", limit, d, limit-most)
		}
	}
}

func TestConnectionsAreBound(t *testing.T) {
	const n = 3
	s := make(slots, n)
	var lns [2]net.Listener
	for i := range lns {
		ln, err := listenOn(t.Context(), "127.0.0.1:0", "")
		if err != nil {
			t.Fatal(err)
		}
		lns[i] = s.bound(ln)
	}
	connect := func(i int) net.Conn {
		c, err := net.Dial("tcp", lns[i].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var conns []net.Conn
	for i := range n {
		connect(i % 2)
		c, err := lns[i%2].Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	connect(0)
	accepted := make(chan net.Conn)
	go func() {
		c, _ := lns[0].Accept()
		accepted <- c
	}()
	conns[1].Close()
	conns[1].Close()
	c := <-accepted
	if c == nil || len(s) != n {
		t.Fatalf("%d slots are taken, want %d", len(s), n)
	}
	// All are taken again: closing ends the wait.
	ended := make(chan error)
	go func() {
		_, err := lns[1].Accept()
		ended <- err
	}()
	lns[1].Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	for _, c := range []net.Conn{conns[0], conns[2], c} {
		c.Close()
	}
	if len(s) != 0 {
		t.Errorf("%d slots stay taken", len(s))
	}
	lns[0].Close()
}
