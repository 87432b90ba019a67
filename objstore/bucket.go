package objstore

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name    string
	Root    InodeID // its root directory, which is its identity
	Created Time
}

// CreateBucketRequest asks for a new bucket.
type CreateBucketRequest struct {
	Name string
	// Mode, of the bucket's root directory in the mount; 0 means 0755.
	Mode uint32
}
