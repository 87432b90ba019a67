package lanes

import (
	"slices"
	"sync"
)

// group shares lanes between streams.
//
// A stream computes its piece when there is no more to wait for: when it has to be
// done, or when all streams that take part have brought one. Others that wait meanwhile
// are taken along, and go on waiting if they are not through when the one whose
// goroutine it is has ended. A second one computes only when the first has no lane free.
type group struct {
	mu      sync.Mutex // guards the fields below
	open    int        // streams that take part
	jobs    []*job     // that are not through, the oldest first
	running int        // jobs that are being computed
	leaders int        // goroutines that do it
}

// all are the streams of the process.
var all group

func (g *group) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open++
}

func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	g.rouse()
}

// compute returns when j is through. It waits for others until next is closed; not
// at all when next is nil.
func (g *group) compute(j *job, next <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.jobs = append(g.jobs, j)
	j.urgent = next == nil
	for len(j.p) > 0 {
		if !j.running && g.due(j) {
			g.lead(j)
			break
		}
		g.mu.Unlock()
		closed := false
		select {
		case <-j.wake:
		case <-next:
			next, closed = nil, true
		}
		g.mu.Lock()
		j.urgent = j.urgent || closed
	}
	g.rouse()
}

// due reports whether j, which nobody computes, has to be computed by its own goroutine.
func (g *group) due(j *job) bool {
	return (j.urgent || len(g.jobs) >= min(g.open, width)) && g.running == g.leaders*width
}

// rouse wakes one whose turn it is to compute.
func (g *group) rouse() {
	for _, j := range g.jobs {
		if !j.running && g.due(j) {
			j.rouse()
			return
		}
	}
}

func (j *job) rouse() {
	select {
	case j.wake <- struct{}{}:
	default: // it was woken before and has not looked yet
	}
}

// lead computes own, and others as long as that takes.
func (g *group) lead(own *job) {
	g.leaders++
	for len(own.p) > 0 {
		var lane [width]*job
		g.step(own, g.pick(own, lane[:0]))
	}
	g.leaders--
}

// pick appends the jobs for the next step to list: own first, then those whose
// streams wait.
func (g *group) pick(own *job, list []*job) []*job {
	list = append(list, own)
	for _, urgent := range [...]bool{true, false} {
		for _, j := range g.jobs {
			if len(list) == width {
				return list
			}
			if j != own && !j.running && j.urgent == urgent {
				list = append(list, j)
			}
		}
	}
	return list
}

// step computes as much of all the jobs as can be done of each, step bytes at most.
func (g *group) step(own *job, list []*job) {
	n := step
	for _, j := range list {
		n = min(n, len(j.p))
		j.running = true
	}
	g.running += len(list)
	g.mu.Unlock()
	compute(list, n)
	g.mu.Lock()
	g.running -= len(list)
	for _, j := range list {
		j.running = false
		if j.p = j.p[n:]; len(j.p) > 0 {
			continue
		}
		at := slices.Index(g.jobs, j)
		g.jobs = slices.Delete(g.jobs, at, at+1)
		if j != own {
			j.rouse()
		}
	}
}

// compute adds n bytes, whole blocks, to the state of each job.
func compute(list []*job, n int) {
	if len(list) == 1 { // crypto/md5 is faster with one
		j := list[0]
		j.store()
		j.h.Write(j.p[:n]) // never fails
		j.load()
		return
	}
	var s states
	var p [width]*byte
	for i := range width {
		j := list[min(i, len(list)-1)] // a lane that is not needed does what another does
		p[i] = &j.p[0]
		for k := range s {
			s[k][i] = j.state[k]
		}
	}
	blocks(&s, &p, n/64)
	for i, j := range list {
		for k := range s {
			j.state[k] = s[k][i]
		}
		j.added += uint64(n)
	}
}
