package s3api

import "time"

// Limits of requests. Sizes are bytes.
const (
	// maxHeaderBytes bounds the request line and headers. AWS allows 8 KiB of
	// headers; a request line has up to 3 KiB of key and a signature.
	maxHeaderBytes = 32 << 10

	// maxCompleteBytes bounds a CompleteMultipartUpload document: 10,000 parts
	// with an ETag and a SHA-512 are about 2.7 MiB.
	maxCompleteBytes = 4 << 20

	// maxDeleteBytes bounds a Delete document: 1,000 keys of 1,024 bytes, all
	// of them written as six-byte character references.
	maxDeleteBytes = 8 << 20

	// maxConfigBytes bounds every other document.
	maxConfigBytes = 64 << 10

	// maxDocumentsBytes bounds all documents together that are longer than that and are
	// being read or used: whoever has a key can send some, and be slow about it.
	maxDocumentsBytes = 64 << 20

	// maxFieldBytes bounds names and values of a form's fields before the file, as
	// S3 has it, and maxFormBytes all that is read there, headers of parts and
	// boundaries included. maxBoundary is a bit more than RFC 2046's 70.
	maxFieldBytes = 20 << 10
	maxFormBytes  = 64 << 10
	maxBoundary   = 128

	// maxDeleteKeys is S3's limit for one DeleteObjects request.
	maxDeleteKeys = 1000

	// maxRestoreDays is for how long an archived object is restored: 100 years, as
	// retentions are.
	maxRestoreDays = 36500

	// maxPutSize is S3's limit for an object put in one request.
	maxPutSize = 5 << 30

	// maxXMLDepth and maxXMLText bound a request document's nesting and the
	// text of one element.
	maxXMLDepth = 8
	maxXMLText  = 8 << 10

	// maxXMLElements and maxXMLToken bound what the decoder makes of a document,
	// which for many small elements or attributes is a hundred times its length.
	// A Complete of 10,000 parts has 40,001 elements; the longest text can be
	// written in character references.
	maxXMLElements = 50_000
	maxXMLToken    = 128 << 10
)

// stallBytes of a body, in either direction, are what a client must move within
// Options.StallTimeout. Only time spent waiting for the client counts.
const stallBytes = 32 << 10

// lingerBytes of a body that was refused are taken and thrown away, within
// Options.StallTimeout, unless nothing comes for lingerQuiet.
// Where more than keepAliveBytes were left, the client is told that its connection
// ends.
const (
	lingerBytes    = 256 << 20
	lingerQuiet    = 5 * time.Second
	keepAliveBytes = 256 << 10
)

const (
	headerTimeout = 30 * time.Second // for the request line and headers
	idleTimeout   = 2 * time.Minute  // of a connection between requests
)
