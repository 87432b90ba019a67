// Package fs is coffer's FUSE door: it gives a store, or one bucket of it, to
// the kernel as a file system. It implements fuse.RawFileSystem on top of
// engine.Store and keeps no names and no attributes of its own, but for some of inodes
// that are gone (known.go) and of recent renames (moved.go).
//
// # What it promises
//
//   - The node id that the kernel knows is the inode id of the store, so that
//     a name in the kernel's cache costs the daemon three bytes (known.go). Node 1 stands
//     for the root of the mount, whatever inode that is. Inode ids are never
//     reused: the generation is always 1.
//   - When close or fsync returns, the S3 door shows what was written; fsync
//     also makes it durable.
//   - What another door or mount commits is visible in this mount when
//     engine.Store.WaitWatchers returns (notify.go).
//   - Every handle of a file can read, whatever it was opened for, because the
//     kernel completes pages by reading, and a WRITE of its cache may arrive on
//     any handle of the inode. A handle stands for its inode, nothing more.
//
// # Caches of the kernel
//
// Entries (absent ones too) and attributes are handed out for an hour, pages
// are kept over open (FOPEN_KEEP_CACHE, explicit invalidation): the store
// tells us of every change that did not come from this kernel, and we tell the
// kernel. Changes with the Origin of this mount are not repeated to it: it
// made them. An answer that was computed while a foreign change went by is
// given with a lifetime of zero, since the notice may have overtaken it.
//
// A kernel appends at the size that it was told last. Where other mounts can show
// the file (no Options.Writeback) O_APPEND is therefore served at the end that the
// file has. BUG(append): a kernel sends one write(2) as two requests where it begins
// within a page that it does not have, and another mount's append can come in between.
// Past its cache (FOPEN_DIRECT_IO) it would be one, but then a reader in the same mount
// is told the new size while it has the old last page, and sees zeros.
//
// BUG(tail): a reader in one mount of what another one is writing can see zeros in the
// place of the last bytes until the writer's next commit: the size that its kernel was
// told is newer than the page that it has.
//
// With Options.Writeback the kernel owns size and times of regular files and
// writes pages back later; that is right only while no other mount of the
// daemon shows the same files. S3 never changes a content in place, so it
// cannot disagree with such a kernel. It does disagree after it wrote back what the
// store then lost, on a full disk; amend.go puts that right.
//
// # Handles
//
// A file handle is a serial number, never reused in a mount. A directory
// offset is (ordinal of the entry in this reading << 31 | hash of its name):
// see dir.go.
//
// # Signals
//
// Requests do not end early because their caller got a signal. Programs do not
// expect EINTR from files: a page fault would become SIGBUS, a close or an
// fsync would be taken for a lost write, and runtimes that use signals to
// preempt would see it all the time. What a request waits for is local, or has
// a time-out of its own in its driver.
//
// # Locks
//
// advisory locks (flock, fcntl) are the kernel's own: they hold among the
// processes of one mount. BUG(locks): two mounts of the same bucket do not see
// each other's locks.
//
// # Order of locks
//
// The lock of a directory handle is taken before any of the engine's. All others
// (of a shard of a handle table, of known, losses, amendments, lingering and moves) are
// for a look at a table in memory. The store takes some of them with its own locks held,
// when it asks or tells the door about an inode (engine.Keeper, engine.Store.WatchLost):
// so the door calls the store with none of them held, but for a Keeper's hold. None is
// held while a notice is sent to the kernel.
//
// A handler never waits for notices that need more than the locks of a file's pages:
// the kernel may hold the directory's lock on behalf of the handler's caller, and a
// notice about an entry needs it.
package fs
