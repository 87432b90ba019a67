// Package objstore is the contract between coffer's store and its doors: the
// words, types, requests, results and errors that both doors share.
//
// Words. A store holds buckets; a bucket holds a tree of inodes; a directory
// entry gives an inode a name. An object is a regular file and the key
// "a/b/c" of bucket "x" is the path x/a/b/c. A content is what an inode holds:
// an id, an object key, a size and a map of extents. A door is a front end:
// FUSE (package fs) or S3 (package s3api). docs/design.md has the whole list.
//
// Invariants that every implementation and every door relies on:
//
//   - There is one truth: what one door has been told is done, the other shows.
//   - A refused request changes nothing.
//   - InodeIDs are never reused within a store.
//   - An S3 write never changes a content in place: it makes a new inode and
//     moves the name to it, in one commit. An open file stays on what it opened.
package objstore
