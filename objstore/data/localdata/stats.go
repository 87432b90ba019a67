package localdata

import "sync/atomic"

// Stats counts what a store did since it was opened.
type Stats struct {
	Appends       uint64
	AppendedBytes uint64
	Writes        uint64 // transfers to segment files
	WrittenBytes  uint64 // with headers and padding
	SyncCalls     uint64 // calls of Sync
	Syncs         uint64 // barriers that reached the disk, one per segment
	Retries       uint64 // barriers that began with bytes left by a full disk
	Reads         uint64
	ReadBytes     uint64
}

type counters struct {
	appends, appendedBytes, writes, writtenBytes atomic.Uint64
	syncCalls, syncs, retries                    atomic.Uint64
	reads, readBytes                             atomic.Uint64
}

// Stats returns the counters. They are read one by one.
func (s *Store) Stats() Stats {
	return Stats{
		Appends:       s.stats.appends.Load(),
		AppendedBytes: s.stats.appendedBytes.Load(),
		Writes:        s.stats.writes.Load(),
		WrittenBytes:  s.stats.writtenBytes.Load(),
		SyncCalls:     s.stats.syncCalls.Load(),
		Syncs:         s.stats.syncs.Load(),
		Retries:       s.stats.retries.Load(),
		Reads:         s.stats.reads.Load(),
		ReadBytes:     s.stats.readBytes.Load(),
	}
}
