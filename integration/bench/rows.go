package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// The rows and what they are to reach.
var (
	rowSeqWrite = row{"sequential write, fsync", "MiB/s", []target{
		atLeast(2, nameGocryptfs), aim(0.9, nameNull, nameDisk)}}
	rowSeqCold = row{"sequential read, cold", "MiB/s", []target{
		atLeast(1.2, nameGocryptfs), aim(0.9, nameDisk)}}
	rowSeqWarm = row{"sequential read, warm", "MiB/s", []target{
		atLeast(1, nameGocryptfs), aim(0.9, nameNative)}}
	rowRandCold = row{"4 KiB random read, cold", "1/s", []target{
		atLeast(0.5, nameNative), aim(0.9, nameDisk)}}
	rowRandWarm = row{"4 KiB random read, warm", "1/s", []target{
		atLeast(1, nameGocryptfs), aim(0.9, nameNative)}}
	rowRandDirect = row{"4 KiB random read, warm, O_DIRECT", "1/s", []target{
		atLeast(1, nameGocryptfs), aim(0.9, nameNullDirect)}}

	rowStat = row{"stat, warm", "1/s", []target{
		atLeast(1, nameGocryptfs), aim(0.9, nameNative)}}
	rowCreate = row{"create files of 4 KiB", "1/s", []target{
		atLeast(3, nameGocryptfs), aim(0.75, nameNull)}}
	rowRemove = row{"rm -rf of them", "1/s", []target{
		atLeast(2, nameGocryptfs), aim(3, nameGocryptfs), aim(1, nameNative)}}
	rowCopy = row{"cp -r of a source tree", "1/s", []target{
		atLeast(3, nameGocryptfs), aim(0.75, nameNull)}}
	rowRemoveTree = row{"rm -rf of the tree", "1/s", []target{
		atLeast(2, nameGocryptfs), aim(3, nameGocryptfs), aim(1, nameNative)}}

	rowRandWrite = row{"4 KiB random write, fsync", "1/s", []target{
		atLeast(2, nameGocryptfs), aim(0.9, nameNull)}}
	// With append, files grow as a log does; with write, blocks that exist are
	// written again, for which a file system need not touch its journal.
	rowAppend1 = row{"4 KiB append + fdatasync, 1 job", "1/s", []target{
		atLeast(1, nameGocryptfs), aim(0.9, nameSync)}}
	rowAppend8 = row{"4 KiB append + fdatasync, 8 jobs", "1/s", []target{
		atLeast(1, nameGocryptfs), aim(1, nameSync)}}
	rowSync1 = row{"4 KiB write + fdatasync, 1 job", "1/s", []target{
		atLeast(1, nameGocryptfs), aim(0.9, nameSync)}}
	rowSync8 = row{"4 KiB write + fdatasync, 8 jobs", "1/s", []target{
		atLeast(1, nameGocryptfs), aim(1, nameSync)}}

	rowPut = row{"PUT large, 4 connections", "MiB/s", []target{
		atLeast(0.5, nameTLS), aim(0.8, nameTLS)}}
	rowPutOpaque = row{"PUT large, opaque ETag", "MiB/s", []target{
		atLeast(0.5, nameTLS), aim(0.8, nameTLS)}}
	rowGet = row{"GET large, 4 connections", "MiB/s", []target{
		atLeast(0.5, nameTLS), aim(0.8, nameTLS)}}
	rowPutSDK = row{"PUT large, SDK defaults", "MiB/s", []target{
		atLeast(0.5, nameTLS), aim(0.8, nameTLS)}}
	rowGetSDK = row{"GET large, SDK defaults", "MiB/s", []target{
		atLeast(0.5, nameTLS), aim(0.8, nameTLS)}}
	rowPutSmall = row{"PUT of 4 KiB, 8 clients, durable", "1/s", []target{
		atLeast(0.5, nameSync), aim(1, nameSync)}}

	rowPutKey = row{"PUT large, customer's key", "MiB/s", []target{atLeast(0.95, nameSSES3)}}
	rowGetKey = row{"GET large, customer's key", "MiB/s", []target{atLeast(0.95, nameSSES3)}}

	rowPutKeySmall = row{"PUT of 4 KiB, customer's key", "1/s", []target{atLeast(0.95, nameSSES3)}}
	rowGetKeySmall = row{"GET of 4 KiB, customer's key", "1/s", []target{atLeast(0.95, nameSSES3)}}

	rowList = row{"ListObjectsV2, pages at the end", "1/s", []target{atLeast(0.9, nameListStart)}}
	// Whatever the size is.
	rowCopyObject = row{"CopyObject across keys", "1/s", []target{atLeast(0.5, nameCopySmall)}}

	rowServerPut = row{"PUT of 4 KiB, 8 clients", "1/s", []target{atLeast(1, nameMinIO), aim(1, nameVersity)}}
	rowServerGet = row{"GET of 4 KiB, 8 clients", "1/s", []target{atLeast(1, nameMinIO), aim(1, nameVersity)}}
)

// order is that of the columns.
var order = []string{nameCoffer, nameNative, nameGocryptfs, nameS3fs, nameNull, nameNullDirect, nameDisk, nameSync, nameTLS,
	nameSSES3, nameListStart, nameCopySmall, nameVersity, nameMinIO}

// group is a number of rows that are measured on the same files, one
// contestant after the other.
type group struct {
	name        string
	rows        []row
	contestants []contestant
}

// contestant measures one of the file systems or yardsticks once for all rows
// of its group that are wanted.
type contestant struct {
	name string
	run  func(ctx context.Context, m *meter) error
}

// meter takes the figures of one contestant in one round.
type meter struct {
	wanted map[string]bool
	values map[string]float64
	step   string // the row under way, for errors
	// begin and end, if set, are told of each measurement.
	begin func(row)
	end   func(row, time.Duration)
}

func (m *meter) wants(rows ...row) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return m.wanted[r.name] })
}

// measure times f, which does amount of the row's units.
func (m *meter) measure(r row, amount float64, f func() error) error {
	return m.timed(r, func() (float64, error) { return amount, f() })
}

// count times f, which says how much it did.
func (m *meter) count(r row, f func() (int, error)) error {
	return m.timed(r, func() (float64, error) {
		n, err := f()
		return float64(n), err
	})
}

func (m *meter) timed(r row, f func() (float64, error)) error {
	m.step = r.name
	if m.begin != nil {
		m.begin(r)
	}
	start := time.Now()
	amount, err := f()
	took := time.Since(start)
	if err != nil {
		return err
	}
	if m.end != nil {
		m.end(r, took)
	}
	m.values[r.name] = amount / took.Seconds()
	return nil
}

// measure runs everything.
func measure(ctx context.Context, c *config, stderr io.Writer) (rep *report, err error) {
	log := func(format string, args ...any) { fmt.Fprintf(stderr, "bench: "+format+"\n", args...) }
	rep = &report{c: c, order: slices.Clone(order)}
	dir := c.dir
	if dir == "" {
		dir = os.TempDir()
	}
	rep.machine = describe(ctx, dir)
	s, err := setUp(ctx, c, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := s.end(); e != nil {
			err = errors.Join(err, fmt.Errorf("cleaning up: %w", e))
		}
	}()
	for _, g := range s.groups() {
		results := s.runGroup(ctx, g)
		rep.results = append(rep.results, results...)
		if ctx.Err() != nil {
			break
		}
	}
	rep.machine.LoadAfter = loadAverage()
	rep.order = slices.DeleteFunc(rep.order, func(name string) bool {
		return !slices.ContainsFunc(rep.results, func(r *result) bool {
			return r.errs[name] != "" || !math.IsNaN(median(r.samples[name]))
		})
	})
	if len(rep.results) == 0 {
		return nil, errors.New("no row was measured")
	}
	return rep, ctx.Err()
}

// runGroup measures all rounds of a group.
func (s *stage) runGroup(ctx context.Context, g group) []*result {
	wanted := map[string]bool{}
	var results []*result
	for _, r := range g.rows {
		if s.c.only.MatchString(r.name) {
			wanted[r.name] = true
			results = append(results, &result{row: r, samples: map[string][]float64{}, errs: map[string]string{}})
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	for round := range s.c.repeat {
		for i := range g.contestants {
			// Another one is first in each round.
			c := g.contestants[(i+round)%len(g.contestants)]
			m := &meter{wanted: wanted, values: map[string]float64{}}
			err := s.runContestant(ctx, c, m, fmt.Sprintf("%s, round %d", g.name, round+1))
			for _, x := range results {
				x.addSample(c.name, m)
			}
			if ctx.Err() != nil {
				return results
			}
			if err == nil {
				continue
			}
			s.log("%s, %s: %s: %v", g.name, c.name, m.step, err)
			if errors.Is(err, errNotRoot) {
				continue
			}
			for _, x := range results {
				x.addError(c.name, m, err)
			}
		}
	}
	return results
}

// runContestant measures one contestant in one round, after a rest.
func (s *stage) runContestant(ctx context.Context, c contestant, m *meter, round string) error {
	if c.name == nameCoffer && s.c.profile != "" {
		m.begin, m.end = s.coffer.profileRow, s.coffer.tookRow
	}
	if err := s.rest(ctx); err != nil {
		return err
	}
	began := time.Now()
	debug.FreeOSMemory() // ours, so that it does not fall into the measure
	err := s.bounded(ctx, func(ctx context.Context) error { return c.run(ctx, m) })
	s.log("%s, %s: %.1f s %s", round, c.name, time.Since(began).Seconds(), m)
	return err
}

// addSample adds what a contestant reached in a round: NaN if nothing.
func (x *result) addSample(contestant string, m *meter) {
	v, ok := m.values[x.row.name]
	if !ok {
		v = math.NaN()
	}
	x.samples[contestant] = append(x.samples[contestant], v)
}

// addError notes why a contestant has no value, if this row is the one that failed.
func (x *result) addError(contestant string, m *meter, err error) {
	if _, ok := m.values[x.row.name]; !ok && (m.step == x.row.name || m.step == "") {
		x.errs[contestant] = err.Error()
	}
}

// Limits on a contestant's round: a file system that hangs holds the one who
// calls it, whatever becomes of ctx.
const (
	maxRound = 10 * time.Minute
	grace    = 5 * time.Second
)

// bounded calls f and, when f does not come back in time or within grace of an
// interrupt, ends all file systems by force, so that it does.
func (s *stage) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxRound)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		s.abort()
	}
	return <-done
}

func (m *meter) String() string {
	var parts []string
	for name, v := range m.values {
		parts = append(parts, name+" "+number(v))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}
