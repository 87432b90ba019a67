package s3api

import (
	"errors"
	"slices"

	"github.com/cofferfs/coffer/objstore"
)

// errOtherTags says that what is read has other tags than what the policies were asked
// about.
var errOtherTags = errors.New("the object has other tags than were authorized")

// serve authorizes the request and handles it: again, if the object that it reads was
// replaced in between.
func (q *request) serve(r route) error {
	const attempts = 8 // at an object that keeps changing
	for range attempts {
		q.op, q.seen = r.name, nil
		if err := q.authorize(r.name); err != nil {
			return err
		}
		if err := r.handle(q); !errors.Is(err, errOtherTags) {
			return err
		}
	}
	return objstore.E(objstore.KindConflict, q.op, q.key, "the object keeps changing")
}

// checkRead holds the reading of an object to the tags by which it was authorized; nil
// if no policy asked for them.
//
// With opens the reading takes the object's key, too.
func (q *request) checkRead(bucket, key, version string, opens bool) objstore.Check {
	seen, tagged := q.seen[objectName{bucket, key, version}]
	var mayUse func(objstore.SSEInfo) error
	if opens {
		mayUse = q.mayUseKey("kms:Decrypt", bucket, key)
	}
	if !tagged && mayUse == nil {
		return nil
	}
	return func(sse objstore.SSEInfo, tags []objstore.Tag) error {
		switch {
		case tagged && !slices.Equal(seen, tags):
			return errOtherTags
		case mayUse != nil && sse.KMSKeyID != "":
			return mayUse(sse)
		}
		return nil
	}
}
