// Package crypto holds coffer's key hierarchy, the sealing of keys and small
// secrets, the encryption of extents as DARE 2.0 streams, and the page cipher of
// metadata files (page.go). Bytes in, bytes out: it knows no file and no clock.
// All functions may be called concurrently.
//
// # Hierarchy
//
//	EK          in the key service (package kms), named and versioned
//	└─ DEK      made by the key service, sealed there; or a customer's SSE-C key
//	   └─ OEK         random, one per content     SealObjectKey   (committing)
//	      └─ chunk    random, one per chunk       SealChunkKey    (compact)
//	         └─ extent   random, one per extent   SealExtentKey   (compact)
//	            └─ DARE 2.0 stream                Encrypt, Decrypt
//
// The store key is a DEK under an EK of its own. It seals what belongs to the
// store and not to an object (SealBytes, MAC), and keys the metadata files.
// A content that is one extent seals its extent key under the OEK directly.
//
// With two layers (DSSE-KMS) all of it is there twice, from two DEKs down to two
// extent keys, and the outer stream's plaintext is the inner stream. No key of one
// layer is sealed under a key of the other.
//
// Keys are secret.Key throughout; bytes of a key are never returned. A sealing
// parent is only ever fed to HKDF, a stream key only to one stream.
//
// # What is bound to what
//
// Every seal derives its own AES-256-GCM key:
//
//	HKDF-SHA256(key = parent, salt = 32 fresh random bytes, info = purpose || binding)
//
// Purpose is the construction ("coffer v1 seal key", "... seal bytes", "... seal
// key compact", "... mac", each ended by a zero byte), so that one sealed form is
// never another. Binding is a domain and fields, each prefixed with its length:
//
//	domain         parent              fields
//	object key     DEK or SSE-C key    mode 1, store id 16, content id 16
//	chunk key      OEK                 content id 16, chunk id 16
//	extent key     chunk key or OEK    chunk id 16, extent id 16, plaintext length 8 || suite 1, base nonce 12 of its layer
//	checksum       OEK                 content id, algorithm, checksum type; of all parts together
//	                                   "parts", of an MD5 that only its copies show "ETAG", in place of the type
//	checksum key   OEK or DEK          content id, "object" or "upload"
//	content root   OEK                 content id (reserved)
//	etag           store key           content id, content counter (reserved)
//	setting        DEK of its own      store id, name
//	session        key of the tokens   store id
//	superblock     store key           store id
//	fingerprint    store key           store id (reserved)
//
// Integers are big endian. Ids are random and never reused, names and paths are
// nowhere in it: a rename reseals nothing. What the fields hold is not stored
// with the seal: whoever opens it states the fields, and is refused if they are not
// those that it was sealed with.
//
// # Formats
//
// Committing seal (SealKey, SealBytes), 82 bytes longer than what it seals:
//
//	 0   1  version, 1
//	 1   1  algorithm, 1
//	 2  32  salt
//	34  32  commitment: bytes 32 to 63 of the derivation, whose first 32 are the AES key
//	66   n  ciphertext
//	 +  16  tag
//
// Compact seal (SealKeyCompact), 81 bytes:
//
//	 0   1  version, 1
//	 1  32  salt
//	33  32  ciphertext
//	65  16  tag
//
// The nonce is zero, since the derived key seals once; the associated data is all
// that precedes the ciphertext. An unknown version or algorithm is refused with
// ErrVersion.
//
// A stream is one or more DARE 2.0 packages, 64 KiB of plaintext in each but the
// last:
//
//	 0   1  version, 0x20
//	 1   1  cipher, 0: AES-256-GCM
//	 2   2  plaintext length minus one, LITTLE endian
//	 4  12  nonce: the stream's base nonce; its top bit is set in the last package only
//	16   n  ciphertext
//	 +  16  tag
//
// The AEAD's nonce is the header's with the package's number XORed into its last
// four bytes (little endian), its associated data are bytes 0 to 3. Streams are
// written by minio/sio, pinned to version 2.0 and AES-256-GCM; they are read here,
// by position and without reading a package twice. An empty plaintext has no
// stream, and none is longer than MaxExtent: package numbers stay far from where
// sio would let them wrap.
//
// # Threats
//
// Alteration. The plaintext length and the base nonce come from the seal of the
// extent's key. The length says which packages a stream has, of which sizes, and
// which is the last: one that is cut, missing, too many, or final at the wrong
// place is refused, also by whoever reads it alone. The base nonce matters as much:
// a package's place is the difference between its nonce and the base, so whoever
// may choose the base may permute packages without breaking a tag.
//
// Swaps. A sealed key opens at its own place alone, so replacing an extent, chunk
// or object key by another that is as authentic is noticed. What is not noticed
// here is a record put back together with all that depends on it, an older state
// of the same ids: that is for the metadata store to prevent.
//
// Nonces. No AES-GCM key sees two messages but a stream's, whose nonces differ by
// construction. Encrypt refuses a key that it has used, and any that did not come
// fresh from secret.Random (secret.Key.Spend), so no mistake above can rewrite a
// package under the same key.
//
// Key commitment. AES-GCM alone lets one ciphertext open under two keys, and tells
// a wrong key from damage by nothing. Where a person brings the key (SSE-C), or a
// key service does, the seal commits: the commitment is compared first and in
// constant time. Below the object key there is one candidate and it is not
// chosen by anyone, so the compact form leaves it out; an extent's record is read
// and written with every small access.
//
// Memory. Keys that are derived on the way are cleared, keys that are returned
// wipe themselves. Key schedules inside the standard library's AES and SHA-256,
// and copies that the runtime made of a stack, are out of reach. Whoever reads
// the process's memory has the keys.
//
// Lengths show: a seal is as long as what it seals, a stream as its plaintext.
package crypto
