package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
)

// ---- tree.go, attr.go, link.go, rename.go: the mount's view of names ----

// Lookup finds an entry of a directory by its name in the mount. A directory
// hides the object of the same name.
func (s *Store) Lookup(ctx context.Context, parent objstore.InodeID, name string) (objstore.Attr, error) {
	return objstore.Attr{}, todo("lookup")
}

// GetAttr returns the attributes of an inode; those of an open file include
// what is not yet committed. KindStale: the inode is gone.
func (s *Store) GetAttr(ctx context.Context, ino objstore.InodeID) (objstore.Attr, error) {
	return objstore.Attr{}, todo("getattr")
}

// SetAttr changes attributes; Size is set as by truncate(2).
func (s *Store) SetAttr(ctx context.Context, c objstore.Caller, ino objstore.InodeID, set objstore.SetAttr) (objstore.Attr, error) {
	return objstore.Attr{}, todo("setattr")
}

// Mkdir makes an explicit directory. In the root directory it makes a bucket.
func (s *Store) Mkdir(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, mode uint32) (objstore.Attr, error) {
	return objstore.Attr{}, todo("mkdir")
}

// Mknod makes an empty regular file, or a special file.
func (s *Store) Mknod(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, typ objstore.FileType, mode, rdev uint32) (objstore.Attr, error) {
	return objstore.Attr{}, todo("mknod")
}

// Symlink makes a symbolic link.
func (s *Store) Symlink(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name, target string) (objstore.Attr, error) {
	return objstore.Attr{}, todo("symlink")
}

// Readlink returns a symbolic link's target.
func (s *Store) Readlink(ctx context.Context, ino objstore.InodeID) (string, error) {
	return "", todo("readlink")
}

// Link gives an inode (not a directory) one more name in its bucket.
func (s *Store) Link(ctx context.Context, c objstore.Caller, ino, newParent objstore.InodeID, newName string) (objstore.Attr, error) {
	return objstore.Attr{}, todo("link")
}

// Unlink removes a name that is no directory. Open files stay readable.
func (s *Store) Unlink(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string) error {
	return todo("unlink")
}

// Rmdir removes an empty directory, or an empty bucket in the root directory.
func (s *Store) Rmdir(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string) error {
	return todo("rmdir")
}

// Rename moves a name, atomically, as renameat2(2).
func (s *Store) Rename(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, newParent objstore.InodeID, newName string, flags objstore.RenameFlags) error {
	return todo("rename")
}

// ReadDir returns up to max entries of a directory behind pos, without "." and
// "..", and whether it reached the end. With attrs it returns their attributes
// beside them, index by index. A directory that was removed is empty.
func (s *Store) ReadDir(ctx context.Context, dir objstore.InodeID, pos objstore.DirPos, max int, attrs bool) (ents []objstore.Dirent, as []objstore.Attr, end bool, err error) {
	return nil, nil, false, todo("readdir")
}

// Parent returns a directory's parent ("..").
func (s *Store) Parent(ctx context.Context, dir objstore.InodeID) (objstore.InodeID, error) {
	return 0, todo("parent")
}

// ---- xattr.go ----

// GetXattr returns the value of an extended attribute. user.s3.meta.* are the
// S3 user metadata, user.coffer.* tell about encryption and ETag and are read-only.
func (s *Store) GetXattr(ctx context.Context, ino objstore.InodeID, name string) ([]byte, error) {
	return nil, todo("getxattr")
}

// SetXattr sets an extended attribute.
func (s *Store) SetXattr(ctx context.Context, c objstore.Caller, ino objstore.InodeID, name string, value []byte, flags objstore.XattrFlags) error {
	return todo("setxattr")
}

// RemoveXattr removes one; KindNoAttribute when it is not there.
func (s *Store) RemoveXattr(ctx context.Context, c objstore.Caller, ino objstore.InodeID, name string) error {
	return todo("removexattr")
}

// ListXattr returns the names in byte order.
func (s *Store) ListXattr(ctx context.Context, ino objstore.InodeID) ([]string, error) {
	return nil, todo("listxattr")
}

// ---- handle.go: open files ----

// Create makes a regular file and opens it. When the name exists and excl is
// false it opens what is there (KindIsDirectory for a directory).
func (s *Store) Create(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, mode uint32, flags objstore.OpenFlags, excl bool) (objstore.Attr, *File, error) {
	return objstore.Attr{}, nil, todo("create")
}

// Open opens a regular file. KindKeyUnavailable: its key is not at hand.
func (s *Store) Open(ctx context.Context, c objstore.Caller, ino objstore.InodeID, flags objstore.OpenFlags) (*File, error) {
	return nil, todo("open")
}

// File is an open file. All Files of one inode share its buffer: what one
// wrote the others read. Methods may be called concurrently.
type File struct{}

// Inode returns the file's inode.
func (f *File) Inode() objstore.InodeID { return 0 }

// ReadAt reads up to len(p) bytes at off and returns how many there were;
// fewer than len(p) only at the end of the file, without an error.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, todo("read") }

// WriteAt writes all of p at off into the file's buffer; p is the caller's
// again when it returns. The bytes join history when they are flushed.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	return 0, todo("write")
}

// Append is WriteAt at the end of the file, atomically, and returns the offset.
func (f *File) Append(ctx context.Context, p []byte) (off int64, err error) { return 0, todo("append") }

// Flush commits what was written, so that the other door shows it, and reports
// an earlier failure of a background flush once per File.
func (f *File) Flush(ctx context.Context) error { return todo("flush") }

// Sync is Flush and makes it durable.
func (f *File) Sync(ctx context.Context) error { return todo("fsync") }

// Truncate sets the size.
func (f *File) Truncate(ctx context.Context, size int64) error { return todo("truncate") }

// Allocate is fallocate(2).
func (f *File) Allocate(ctx context.Context, mode objstore.AllocateMode, off, n int64) error {
	return todo("fallocate")
}

// SeekData returns the first offset >= off that holds data; SeekHole the first
// that is in a hole (the end of the file counts as one). KindNoAttribute is
// never returned; past the end: KindInvalidRange (ENXIO).
func (f *File) SeekData(ctx context.Context, off int64) (int64, error) { return 0, todo("seek") }
func (f *File) SeekHole(ctx context.Context, off int64) (int64, error) { return 0, todo("seek") }

// Close flushes and releases the file. The error is that of the flush.
func (f *File) Close(ctx context.Context) error { return todo("close") }

// ---- bucket.go ----

// CreateBucket makes a bucket durably. KindBucketExists, KindInvalidBucketName.
func (s *Store) CreateBucket(ctx context.Context, c objstore.Caller, req objstore.CreateBucketRequest) (objstore.BucketInfo, error) {
	return objstore.BucketInfo{}, todo("create bucket")
}

// HeadBucket describes a bucket or says KindNoSuchBucket.
func (s *Store) HeadBucket(ctx context.Context, c objstore.Caller, name string) (objstore.BucketInfo, error) {
	return objstore.BucketInfo{}, todo("head bucket")
}

// DeleteBucket removes an empty bucket. KindBucketNotEmpty: it has objects,
// files or uploads under way.
func (s *Store) DeleteBucket(ctx context.Context, c objstore.Caller, name string) error {
	return todo("delete bucket")
}

// ListBuckets returns up to max buckets that start with prefix, by name, behind after.
func (s *Store) ListBuckets(ctx context.Context, c objstore.Caller, prefix, after string, max int) (list []objstore.BucketInfo, truncated bool, err error) {
	return nil, false, todo("list buckets")
}

// ---- object.go, copy.go, list.go ----

// PutObject stores an object, durably when it returns.
func (s *Store) PutObject(ctx context.Context, c objstore.Caller, req objstore.PutRequest) (objstore.ObjectInfo, error) {
	return objstore.ObjectInfo{}, todo("put")
}

// GetObject calls fn with one committed object, pinned until fn returns:
// length, ETag and bytes belong together whatever happens to the name.
// A failed precondition is KindPreconditionFailed or KindNotModified; the
// object's info is then beside the error through fn not being called and
// HeadObject. fn's error is returned as it is.
func (s *Store) GetObject(ctx context.Context, c objstore.Caller, req objstore.GetRequest, fn func(*Object) error) error {
	return todo("get")
}

// Object is a pinned object. It is valid, and used by one goroutine, within
// the function that GetObject calls.
type Object struct {
	Info objstore.ObjectInfo
	// Offset and Length are the requested part of it in bytes.
	Offset, Length int64
	// Parts is the number of parts when PartNumber was asked for.
	Parts int
}

// WriteTo writes Length bytes from Offset to w, reading ahead and decrypting
// in parallel. The slices given to w are only lent.
func (o *Object) WriteTo(w interface{ Write([]byte) (int, error) }) (int64, error) {
	return 0, todo("get")
}

// HeadObject describes an object. When a precondition fails it returns the
// info together with the error.
func (s *Store) HeadObject(ctx context.Context, c objstore.Caller, req objstore.GetRequest) (objstore.ObjectInfo, error) {
	return objstore.ObjectInfo{}, todo("head")
}

// DeleteObject removes a key, durably. An absent key is no error.
func (s *Store) DeleteObject(ctx context.Context, c objstore.Caller, bucket, key string, pre objstore.Precondition) (objstore.DeleteResult, error) {
	return objstore.DeleteResult{}, todo("delete")
}

// DeleteObjects removes up to 1,000 keys with one barrier and returns an error
// (or nil) for each, index by index.
func (s *Store) DeleteObjects(ctx context.Context, c objstore.Caller, bucket string, keys []string, pre []objstore.Precondition) ([]error, error) {
	return nil, todo("delete objects")
}

// CopyObject copies without reading or moving data, durably.
func (s *Store) CopyObject(ctx context.Context, c objstore.Caller, req objstore.CopyRequest) (objstore.ObjectInfo, error) {
	return objstore.ObjectInfo{}, todo("copy")
}

// ListObjects returns one page of a bucket's keys. It needs no keys and does
// not fail because one object is damaged or locked.
func (s *Store) ListObjects(ctx context.Context, c objstore.Caller, req objstore.ListRequest) (objstore.ListResult, error) {
	return objstore.ListResult{}, todo("list")
}

// ---- multipart.go ----

// CreateUpload begins a multipart upload.
func (s *Store) CreateUpload(ctx context.Context, c objstore.Caller, req objstore.CreateUploadRequest) (objstore.UploadInfo, error) {
	return objstore.UploadInfo{}, todo("create upload")
}

// UploadPart stores a part, durably.
func (s *Store) UploadPart(ctx context.Context, c objstore.Caller, req objstore.UploadPartRequest) (objstore.PartInfo, objstore.UploadInfo, error) {
	return objstore.PartInfo{}, objstore.UploadInfo{}, todo("upload part")
}

// CopyPart makes a part of another object's range, sharing its extents.
func (s *Store) CopyPart(ctx context.Context, c objstore.Caller, req objstore.CopyPartRequest) (objstore.PartInfo, objstore.UploadInfo, error) {
	return objstore.PartInfo{}, objstore.UploadInfo{}, todo("copy part")
}

// CompleteUpload makes the object from its parts, durably, and ends the upload.
// A repeated Complete of an upload that has just been completed, with the same
// parts, returns the same answer.
func (s *Store) CompleteUpload(ctx context.Context, c objstore.Caller, req objstore.CompleteRequest) (objstore.ObjectInfo, error) {
	return objstore.ObjectInfo{}, todo("complete upload")
}

// AbortUpload ends an upload and frees its parts.
func (s *Store) AbortUpload(ctx context.Context, c objstore.Caller, bucket, key string, id objstore.UploadID) error {
	return todo("abort upload")
}

// ListParts returns one page of an upload's parts.
func (s *Store) ListParts(ctx context.Context, c objstore.Caller, req objstore.ListPartsRequest) (objstore.ListPartsResult, error) {
	return objstore.ListPartsResult{}, todo("list parts")
}

// ListUploads returns one page of a bucket's uploads.
func (s *Store) ListUploads(ctx context.Context, c objstore.Caller, req objstore.ListUploadsRequest) (objstore.ListUploadsResult, error) {
	return objstore.ListUploadsResult{}, todo("list uploads")
}
