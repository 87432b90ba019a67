package fs

// flag is a bit of a request, and what the store has for it.
type flag[F ~uint8] struct {
	linux uint32
	ours  F
}

// knownFlags translates the flags of a request that the store has; rest are the others.
func knownFlags[F ~uint8](linux uint32, flags ...flag[F]) (ours F, rest uint32) {
	for _, f := range flags {
		if linux&f.linux != 0 {
			ours |= f.ours
		}
		linux &^= f.linux
	}
	return ours, linux
}
