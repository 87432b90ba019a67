package objstore

// Change says what one commit changed, for whoever watches: the FUSE door
// drops what its kernel has cached of it. Changes of one inode and of one
// entry may be merged.
type Change struct {
	// Origin is that of the Caller who made the change.
	Origin uint32
	// Parent and Name are a directory entry that came, went or moved to another
	// inode (name as the mount sees it, no slash). Name is empty when no entry changed.
	Parent InodeID
	Name   string
	// Inode has new attributes; with Data, new content too. 0: none.
	Inode InodeID
	Data  bool
	// Removed: the entry is gone and pointed at Inode.
	Removed bool
}
