//go:build !amd64

package lanes

// blocks is nil: there is no code for several lanes.
var blocks func(*states, *[width]*byte, int)
