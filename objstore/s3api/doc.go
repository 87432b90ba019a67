// Package s3api is the S3 door of coffer: an http.Handler that speaks Amazon
// S3's REST protocol over an engine.Store.
//
// A request walks: router.go finds bucket, key and operation in the request
// line; sigv4 says who signed it and gives its body, un-chunked and verified;
// a handler parses the operation's headers and XML, asks the engine once, and
// renders the answer. Errors of the store become S3's codes in errors.go and
// nowhere else. After a write the handler waits, holding no lock and for a
// bounded time, until the other door was told of it.
//
// Promises. The memory of a request is bounded: objects are streamed, XML
// bodies and headers have limits (limits.go). Keys arrive as they were sent:
// percent-decoded once, never cleaned. A response that has begun and cannot be
// finished breaks its connection instead of ending short. Neither secrets nor
// signatures nor query strings are logged.
//
// Names in listings that XML 1.0 cannot hold (control characters, which a mount
// can create) are written as character references, as AWS does: a strict parser
// then refuses the page instead of showing a name that does not exist. Clients
// that ask for encoding-type=url get every name.
//
// Differences from AWS, where AWS has no answer of its own: a full disk is 507
// InsufficientStorage (no SDK repeats it), a read-only store 403 AccessDenied.
// docs/s3.md lists every operation and what differs.
//
// BUG(http): what is no HTTP (a bad escape in the request line, a head over 32
// KiB) gets the plain answer of net/http, 400 or 431, without a document.
package s3api
