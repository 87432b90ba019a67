package main

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// What a customer's key costs. Both sides are the same daemon at the same work, and
// the difference to be seen is a few in a hundred, far less than a machine's speed
// changes from one second to the next. So the sides do not have a round each: they
// take turns of a tenth of a second, and the median turn counts: a machine that stands
// still for a moment, or a flush, falls into the turn of one of them.

// customerKey is a key of SSE-C with the headers that carry it.
type customerKey struct{ headers, source []string }

func newCustomerKey() customerKey {
	var key [32]byte
	rand.Read(key[:])
	sum := md5.Sum(key[:])
	of := func(prefix string) []string {
		return []string{
			prefix + "Algorithm", "AES256", prefix + "Key", base64.StdEncoding.EncodeToString(key[:]),
			prefix + "Key-Md5", base64.StdEncoding.EncodeToString(sum[:]),
		}
	}
	return customerKey{of("X-Amz-Server-Side-Encryption-Customer-"), of("X-Amz-Copy-Source-Server-Side-Encryption-Customer-")}
}

func (s *stage) customerKeyGroup() group {
	pair := &keyPair{s: s, sides: []*keySide{
		{name: nameCoffer, prefix: "modes/key/", headers: newCustomerKey().headers},
		{name: nameSSES3, prefix: "modes/default/"},
	}}
	g := group{name: "customer's keys", rows: []row{rowPutKey, rowGetKey, rowPutKeySmall, rowGetKeySmall}}
	for _, side := range pair.sides {
		g.contestants = append(g.contestants, contestant{side.name, func(ctx context.Context, m *meter) error { return pair.run(ctx, m, side) }})
	}
	return g
}

// keyPair is the two sides. Whichever is asked first in a round measures both.
type keyPair struct {
	s     *stage
	sides []*keySide
}

type keySide struct {
	name, prefix string
	headers      []string
	values       map[string]float64 // of the round, until they are asked for

	rates []float64 // of the turns of the row under way
	there int       // small objects that were put
}

// turn is how long a side works before the other does.
const turn = 100 * time.Millisecond

func (p *keyPair) run(ctx context.Context, m *meter, side *keySide) error {
	if side.values == nil {
		if err := p.round(ctx, m); err != nil {
			return err
		}
	}
	m.values, side.values = side.values, nil
	return nil
}

func (p *keyPair) round(ctx context.Context, m *meter) (err error) {
	e := p.s.coffer.s3
	defer e.http.CloseIdleConnections()
	defer func() {
		err = errors.Join(err, os.RemoveAll(filepath.Join(p.s.coffer.mountpoint, bucket, "modes")))
	}()
	for _, side := range p.sides {
		side.values = map[string]float64{}
	}
	for _, v := range []struct {
		row  row
		work func() error
	}{
		{rowPutKey, func() error { return p.large(ctx, e, http.MethodPut) }},
		{rowGetKey, func() error { return p.large(ctx, e, http.MethodGet) }},
		{rowPutKeySmall, func() error { return p.small(ctx, e, true) }},
		{rowGetKeySmall, func() error { return p.small(ctx, e, false) }},
	} {
		later := rowGetKey // what is put is read by the row after it
		if v.row.name == rowPutKeySmall.name {
			later = rowGetKeySmall
		}
		if !m.wants(v.row, later) {
			continue
		}
		m.step = v.row.name
		if m.begin != nil {
			m.begin(v.row)
		}
		start := time.Now()
		for _, side := range p.sides {
			side.rates = nil
		}
		if err := v.work(); err != nil {
			return err
		}
		if m.end != nil {
			m.end(v.row, time.Since(start))
		}
		for _, side := range p.sides {
			if m.wants(v.row) {
				side.values[v.row.name] = median(side.rates)
			}
		}
	}
	return nil
}

// takeTurns lets the sides work, A B B A and so on, until each has had n turns.
func (p *keyPair) takeTurns(n int, work func(*keySide) (amount float64, err error)) error {
	for i := range 2 * n {
		side := p.sides[(i+1)/2%2]
		start := time.Now()
		amount, err := work(side)
		if err != nil {
			return err
		}
		if amount > 0 {
			side.rates = append(side.rates, amount/time.Since(start).Seconds())
		}
	}
	return nil
}

// large puts or gets large objects, one by each client in a turn.
func (p *keyPair) large(ctx context.Context, e *endpoint, method string) error {
	size := p.s.c.object
	var body []byte
	if method == http.MethodPut {
		body = noiseOf(size)
	}
	return p.takeTurns(objectsEach, func(side *keySide) (float64, error) {
		err := parallel(objectClients, func(i int) error {
			_, err := e.do(ctx, method, bucket, side.prefix+p.s.objectKey(i), body, side.headers...)
			return err
		})
		return mib(size) * objectClients, err
	})
}

// small puts 4 KiB objects from eight clients, or gets those that were put.
func (p *keyPair) small(ctx context.Context, e *endpoint, put bool) error {
	batches := map[*keySide]*signed{}
	for _, side := range p.sides {
		if put {
			side.there = 0
		}
		var err error
		if batches[side], err = p.s.sign(ctx, e, side.prefix+"small/", side.there, side.headers); err != nil {
			return err
		}
	}
	err := p.takeTurns(max(int(p.s.c.duration/turn), 1), func(side *keySide) (float64, error) {
		n, err := batches[side].send(turn)
		return float64(n), err
	})
	for side, batch := range batches {
		side.there = max(batch.sent(), 1)
	}
	return err
}
