// Package crypto holds coffer's key hierarchy, the sealing of keys and small
// secrets, and the encryption of extents as DARE 2.0 streams.
package crypto
