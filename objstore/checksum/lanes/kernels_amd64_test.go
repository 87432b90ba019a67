package lanes

import "golang.org/x/sys/cpu"

type kernel struct {
	name   string
	blocks func(*states, *[width]*byte, int)
}

func kernels() []kernel {
	list := []kernel{{name: "none"}}
	if cpu.X86.HasAVX2 {
		list = append(list, kernel{"AVX2", blocksAVX2})
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL {
		list = append(list, kernel{"AVX512", blocksAVX512})
	}
	return list
}
