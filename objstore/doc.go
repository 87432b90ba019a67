// Package objstore is the contract between coffer's store and its doors: the
// words, types, requests, results and errors that both doors share.
//
// # Words
//
//	store     a directory with segments, metadata and sealed keys; one daemon has it open
//	bucket    S3's; in a mount of all buckets a directory at the top
//	inode     record of a file, directory or special file, in one bucket for life;
//	          directory entries give it names
//	object    a regular file: the key "a/b/c" of bucket "x" is the path x/a/b/c
//	content   what an inode holds: an id, an object key, a size and a map
//	chunk     up to 64 MiB of a content, the unit that contents share
//	extent    immutable run of plaintext, encrypted as one stream under a key of its own
//	segment   large file to which encrypted extents are appended
//	version   content that a key named earlier, in a versioned bucket
//	door      front end: FUSE (package fs), S3 (package s3api)
//	driver    implementation of the metadata, the data or the key service
//	engine    what both doors call (package engine)
//	EK        external key, in the key service, with versions: what people name
//	DEK       data key, made under an external key, for one bucket and one context
//	OEK       object key of one content, sealed under a key derived from a DEK or from
//	          a customer's key
//
// Invariants that every implementation and every door relies on:
//
//   - There is one truth: what one door has been told is done, the other shows.
//   - A refused request changes nothing.
//   - InodeIDs are never reused within a store.
//   - An S3 write never changes a content in place: it makes a new inode and
//     moves the name to it, in one commit. An open file stays on what it opened.
package objstore
