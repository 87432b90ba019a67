package extent

import "crypto/rand"

// newID returns 128 random bits.
func newID() (id [16]byte) {
	rand.Read(id[:]) // never fails (Go 1.24)
	return id
}
