package lanes

import (
	"slices"
	"sync"
)

// group shares lanes between streams.
//
// A stream computes when it has kept back as much as it may. What others have kept back
// meanwhile is taken along. A second one computes only when the first has no lane free.
type group struct {
	mu      sync.Mutex // guards the fields below
	open    int        // streams that lend
	streams []*stream  // that have something in their queues, the oldest first
	running int        // streams that are being computed
	leaders int        // goroutines that do it
}

// all are the streams of the process.
var all group

// keep is how many pieces a stream keeps back at most.
const keep = 2

func (g *group) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open++
}

func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
}

// lag is how many pieces a stream keeps back now.
func (g *group) lag() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open < 2 {
		return 0
	}
	return keep
}

func (g *group) add(s *stream, p piece) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(s.queue) == 0 {
		g.streams = append(g.streams, s)
	}
	s.queue = append(s.queue, p)
}

// compute returns when no more than limit pieces of s are left.
func (g *group) compute(s *stream, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	s.waits, s.limit = true, limit
	for len(s.queue) > limit {
		if g.due(s) {
			g.lead(s)
			continue
		}
		g.mu.Unlock()
		<-s.wake
		g.mu.Lock()
	}
	s.waits = false
	for _, other := range g.streams {
		if g.due(other) {
			other.rouse()
			return
		}
	}
}

// due reports whether the goroutine of s has to compute.
func (g *group) due(s *stream) bool {
	return s.waits && !s.running && len(s.queue) > s.limit && g.running == g.leaders*width
}

func (s *stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it was roused before and has not looked yet
	}
}

// lead computes own, and others as long as that takes.
func (g *group) lead(own *stream) {
	g.leaders++
	for len(own.queue) > own.limit {
		var lane [width]*stream
		g.step(own, g.pick(own, lane[:0]))
	}
	g.leaders--
}

// pick appends the streams for the next step to list: own first, then those that wait.
func (g *group) pick(own *stream, list []*stream) []*stream {
	list = append(list, own)
	for _, waits := range [...]bool{true, false} {
		for _, s := range g.streams {
			if len(list) == width {
				return list
			}
			if s != own && !s.running && s.waits == waits {
				list = append(list, s)
			}
		}
	}
	return list
}

// step computes as much of each stream in the list as all of them have in one piece.
func (g *group) step(own *stream, list []*stream) {
	n := step
	for _, s := range list {
		s.running, s.first = true, s.queue[0]
		n = min(n, len(s.first.p))
	}
	g.running += len(list)
	g.mu.Unlock()
	compute(list, n)
	g.mu.Lock()
	g.running -= len(list)
	for _, s := range list {
		s.running, s.queue[0] = false, s.first
		if s.first = (piece{}); len(s.queue[0].p) == 0 {
			s.queue = slices.Delete(s.queue, 0, 1)
		}
		if len(s.queue) == 0 {
			at := slices.Index(g.streams, s)
			g.streams = slices.Delete(g.streams, at, at+1)
		}
		if s != own && s.waits && len(s.queue) <= s.limit {
			s.rouse()
		}
	}
}

// compute adds n bytes, whole blocks, to the state of each stream in the list.
func compute(list []*stream, n int) {
	if len(list) == 1 { // crypto/md5 is faster with one
		s := list[0]
		s.put()
		s.h.Write(s.first.p[:n]) // never fails
		s.get()
	} else {
		computeLanes(list, n)
	}
	for _, s := range list {
		if s.first.p = s.first.p[n:]; len(s.first.p) == 0 && s.first.done != nil {
			s.first.done()
		}
	}
}

func computeLanes(list []*stream, n int) {
	var states states
	var p [width]*byte
	for i := range width {
		s := list[min(i, len(list)-1)] // a lane that is not needed does what another does
		p[i] = &s.first.p[0]
		for k := range states {
			states[k][i] = s.state[k]
		}
	}
	blocks(&states, &p, n/64)
	for i, s := range list {
		for k := range states {
			s.state[k] = states[k][i]
		}
		s.added += uint64(n)
	}
}
