package lanes

import (
	"math"

	"golang.org/x/sys/cpu"
)

// constants are T of RFC 1321.
//
//lint:ignore U1000 the assembly reads them
var constants = func() (t [64]uint32) {
	for i := range t {
		t[i] = uint32(math.Floor(math.Abs(math.Sin(float64(i+1))) * (1 << 32)))
	}
	return t
}()

// blocks, if it is not nil, adds as many blocks of 64 bytes, at least one, of each
// lane to its state.
var blocks = func() func(*states, *[width]*byte, int) {
	switch {
	case cpu.X86.HasAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL:
		return blocksAVX512
	case cpu.X86.HasAVX2:
		return blocksAVX2
	}
	return nil
}()

//go:noescape
func blocksAVX2(state *states, lanes *[width]*byte, blocks int)

//go:noescape
func blocksAVX512(state *states, lanes *[width]*byte, blocks int)
