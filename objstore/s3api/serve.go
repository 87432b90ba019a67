package s3api

import (
	"errors"
	"slices"

	"github.com/cofferfs/coffer/objstore"
)

// errOtherTags says that an object has other tags than what the policies were asked
// about.
var errOtherTags = errors.New("the object has other tags than were authorized")

// attempts at what an object that keeps changing is needed for.
const attempts = 8

// serve authorizes the request and handles it: again, if the object that it is about was
// replaced in between, or got other tags.
func (q *request) serve(r route) error {
	for range attempts {
		q.op, q.seen = r.name, nil
		if err := q.authorize(r.name); err != nil {
			return err
		}
		if err := q.checkSSEHeaders(r.name); err != nil {
			return err
		}
		if err := r.handle(q); !errors.Is(err, errOtherTags) {
			return err
		}
		switch {
		case q.peeked != nil: // which is all of a document, and read to its end
			q.rewind(q.auth.Body)
		case q.body.n > 0 || q.body.end:
			return q.askAgain(r.name)
		}
	}
	return q.errChanging()
}

// askAgain answers a write whose body is gone, where the key got another object, or its
// object other tags: the client may not do it any more, or can send it again.
func (q *request) askAgain(op string) error {
	q.op, q.seen = op, nil
	if err := q.authorize(op); err != nil {
		return err
	}
	return q.errChanging()
}

func (q *request) errChanging() error {
	return objstore.E(objstore.KindConflict, q.op, q.key, "the object keeps changing")
}

// check is held for the object that the request names.
func (q *request) check(opens bool) objstore.Check {
	return q.held(q.bucket, q.key, q.version(), opens)
}

// held holds what is done with an object to the tags by which it was authorized, if a
// policy asked for them. With opens it takes the object's key, too.
func (q *request) held(bucket, key, version string, opens bool) (c objstore.Check) {
	if seen, ok := q.seen[objectName{bucket, key, version}]; ok {
		c.Tags = func(tags []objstore.Tag) error {
			if !slices.Equal(seen, tags) {
				return errOtherTags
			}
			return nil
		}
	}
	if opens {
		c.Key = q.mayUseKey("kms:Decrypt", bucket, key)
	}
	return c
}
