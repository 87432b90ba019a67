package localdata

// BufferedOS is OS on a file system that has no O_DIRECT.
func BufferedOS(path string) FS {
	d := &osFS{dir: path}
	d.buffered.Store(true)
	return d
}

// IsDirect says whether transfers of f bypass the page cache.
func IsDirect(f File) bool { return f.(*osFile).direct.Load() }

// Aligned returns n bytes that a direct transfer takes.
func Aligned(n int) []byte { return alignedBytes(n) }
