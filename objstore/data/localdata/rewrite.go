package localdata

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// After a sync that failed the kernel can call pages clean that it never wrote, so that
// another sync, which succeeds, says nothing of them. Where the disk broke, that is the
// end (Store.fail). Where it was full, it works as it should: what was written since the
// last sync that succeeded is read back, and what is still as it was written is written
// once more, to the same place, before the next sync. That replaces whatever was lost.
// What is not as it was written was dropped, from the disk and from the page cache, and
// that is the end, too.
//
// A checksum of each transfer is all that is kept for it. The bytes themselves would be
// as many as a program writes before it asks for a sync. Nothing that a sync has covered
// is written again: of full disks only the blocks are lost that were new.

// transfer is a write to a segment, of which no sync has said that it is durable.
type transfer struct {
	start int64 // offset in the segment
	n     int   // bytes, at most stageBytes
	sum   uint32
}

func transferOf(b *stage) transfer {
	return transfer{b.start, b.n, crc32.Checksum(b.mem[:b.n], castagnoli)}
}

// coverLocked forgets what stands before end, which is durable.
func (g *segment) coverLocked(end int64) {
	g.written = slices.DeleteFunc(g.written, func(p transfer) bool { return p.start < end })
}

var errDropped = errors.New("a sync without room has lost what was written")

// rewrite writes once more what a sync of g that failed may have lost.
//
// It is called by the barrier after that one. All that was written before the sync failed
// was in stages that are complete, and for those a barrier waits: it is in g.written.
func (s *Store) rewrite(g *segment) error {
	s.mu.Lock()
	parts := slices.Clone(g.written)
	s.mu.Unlock()
	mem := alignedBytes(stageBytes)
	for _, p := range parts {
		buf := mem[:p.n]
		if n, err := g.h.file.ReadAt(buf, p.start); n < p.n {
			s.fail(fmt.Sprintf("read segment %v at %d back", g.id, p.start), errors.Join(errDropped, err))
			return s.failure()
		}
		if crc32.Checksum(buf, castagnoli) != p.sum {
			s.fail(fmt.Sprintf("read segment %v at %d back", g.id, p.start), errDropped)
			return s.failure()
		}
		_, err := g.h.file.WriteAt(buf, p.start)
		if isNoSpace(err) {
			return fmt.Errorf("%w: %w", errSyncFull, err)
		}
		if err != nil {
			s.fail(fmt.Sprintf("write segment %v at %d", g.id, p.start), err)
			return s.failure()
		}
	}
	return nil
}
