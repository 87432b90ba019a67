package s3api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// renameConditions are those on the object that is renamed; readConditions are
// those on what has the new key.
var renameConditions = conditionNames{"x-amz-rename-source-If-Match", "x-amz-rename-source-If-None-Match",
	"x-amz-rename-source-If-Modified-Since", "x-amz-rename-source-If-Unmodified-Since"}

// maxClientToken bounds x-amz-client-token, in bytes of printable ASCII.
const maxClientToken = 64

// renameObject is RenameObject, which S3 has for directory buckets, and coffer
// for all: also for whole prefixes.
func (q *request) renameObject() error {
	source, ok := q.single("X-Amz-Rename-Source")
	if !ok || source == "" {
		return errInvalidRequest("Missing required header for this request: x-amz-rename-source")
	}
	key, err := parseRenameSource(source)
	if err != nil {
		return err
	}
	token, ok := q.single("X-Amz-Client-Token")
	if ok && !validClientToken(token) {
		return errInvalidArgument("The client token must have 1 to 64 printable ASCII characters.", "x-amz-client-token", token)
	}
	req := objstore.RenameRequest{
		Bucket: q.bucket, SrcKey: key, DstKey: q.key,
		SrcPrecondition: q.conditions(renameConditions),
		DstPrecondition: q.conditions(readConditions),
		Token:           token,
		CheckSource:     q.held(q.bucket, key, "", false),
	}
	req.DstPrecondition.OnlyNew, req.DstPrecondition.Tags = q.onlyNew, q.held(q.bucket, q.key, "", false).Tags
	if err := q.s.store.RenameObject(q.ctx, q.caller, req); err != nil {
		return q.renameFailed(req, err)
	}
	q.settle()
	return q.send(http.StatusOK)
}

// parseRenameSource reads a key, percent-encoded, with or without a slash before
// it. A key that begins with a slash has to have the other one too.
func parseRenameSource(s string) (string, error) {
	key, err := url.PathUnescape(s)
	if err != nil {
		return "", errInvalidArgument("Invalid rename source object key", "x-amz-rename-source", s)
	}
	key = strings.TrimPrefix(key, "/")
	if err := objstore.CheckKey("rename", key); err != nil {
		if objstore.IsKind(err, objstore.KindNameTooLong) {
			return "", err
		}
		return "", errInvalidArgument("Invalid rename source object key", "x-amz-rename-source", s)
	}
	return key, nil
}

func validClientToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 33 || s[i] > 126 {
			return false
		}
	}
	return s != "" && len(s) <= maxClientToken
}

// renameFailed words the errors of a rename, which are about either key.
func (q *request) renameFailed(req objstore.RenameRequest, err error) error {
	var o *objstore.Error
	if !errors.As(err, &o) {
		return err
	}
	switch o.Kind {
	case objstore.KindNotFound:
		e := q.translate(err)
		key := req.SrcKey
		if o.What == req.DstKey {
			key = req.DstKey
		}
		return newError(e.Status, e.Code, e.Message, field("Key", key))
	case objstore.KindPreconditionFailed:
		e := q.translate(err)
		condition := o.Msg
		if o.What == req.SrcKey && !req.SrcPrecondition.IsZero() {
			condition = "x-amz-rename-source-" + condition
		}
		return newError(e.Status, e.Code, e.Message, field("Condition", condition))
	case objstore.KindNotEmpty:
		e := q.translate(err)
		e.Message = "There are objects below the destination prefix."
		return e
	}
	return err
}
