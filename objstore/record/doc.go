// Package record encodes, parses and validates every key and value of coffer's
// metadata. It is pure: bytes in, structs out. What keeps the bytes secret and
// authentic is the metadata store below.
//
// # Key space
//
// A key is one byte that names its family, then fixed-width big-endian fields,
// so that byte order is the order one wants to scan in, then at most one name.
// In the order of their bytes:
//
//	B ino                    bucket: settings, by the inode of its root directory
//	D content                data of a small content, sealed, apart from the inode so that stat never reads it
//	E extent chunk           reference of one more chunk to a shared extent, with the extent key sealed for it
//	J extent                 stream of a small extent that was made durable with the metadata, until it is moved to a segment
//	K chunk content offset   reference of one more content to a shared chunk
//	P content                sizes of the parts of a content that was uploaded in parts, and their checksums if they make the object's
//	W ino hash               data key of a bucket for an external key and a client's context: its id
//	R                        root: store id, allocation of inode ids, ETag key
//	b ino name               configuration document of a bucket; how far its lifecycle rules were carried out
//	c content offset         chunk of a content, with the chunk key sealed under the object key
//	d ino name               directory entry; directories have a trailing slash, the marker object of a directory the empty name
//	e extent                 extent: where it lies, its key sealed under its first owner's chunk key, what of it is live
//	g content                content that nothing names any more and that is freed in steps
//	i ino                    inode
//	k chunk                  chunk: its first owner, and whether others share it
//	m chunk offset           map entry: which part of which extent holds these bytes
//	n content number         write of an open file that was made durable with the metadata, until it is part of the content's map
//	o ino                    inode without a name, kept for whoever has it open
//	p upload number          part of a multipart upload
//	s segment                live bytes of a data segment
//	u ino key NUL upload     multipart upload under way in a bucket
//	v ino name NUL number    noncurrent version of an object or delete marker, newest first; history of a directory that is gone
//	w dek                    data key, sealed by the key service
//	x ino                    extended attributes of an inode
//	y name                   setting of the store, sealed
//
// Reserved for what is planned, so that no new format is needed then:
//
//	a ino (ACLs)   h content (content root)   l (locks)
//	q (quotas)     t (tags)
//
// Names of objects occur in d, u and v, and in i of what has versions.
//
// # Values
//
// A value is a version byte (1), then fields, each a number and a length as
// unsigned varints (encoding/binary) and so many bytes; integers are unsigned
// varints of exactly that length. A field that is zero or empty is absent.
// Numbers ascend. A reader refuses a newer version and any field number below
// 64 that it does not know, and ignores the others: a field without which the
// record would be misread gets a number below 64.
//
// Extended attributes and directory entries have shapes of their own, for their
// number: see xattr.go and dirent.go.
package record
