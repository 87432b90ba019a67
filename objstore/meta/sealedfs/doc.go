// Package sealedfs is an encrypting, authenticating vfs.FS for one Pebble
// store. Everything Pebble writes is sealed before it reaches the file system
// below; nothing that fails to authenticate is ever returned as data or as the
// end of a file.
//
// # What it promises
//
// No byte of a key or value is readable below. A flipped, moved, missing or
// foreign byte, and a removed, renamed or swapped file, is an error that
// matches ErrCorrupt (and so meta.ErrCorrupt and pebble.ErrCorruption), either
// from Check or from the read that meets it. What is not detected is listed at
// the end.
//
// Nothing that Pebble wrote to a log is handed down before Options.BeforeDurable
// returned nil; nor is any other file synced, nor a directory.
//
// On a full disk what has no room waits in memory, and Pebble goes on; see below.
//
// A failing disk never ends the process. Pebble panics with a mutex already
// unlocked when closing or creating a log fails, and when a directory cannot be
// synced; both end the process whatever recovers. It panics too when the
// end of its Open fails, where it writes its options. So the FS never reports
// such a failure to Pebble. It freezes instead: from then on nothing below is
// changed, logs and manifests are written into nothing, new tables wait for
// Shutdown, reads go on. The owner asks Retry before it reports anything as
// durable, and answers read-only from then on.
//
// # What the caller must do
//
// One FS per store and per opening of it. Call Check before pebble.Open and Defer
// after it, ask Retry after every barrier, call Release before DB.Close and Shutdown
// after. Give Pebble a Cleaner with NeedsFileContents, so that it does not keep logs
// for recycling. BeforeDurable runs while Pebble's commit lock can be held: it must
// not call back into the store or wait for anyone who does.
//
// # Files
//
// All integers are big endian. Every file begins with a header of HeaderSize
// (136) bytes:
//
//	off len
//	  0   8  magic "coffermd"
//	  8   2  format version, 1; any other is refused
//	 10   1  kind: 1 log, 2 manifest, 3 table, 4 blob, 5 other, 6 shutdown
//	 11   1  zero
//	 12   4  payload of a page in bytes; zero for logs and manifests
//	 16   4  id of the store key
//	 20   4  zero
//	 24   8  number of the file, the one in its name
//	 32  32  random salt
//	 64   8  predecessor's number (logs; else zero)
//	 72  16  predecessor's final tag (logs; else zero)
//	 88   8  anchor: all logs up to this number are obsolete (logs; else zero)
//	 96   8  anchor: number of the manifest in force
//	104   8  anchor: length up to which that manifest is synced
//	112   8  anchor: first 8 bytes of the tag of its last frame there
//	120  16  tag: GCM of nothing, under counter 0, over the 120 bytes before
//
// The key is HKDF of the store key, the salt, kind and number (see
// crypto.PageCipher). Kind and number must fit the file's name, so files that
// were swapped or renamed do not open.
//
// # Tables
//
// Tables, blobs and Pebble's options ("other") are written once, front to
// back, and read anywhere. After the header come pages of PagePayload (4096)
// bytes of plaintext, each followed by its 16-byte tag; only the last page may
// be shorter, and it alone is sealed as the last (additional data 1, for the
// others 0). Page i is sealed under counter i+1. An empty file has one empty
// page. The number of pages and the size of the last so follow from the length
// of the file, and opening it verifies the last page: a file that was cut or
// extended anywhere does not open. The first Sync ends a table; it takes no
// Write after that.
//
// # Logs and manifests
//
// They are sequences of frames, never rewritten, and a file is never opened again
// for writing:
//
//	off len
//	  0   4  length of the ciphertext without its tag, at most MaxFrame
//	  4   1  type: 1 data, 2 mark, 3 anchor, 4 final
//	  5   3  zero
//	  8   8  index: 1 for the first frame, then counting up; also the counter
//	 16   8  length of the file that was known to be synced
//	 24   n  ciphertext, then the tag (16 bytes); the 24 bytes before are
//	         additional data
//
// Data frames hold what Pebble wrote. Up to Options.HoldBytes of it stay in
// memory until Pebble syncs; as frames, some four times as much until they are synced.
//
// Zeros may stand behind the last frame of a log: they are written ahead of it
// (logWriter.writeAhead), and mean nothing.
//
// When reading meets a frame that does not open, at offset X, it looks at all
// that follows for a frame that does, with a higher index, and that says more
// than X was synced: then X was durable once, and this is corruption. If there
// is none, the log ended before X when the machine stopped, and X is the end.
// Complete frames may well stand beyond X (sectors reach the disk in any order): they
// were never acknowledged, and history is the part before X. A mark is a frame without
// content, written after each sync and not itself synced, so that a process that was
// killed leaves evidence for its last sync too.
//
// # The chain of logs
//
// Pebble replays the logs it finds, and does not notice that one is gone. So the header
// of each log names its predecessor and the tag of the predecessor's last synced data or
// anchor frame. A log that was closed ends in a final frame with the number of its
// successor, written once the successor's header is durable and before anything is
// written to it: so a closed log also proves that its successor existed. From Pebble's
// Close to that moment the file stays open here. A crash in between can leave a log that
// is a damaged header and nothing more: it counts as absent.
//
// When several memtables wait for their flush several logs are live. Which of them are
// obsolete is known to Pebble's manifest, whose content this package does not parse, and
// whose end can be cut as a log's can. So before any log, table, blob or manifest is
// removed, an anchor frame is written to the current log and synced: it holds the highest
// log number that Pebble ever asked to remove, the number of the manifest in force, and
// how far that is synced. Removals wait for it, and for a current log where there is
// none. Check follows the chain from the newest log back to what its anchor calls
// obsolete: every log in between must be there, whole, and no other; the manifest must
// reach at least as far as the anchor says. A cut of the manifest beyond that point can
// then only undo work whose inputs still exist.
//
// Shutdown writes a file of kind shutdown with the length and last tag of the newest log,
// by rename, and the next opening removes it when it begins a log: after an orderly stop
// not even a cut at the end of the newest log goes unnoticed, and the manifest in force
// has no byte behind the end that the log knows. (Manifests of older versions end in a
// final frame, which can be cut away as a whole.)
//
// # A full disk
//
// Pebble cannot be told that a log, a manifest, a marker or a directory found no room
// (ENOSPC, EDQUOT). So what found none waits in memory, and Pebble goes on as if it were
// done. Everything that Pebble asks for after that waits behind it, in order, removals
// too. The files below are therefore always in a state that they would also have passed
// through on a disk with room, and a crash leaves nothing that is not known already.
//
// Nobody sleeps while something waits: Retry tries again, in order, and whoever wants to
// call something durable, or to commit more, calls it first. Tables are not part of the
// order. They fail, Pebble writes them anew, and a table that no manifest has named is
// removed at once. During pebble.Open, before Defer, a lack of room is a failure as any
// other, once the reserve (Options.NoSpace) is used up. If a file cannot be opened because
// too many are open (EMFILE, ENFILE) nothing has happened either, and that waits as well.
//
// After a sync that failed, the kernel may call pages clean that it never wrote, and a
// second sync would vouch for nothing. With EIO that is the end. With ENOSPC all bytes
// since the last sync that succeeded are written again, from memory, and then synced.
// That replaces whatever the failed sync can have lost. Nothing older is at stake, since
// the disk works, and has only refused to allocate new blocks:
//
//   - tmpfs finds out in the write whether there is a page; its fsync does nothing.
//   - ext4 and XFS reserve room in the write (delayed allocation), so that it is the
//     write that fails. Where they miscounted, or a thin volume below has no room,
//     writeback drops what it could not place, reports ENOSPC once, to the fsync, and the
//     blocks from before stay as they are. Where it is the journal that cannot be written,
//     they stop with EIO or EROFS, which is final here too.
//   - btrfs reserves room in the write, for its trees too. It changes no block in place,
//     so what was synced stays. An fsync without room for the trees either changed nothing
//     and can be repeated, or ended the transaction: then EROFS follows.
//   - NFS and FUSE may find out only in the fsync that there is no room (or quota left),
//     and drop the pages.
//   - overlayfs passes on what the file system of its upper directory says.
//
// The sync of a directory is simply made again: no file system drops names that it
// could not write and goes on. A log that had no room for its header, or its name, is
// begun from the start, under a new salt.
//
// # Other names
//
// Pebble's markers are empty files whose names carry a manifest's number and a format
// version. They pass through and must stay empty; Check compares the first with the
// anchor. LOCK passes through. Any other name is refused, so nothing unsealed can be
// written by oversight. A file whose number is far beyond that of the newest log is none
// of the store's, and Check says so: Pebble would count on from it.
//
// # What is not detected
//
// Replay of the whole store to an older state. After an unclean stop, a cut at
// the end of the newest log, be it by truncation or by damage to what no later frame
// vouches for. A cut of log and manifest together with removal of the shutdown
// file. A table that was written and lost in a crash, put back in place of the one
// that was given the same number after it; nor a table, in that place, from a copy
// of the store that was used by itself since it was made: it has the same store
// key. Sizes, times and numbers of files are visible.
package sealedfs
