// Package mount puts a store together and runs it: it is the only package that
// knows every driver, and it holds the life of the daemon, from the first check
// of the command line to the last byte on disk.
//
// # The store directory
//
//	superblock   what must be known before anything opens (package record)
//	keystore     the built-in key service's keys, sealed (package kms)
//	superblock.copy, keystore.copy   the same again, see below
//	meta/        metadata (package pebblekv)
//	data/        segments (package localdata)
//	lock         flock(2) of the daemon that has the store open, and its pid
//	run/         admin.sock (0600), pid and endpoint of that daemon; ca.pem, which
//	             stays when it ends, so that an AWS_CA_BUNDLE stays valid
//
// The directory has mode 0700. The key file and the daemon's log lie outside.
// The log is in the clear: it names objects only where something went wrong
// with them, and every one that S3 is asked for only with --debug.
//
// # How a store is made
//
// The superblock is written first, not initialised, then the keystore, the
// metadata with the root record, the first secrets, and last the superblock
// again, initialised. A crash in between leaves a superblock that says so: the
// next start goes on from what is there. All it ever removes is metadata that
// does not open while there is no data at all. Once a store is initialised
// nothing that is missing is ever made anew.
//
// # Second copies
//
// Superblock and keystore are written twice, the copy first, each durably before the
// next (copies.go). The original counts. A copy that is not as its original, or missing,
// is told in the log of a daemon that starts, and made anew unless that is read-only, or
// it is a keystore with keys that the original has not; a
// command that changes keys without a daemon does the same and tells it on standard
// error. In the place of an original that is missing or damaged nothing is put: the
// store is refused, with the command that does it if the copy is whole. There is no copy
// of a superblock that is not initialised.
//
// # How it is opened
//
// Lock, superblock, keystore, store key, copies, data, metadata, engine; closed in
// reverse. The metadata driver is handed data.Sync as its BeforeDurable: that
// closure, in compose.go, is the only place where data and metadata meet.
//
// What opening takes does not grow with the store. After a crash the metadata's
// logs are read twice, by sealedfs and by Pebble, which flushes what they hold:
// up to three memtables of 16 MiB. Tables are not read, segments not listed. What
// a crash left to do (files without a name, uploads that were cut off, segments
// that nothing points to) is the engine's, in the background, and what the kernel
// has cached of a dead mount is let go of by another process (detach.go).
//
// # Daemons
//
// One process has a store open. `coffer mount` starts it in the background, and
// a later `coffer mount` of the same store asks it over run/admin.sock, JSON in
// HTTP, answered only to the same user and to root. A daemon that was started
// by `mount` ends, and its S3 door with it, when its last mount is gone; one that
// was started by `serve` ends when it is told to.
package mount
