// Package extent keeps the bytes of contents: immutable runs of plaintext, each
// encrypted as one DARE stream under a key of its own, appended to data segments
// and pointed to by maps in the metadata store. It is the only place where keys
// meet bytes on disk.
//
// # Structure
//
// A content is covered by chunks (record.ChunkRef), each at most 64 MiB; what no
// chunk covers, and what no entry of a chunk's map covers, reads as zeroes. A
// map entry points into an extent. Chunks made by writing lie on a grid of
// 64 MiB; those of a multipart upload begin where its parts begin.
//
// An extent made by writing belongs to one chunk, which is its owner. Copies
// share chunks, or extents where a range is not made of whole chunks: then
// further references are kept as records of their own (K, E) and the chunk or
// extent is marked shared for good. The map of a shared chunk never changes: to
// change it its entries are copied to a new chunk (Edit.own).
//
// # Frames in a segment
//
// Each extent stands in its segment behind a header, so that a segment can be
// walked without metadata. Integers are big endian.
//
//	 0   4  magic "cfX1"
//	 4   4  length of the stream in bytes
//	 8   4  first package number of the stream that stands here
//	12   4  packages
//	16  16  extent
//	32   4  CRC-32C of bytes 0 to 31
//	36   n  DARE packages
//
// The header is not authenticated and nothing but compaction reads it, which
// checks what it finds against the extent's record.
//
// # What the caller does
//
// Writes go through a Batch: Encrypt any number of runs, then, in one
// transaction, Edit.Map them; Batch.Release when the transaction has ended,
// however it ended. Between the two the batch keeps its segments from being
// removed. Reads hold a Pin for the same reason, taken before the snapshot that
// they read maps from; one that takes long makes a Read of it.
package extent
