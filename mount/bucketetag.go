package mount

import (
	"context"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

// bucketETag is the form of a bucket's ETags: in a request that to choose, or
// empty to be told; in an answer the one in force.
type bucketETag struct {
	Bucket string `json:"bucket"`
	ETag   string `json:"etag,omitempty"` // as objstore.ETagForm has it
}

// BucketETag tells which form the ETags of a bucket's new objects have.
func (d *Daemon) BucketETag(ctx context.Context, bucket string) (objstore.ETagForm, error) {
	info, err := d.store.engine.HeadBucket(ctx, objstore.Caller{}, bucket)
	return info.ETags, bucketError(bucket, err)
}

// SetBucketETag chooses it, durably.
func (d *Daemon) SetBucketETag(ctx context.Context, bucket string, form objstore.ETagForm) error {
	err := d.store.engine.SetBucketETags(ctx, objstore.Caller{}, bucket, form)
	if err == nil {
		d.log.Info("ETags of a bucket chosen", "bucket", bucket, "etag", form.String())
	}
	return bucketError(bucket, err)
}

func (d *Daemon) answerBucketETag(ctx context.Context, q bucketETag) (bucketETag, error) {
	if q.ETag != "" {
		form, err := objstore.ParseETagForm(q.ETag)
		if err == nil {
			err = d.SetBucketETag(ctx, q.Bucket, form)
		}
		if err != nil {
			return bucketETag{}, err
		}
	}
	form, err := d.BucketETag(ctx, q.Bucket)
	return bucketETag{Bucket: q.Bucket, ETag: form.String()}, err
}

// bucketError words what the engine says about a bucket for people.
func bucketError(bucket string, err error) error {
	if objstore.IsKind(err, objstore.KindNoSuchBucket) {
		return hinted(fmt.Errorf("there is no bucket %q", bucket),
			"buckets are the directories at the top of a mount; mkdir there makes one, aws s3 mb too")
	}
	return err
}

// RunBucketETag asks the running daemon for the form of a bucket's ETags or,
// unless choose is empty, has it choose that one. It returns the one in force.
func RunBucketETag(ctx context.Context, cfg Config, bucket, choose string) (string, error) {
	var a bucketETag
	err := askDaemon(ctx, cfg, "/v1/bucket/etag", bucketETag{Bucket: bucket, ETag: choose}, &a)
	return a.ETag, err
}
