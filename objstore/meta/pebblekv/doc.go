// Package pebblekv is the embedded meta.Store: Pebble on a sealedfs.FS.
//
// What it promises beyond meta.Store: everything it writes to its directory is
// encrypted and authenticated; nothing becomes durable before
// Options.BeforeDurable returned; a store that exists is never replaced by an
// empty one; damage anywhere is ErrCorrupt, from Open or from the read that
// meets it; and no failure of the disk ends the process. After a failed write to
// stable storage the store is read-only until it is opened again, unless it failed
// for want of room.
//
// # Updates
//
// One Update runs at a time, over an indexed batch. That makes them
// serialisable, phantoms included, without any conflict to detect, and
// ErrConflict never occurs. A transaction of the kind that creates a file
// takes some ten microseconds, so there is nothing to gain from letting them
// overlap.
//
// # Durability
//
// Commits go to Pebble's log without a sync and stay in memory (sealedfs holds
// up to a megabyte). Sync is one barrier record through the log, shared by all
// who wait. Sync with nothing committed since the last costs nothing.
//
// # Full disks
//
// Update asks for the free space before it commits (at most every few
// milliseconds). Below LowWater it returns ErrNoSpace, unless it deletes something.
// Then it may go on down to criticalWater, for which the reserve file is given up: that
// holds space which others (data segments) cannot take. When there is room again, the
// file is made anew.
//
// So the log meets no full disk, unless others fill it within those milliseconds; then
// the reserve is the last resort. When that is used up as well, Sync and Update try once
// more and return ErrNoSpace at once, and reads go on. What was committed before stays in
// memory, at most one Update more than what the log holds anyway, and is durable with the
// first Sync that finds room (see sealedfs). If the store is closed before that, it is
// lost, and Close says so.
//
// # Write stalls
//
// Pebble stops writers inside their commit when flushes or compactions lag,
// without a way out if they never end. So its own limits are set out of reach,
// and Update waits before it commits, where it can still give up: when ctx is
// done, when the store turned read-only, or when flushes keep failing.
package pebblekv
