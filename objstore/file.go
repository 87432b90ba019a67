package objstore

// Attr are the attributes of an inode (POSIX sys/stat.h).
type Attr struct {
	Inode  InodeID
	Bucket InodeID // root directory of the inode's bucket; RootInode's own is 0
	Type   FileType
	Mode   uint32 // permission, setuid, setgid and sticky bits: 07777
	UID    uint32
	GID    uint32
	Nlink  uint32
	Rdev   uint32
	Size   int64 // bytes
	Blocks int64 // 512-byte units that hold data
	Atime  Time
	Mtime  Time
	Ctime  Time
	Btime  Time
}

// SetAttr names what to change; nil fields stay. Ctime becomes now, unless a cache
// that keeps the file's times says what it is.
type SetAttr struct {
	Mode         *uint32 // 07777
	UID, GID     *uint32
	Size         *int64
	Atime, Mtime *Time
	Ctime        *Time
	// KillPriv clears setuid and setgid as write and truncate by an
	// unprivileged user do (POSIX write, chown).
	KillPriv bool
}

// Dirent is one entry as the mount sees it.
type Dirent struct {
	Name  string // without a trailing slash
	Inode InodeID
	Type  FileType
	// Pos continues a reading of the directory after this entry.
	Pos DirPos
}

// DirPos is a position in a directory: the stored name of the last entry that
// was returned. The zero value is the start. It stays valid while entries come
// and go: an entry that is there all the time is returned exactly once.
type DirPos string

// XattrFlags restrict SetXattr as setxattr(2) does.
type XattrFlags uint8

const (
	XattrCreate  XattrFlags = 1 // fail with KindExists when it is there
	XattrReplace XattrFlags = 2 // fail with KindNoAttribute when it is not
)

// RenameFlags are those of renameat2(2).
type RenameFlags uint8

const (
	RenameNoReplace RenameFlags = 1
	RenameExchange  RenameFlags = 2
	RenameWhiteout  RenameFlags = 4 // leave a whiteout, as layers of an overlay have them
)

// OpenFlags say how a file is opened.
type OpenFlags struct {
	Read, Write bool
	Truncate    bool
}

// AllocateMode are the modes of fallocate(2) that a file takes.
type AllocateMode uint8

const (
	AllocateKeepSize  AllocateMode = 1
	AllocatePunchHole AllocateMode = 2 // with AllocateKeepSize
	AllocateZeroRange AllocateMode = 4
)

// StatFS are the figures of the disk under the store, in bytes and inodes. Available
// is what can still be written, Free that and what is kept in reserve.
type StatFS struct {
	Total, Free, Available uint64
	Inodes                 uint64
	NameMax                uint32
}
