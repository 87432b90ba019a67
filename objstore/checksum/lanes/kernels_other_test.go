//go:build !amd64

package lanes

type kernel struct {
	name   string
	blocks func(*states, *[width]*byte, int)
}

func kernels() []kernel { return []kernel{{name: "none"}} }
