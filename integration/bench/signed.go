package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// signedRate is how many small requests for each second of a row are signed before
// the clock runs. A row whose requests are all sent ends early.
const signedRate = 8000

// signed are requests for objects of 4 KiB which were signed before the clock runs: the
// clients share the processors with the server, and what a signature costs them, more
// with more headers, is none of its.
type signed struct {
	e    *endpoint
	reqs []*http.Request
	next atomic.Int64
}

// sign signs as many requests as a row of the endpoint can take: PUTs of new objects
// below prefix, or, when there are some, GETs of the first of them over and over.
func (s *stage) sign(ctx context.Context, e *endpoint, prefix string, there int, headers []string) (*signed, error) {
	b := &signed{e: e, reqs: make([]*http.Request, int(s.c.duration.Seconds()*signedRate)+1)}
	for i := range b.reqs {
		method, k, body := http.MethodPut, i, noise[i%1024*page:][:page]
		if there > 0 {
			method, k, body = http.MethodGet, i%there, nil
		}
		var err error
		if b.reqs[i], err = e.sign(ctx, method, bucket, fmt.Sprintf("%s%d/%d", prefix, k/perDir, k), body, headers...); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// send sends requests from eight clients for a while, and returns how many.
func (b *signed) send(d time.Duration) (int, error) {
	before := b.sent()
	end := time.Now().Add(d)
	err := parallel(smallClients, func(int) error {
		for time.Now().Before(end) {
			i := int(b.next.Add(1)) - 1
			if i >= len(b.reqs) {
				return nil
			}
			if _, err := b.e.send(b.reqs[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return b.sent() - before, err
}

func (b *signed) sent() int { return min(int(b.next.Load()), len(b.reqs)) }
