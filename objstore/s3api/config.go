package s3api

import (
	"net/http"

	"github.com/cofferfs/coffer/objstore"
)

// This file answers for configurations that no bucket has yet: as S3 does for a
// bucket without them, or with their defaults.

// bucketExists finds the bucket whose configuration is asked for.
func (q *request) bucketExists() error {
	_, err := q.s.store.HeadBucket(q.ctx, q.caller, q.bucket)
	return err
}

// unset answers that the bucket has no such configuration.
func unset(code, message string) func(*request) error {
	return func(q *request) error {
		if err := q.bucketExists(); err != nil {
			return err
		}
		return newError(http.StatusNotFound, code, message, field("BucketName", q.bucket))
	}
}

// deleteUnset removes a configuration that is not there, which S3 takes for done.
func (q *request) deleteUnset() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}

// objectExists finds the object that a subresource belongs to. Its key is not
// needed for that.
func (q *request) objectExists() error {
	version, err := q.versionID()
	if err != nil {
		return err
	}
	info, err := q.s.store.HeadObject(q.ctx, q.caller, objstore.GetRequest{
		Bucket: q.bucket, Key: q.key, Version: version, NoKey: true, Check: q.check(false),
	})
	q.setVersion(info.Version)
	return err
}

// getAbac answers that policies are not asked about the bucket's tags.
func (q *request) getAbac() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	var x xmlWriter
	x.root("AbacStatus")
	x.text("Status", "Disabled")
	x.close("AbacStatus")
	return q.sendXML(http.StatusOK, &x)
}

// getMetadataTable answers as S3 does where the second form of this configuration has
// taken the place of the first.
func (q *request) getMetadataTable() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	return newError(http.StatusMethodNotAllowed, "V1APIsNotAllowed",
		"The V1 GetBucketMetadataTableConfiguration API operation isn't available for this account. Use the corresponding V2 GetBucketMetadataConfiguration API operation instead.")
}
