package pebblekv

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// formatVersion is the format of Pebble's that stores have. On disk, in the
// name of a marker.
const formatVersion = pebble.FormatValueSeparation

const (
	blockSize = 8 << 10 // bytes before compression
	// outOfReach replaces Pebble's limits that stop writers; see stall.
	outOfReach = 1 << 20
)

func (s *Store) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          s.fs,
		Lock:                        s.lock,
		FormatMajorVersion:          formatVersion,
		ErrorIfExists:               s.o.Create,
		ErrorIfNotExists:            !s.o.Create,
		ReadOnly:                    s.o.ReadOnly,
		CacheSize:                   s.o.CacheBytes,
		MemTableSize:                uint64(s.o.MemTableBytes),
		MemTableStopWritesThreshold: outOfReach,
		L0StopWritesThreshold:       outOfReach,
		L0CompactionThreshold:       8, // bursts of small files are merged once, not twice
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                s.o.OpenFiles,
		MaxManifestFileSize:         s.o.manifestBytes,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      s.log,
		Cleaner:                     cleaner{},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				s.log.background.Add(1)
				s.log.log.Warn("metadata background work failed", "err", s.mapError(err))
				s.scheduler.failed()
				s.stall.changed()
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				s.corruptions.Add(1)
				s.log.log.Error("metadata is corrupt", "file", info.Path, "err", info.Details)
			},
			WALCreated: func(pebble.WALCreateInfo) { s.stall.changed() },
			FlushEnd:   func(pebble.FlushInfo) { s.stall.changed() },
			CompactionEnd: func(info pebble.CompactionInfo) {
				if info.Err == nil {
					s.scheduler.succeeded()
				}
				s.stall.changed()
			},
		},
	}
	o.TargetFileSizes[0] = 8 << 20
	for i := range o.Levels {
		o.Levels[i] = pebble.LevelOptions{
			BlockSize:      blockSize,
			IndexBlockSize: 64 << 10,
			FilterPolicy:   bloom.FilterPolicy(10),
			FilterType:     pebble.TableFilter,
			Compression:    func() *sstable.CompressionProfile { return sstable.SnappyCompression },
		}
	}
	o.Experimental.FileCacheShards = 2
	o.Experimental.CompactionScheduler = s.scheduler
	return o
}

// cleaner removes obsolete files at once, as a DeleteCleaner does, but says as
// an ArchiveCleaner does that it needs the contents of files. That keeps
// Pebble from setting logs aside to write over them, which sealedfs does not
// allow. Clean is found in the shallower of the two.
type cleaner struct {
	pebble.DeleteCleaner
	needsContents
}

type needsContents struct{ pebble.ArchiveCleaner }

// checkFormat compares the marker of Pebble's format with formatVersion.
// Without the marker Pebble would take the store for one of the oldest format.
func checkFormat(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	const prefix = "marker.format-version."
	found := false
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		_, value, _ := strings.Cut(rest, ".")
		found = found || value == formatVersion.String()
		if len(value) != len(formatVersion.String()) || value > formatVersion.String() {
			return fmt.Errorf("%w: %q", ErrFormat, name)
		}
	}
	if !found {
		return corruptf("no marker of format %s", formatVersion)
	}
	return nil
}
