package extent

import "github.com/cofferfs/coffer/crypto/secret"

// Keys open a content, a chunk or an extent: one key, or one for each of two
// layers of encryption (DSSE-KMS). The layers know nothing of each other: no key
// of one is sealed under a key of the other.
type Keys struct {
	Inner *secret.Key // of the only layer, or of that next to the plaintext
	Outer *secret.Key // of the second layer; nil: there is none
}

// One is the Keys of a single layer.
func One(k *secret.Key) *Keys { return &Keys{Inner: k} }

// Two reports whether there are two layers.
func (k *Keys) Two() bool { return k != nil && k.Outer != nil }

// Wipe overwrites the keys. It is idempotent; nil has none.
func (k *Keys) Wipe() {
	if k != nil {
		k.Inner.Wipe()
		k.Outer.Wipe()
	}
}
