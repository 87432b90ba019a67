// Package keyring holds keys in memory, bounded, for as long as they may be used:
// the data keys that the key service unsealed, until they are old or their
// external key changes, and the customers' keys that were lent to mounts, until
// they are taken back. Whoever has a key from it does not wipe it, unless it says
// that it is a copy.
//
// It opens nothing and knows neither key service nor records of objects: what a
// key is for and whether it fits is the engine's to say.
package keyring
