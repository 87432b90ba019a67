package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// groups are all rows with who takes part in them, in the order of the issue's
// table.
func (s *stage) groups() []group {
	return []group{s.largeGroup(), s.smallGroup(), s.treeGroup(), s.randomWriteGroup(), s.syncGroup(), s.largeObjectGroup(), s.smallObjectGroup(),
		s.customerKeyGroup(), s.listGroup(), s.copyGroup(), s.serverGroup()}
}

// each makes contestants of the named peers, where they are there.
func (s *stage) each(f func(ctx context.Context, p *peer, m *meter) error, names ...string) []contestant {
	var list []contestant
	for _, p := range s.peers {
		if slices.Contains(names, p.name) {
			list = append(list, contestant{p.name, func(ctx context.Context, m *meter) error {
				if p.ready != nil {
					if err := p.ready(ctx); err != nil {
						return err
					}
				}
				return f(ctx, p, m)
			}})
		}
	}
	return list
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// randomSize is how much of a file the random rows use, so that its pages are
// not all touched.
func (s *stage) randomSize() int64 { return max(s.c.size/4/block, 1) * block }

func (s *stage) largeGroup() group {
	g := group{name: "large file", rows: []row{rowSeqWrite, rowSeqCold, rowSeqWarm, rowRandWarm, rowRandDirect, rowRandCold}}
	g.contestants = s.each(s.large, nameCoffer, nameNative, nameGocryptfs, nameS3fs, nameNull, nameNullDirect)
	g.contestants = append(g.contestants, contestant{nameDisk, s.largeDisk})
	return g
}

func (s *stage) large(ctx context.Context, p *peer, m *meter) (err error) {
	size := max(s.c.size/p.scale/block, 1) * block
	path := filepath.Join(p.dir, "large")
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	m.step = rowSeqWrite.name
	if err := m.measure(rowSeqWrite, mib(size), func() error { return writeLarge(ctx, path, size, 0) }); err != nil {
		return err
	}
	read := func() error { return readLarge(ctx, path, size, !p.empty) }
	if p.cold != nil && m.wants(rowSeqCold) {
		m.step = rowSeqCold.name
		err := p.cold(ctx)
		if err == nil {
			err = m.measure(rowSeqCold, mib(size), read)
		}
		if err != nil && !errors.Is(err, errNotRoot) {
			return err
		}
	}
	if m.wants(rowSeqWarm, rowRandWarm, rowRandDirect) && !p.empty {
		m.step = rowSeqWarm.name
		if err := read(); err != nil {
			return err
		}
	}
	if m.wants(rowSeqWarm) && !p.empty {
		if err := m.measure(rowSeqWarm, mib(size), read); err != nil {
			return err
		}
	}
	if p.scale > 1 {
		return nil
	}
	n := s.c.randoms
	if m.wants(rowRandWarm) && !p.empty {
		if err := m.measure(rowRandWarm, float64(n), func() error { return readRandom(ctx, path, size, n, page, 0, true) }); err != nil {
			return err
		}
	}
	if m.wants(rowRandDirect) && (p.name == nameCoffer || p.name == nameGocryptfs || p.name == nameNullDirect) {
		if err := m.measure(rowRandDirect, float64(n), func() error { return readRandom(ctx, path, size, n, page, syscall.O_DIRECT, !p.empty) }); err != nil {
			return err
		}
	}
	if m.wants(rowRandCold) && p.cold != nil {
		m.step = rowRandCold.name
		if err := p.cold(ctx); err != nil {
			return err
		}
		n := s.coldReads()
		return m.measure(rowRandCold, float64(n), func() error { return readRandom(ctx, path, size, n, page, 0, !p.empty) })
	}
	return nil
}

// coldReads is few enough that hardly a package is read twice.
func (s *stage) coldReads() int { return max(min(s.c.randoms/4, int(s.c.size>>18)), 16) }

// largeDisk measures the disk with O_DIRECT. For the random row it reads 64
// KiB: the package that a cold read of 4 KiB has to fetch.
func (s *stage) largeDisk(ctx context.Context, m *meter) (err error) {
	path := filepath.Join(s.work, "native", "large-direct")
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	size := s.c.size
	if err := m.measure(rowSeqWrite, mib(size), func() error { return writeLarge(ctx, path, size, syscall.O_DIRECT) }); err != nil {
		return err
	}
	if m.wants(rowSeqCold) {
		if err := m.measure(rowSeqCold, mib(size), func() error { return readLargeDirect(path, size) }); err != nil {
			return err
		}
	}
	if m.wants(rowRandCold) {
		const packageSize = 64 << 10
		n := s.coldReads()
		return m.measure(rowRandCold, float64(n), func() error { return readRandom(ctx, path, size, n, packageSize, syscall.O_DIRECT, true) })
	}
	return nil
}

func (s *stage) smallGroup() group {
	return group{
		name: "small files", rows: []row{rowCreate, rowStat, rowRemove},
		contestants: s.each(s.small, nameCoffer, nameNative, nameGocryptfs, nameS3fs, nameNull),
	}
}

func (s *stage) small(ctx context.Context, p *peer, m *meter) error {
	n := max(s.c.files/int(p.scale), 1)
	root := filepath.Join(p.dir, "small")
	if err := m.measure(rowCreate, float64(n), func() error { return createSmall(ctx, root, n) }); err != nil {
		os.RemoveAll(root)
		return err
	}
	if m.wants(rowStat) {
		m.step = rowStat.name
		stat := func() error { return statSmall(ctx, root, n) }
		if err := errors.Join(stat(), s.rest(ctx)); err != nil {
			return errors.Join(err, os.RemoveAll(root))
		}
		if err := m.measure(rowStat, float64(n), stat); err != nil {
			return errors.Join(err, os.RemoveAll(root))
		}
	}
	if err := s.rest(ctx); err != nil {
		return errors.Join(err, os.RemoveAll(root))
	}
	return m.measure(rowRemove, float64(n), func() error {
		_, err := command(ctx, nil, "rm", "-rf", root)
		return err
	})
}

func (s *stage) treeGroup() group {
	return group{
		name: "tree", rows: []row{rowCopy, rowRemoveTree},
		contestants: s.each(s.copyTree, nameCoffer, nameNative, nameGocryptfs, nameNull),
	}
}

func (s *stage) copyTree(ctx context.Context, p *peer, m *meter) error {
	m.step = rowCopy.name
	n, err := countTree(ctx, s.c.tree)
	if err != nil {
		return err
	}
	root := filepath.Join(p.dir, "tree")
	if err := m.measure(rowCopy, float64(n), func() error {
		_, err := command(ctx, nil, "cp", "-r", s.c.tree, root)
		return err
	}); err != nil {
		return errors.Join(err, os.RemoveAll(root))
	}
	if err := s.rest(ctx); err != nil {
		return errors.Join(err, os.RemoveAll(root))
	}
	return m.measure(rowRemoveTree, float64(n), func() error {
		_, err := command(ctx, nil, "rm", "-rf", root)
		return err
	})
}

func (s *stage) randomWriteGroup() group {
	return group{
		name: "random write", rows: []row{rowRandWrite},
		contestants: s.each(s.randomWrite, nameCoffer, nameNative, nameGocryptfs, nameNull),
	}
}

func (s *stage) randomWrite(ctx context.Context, p *peer, m *meter) (err error) {
	m.step = rowRandWrite.name
	path := filepath.Join(p.dir, "random")
	size := s.randomSize()
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	if err := writeLarge(ctx, path, size, 0); err != nil {
		return err
	}
	n := s.c.randoms
	return m.measure(rowRandWrite, float64(n), func() error { return writeRandom(ctx, path, size, n, 1) })
}

// syncSize is the size of a file of the synced writes.
const syncSize = 4 << 20

func (s *stage) syncGroup() group {
	rows := []row{rowAppend1, rowAppend8, rowSync1, rowSync8}
	g := group{name: "synced writes", rows: rows}
	g.contestants = s.each(s.synced, nameCoffer, nameNative, nameGocryptfs, nameNull)
	g.contestants = append(g.contestants, contestant{nameSync, func(ctx context.Context, m *meter) error {
		return s.appendSync(ctx, m, rows...)
	}})
	return g
}

func (s *stage) synced(ctx context.Context, p *peer, m *meter) error {
	for _, r := range []struct {
		row
		jobs int
		size int64
	}{{rowAppend1, 1, 0}, {rowAppend8, 8, 0}, {rowSync1, 1, syncSize}, {rowSync8, 8, syncSize}} {
		if !m.wants(r.row) {
			continue
		}
		m.step = r.name
		if err := s.syncedRow(ctx, p, m, r.row, r.jobs, r.size); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *stage) syncedRow(ctx context.Context, p *peer, m *meter, r row, jobs int, size int64) (err error) {
	var paths []string
	defer func() {
		for _, path := range paths {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	for i := range jobs {
		path := filepath.Join(p.dir, "synced-"+strconv.Itoa(i))
		if err := writeLarge(ctx, path, size, 0); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	return m.count(r, func() (int, error) { return writeSynced(ctx, paths, size, s.c.duration) })
}

// appendSync is the yardstick of everything durable, for all rows that use it.
func (s *stage) appendSync(ctx context.Context, m *meter, rows ...row) error {
	for i, r := range rows {
		if !m.wants(r) {
			continue
		}
		path := filepath.Join(s.work, "native", "append-"+strconv.Itoa(i))
		if err := m.count(r, func() (int, error) { return appendSynced(ctx, path, s.c.duration) }); err != nil {
			return err
		}
	}
	return nil
}
