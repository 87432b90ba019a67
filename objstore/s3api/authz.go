package s3api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/iam"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// credentials finds the secret of an access key: the store's own, or a user's.
func (s *Server) credentials(ctx context.Context, keyID string) ([]byte, error) {
	secret, err := s.o.Credentials(ctx, keyID)
	if !errors.Is(err, sigv4.ErrUnknownKey) {
		return secret, err
	}
	if secret, err = s.iam.UserSecret(keyID); err != nil {
		return nil, sigv4.ErrUnknownKey
	}
	return secret, nil
}

// session finds the secret of a session.
func (s *Server) session(ctx context.Context, keyID, token string) ([]byte, error) {
	_, secret, err := s.iam.SessionPrincipal(ctx, keyID, token, s.isRoot)
	switch {
	case errors.Is(err, iam.ErrInvalidToken):
		return nil, sigv4.ErrInvalidToken
	case errors.Is(err, iam.ErrExpiredToken):
		return nil, sigv4.ErrExpiredToken
	}
	return secret, err
}

// isRoot tells the access keys of the store itself.
func (s *Server) isRoot(keyID string) bool {
	secret, err := s.o.Credentials(context.Background(), keyID)
	return err == nil && len(secret) > 0
}

// anonymousKeyID stands for the access key id in the Caller of a request that is not
// signed. No key has it: those are upper case.
const anonymousKeyID = "anonymous"

// identify says on whose behalf the request runs, once its signature was
// verified. Whoever was taken out of force since then is nobody.
func (q *request) identify() (err error) {
	id := q.auth.AccessKeyID
	switch {
	case q.auth.Anonymous:
		q.principal = iam.Anonymous()
		q.caller = objstore.S3Caller(anonymousKeyID) // or it would be a mount's
		return nil
	case q.auth.Token != "":
		q.principal, _, err = q.s.iam.SessionPrincipal(q.ctx, id, q.auth.Token, q.s.isRoot)
	case q.s.isRoot(id):
		q.principal = iam.Root()
	default:
		q.principal, err = q.s.iam.UserPrincipal(id)
	}
	if err != nil {
		e := newError(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", field("AWSAccessKeyId", id))
		e.cause = err
		return e
	}
	q.caller = objstore.S3Caller(id)
	return nil
}

// authorize refuses the request if its principal may not do all of it. What a
// policy says of replacing an object is kept for the write's precondition.
func (q *request) authorize(op string) error {
	if err := q.refuseAnonymous(op); err != nil {
		return err
	}
	source, fromAnother := q.authorizedSource(op)
	bound, err := q.bound(source.bucket)
	if err != nil || !bound {
		return err
	}
	q.bounded = true
	for _, action := range q.needs(op) {
		if action == perKey {
			continue
		}
		if err := q.allow(action, q.bucket, q.key, q.version()); err != nil {
			return err
		}
	}
	if op == "CreateBucket" && len(q.bucketTags()) > 0 {
		if err := q.allow("s3:TagResource", q.bucket, "", ""); err != nil {
			return err
		}
	}
	if fromAnother {
		if err := q.allowSource(op, source); err != nil {
			return err
		}
	}
	if q.key != "" && q.creates(op) {
		q.onlyNew, err = q.s.iam.Denied(q.ctx, q.principal, q.access(overwriteAction, q.bucket, q.key, ""))
	}
	return err
}

// bound reports whether anything has to be asked: of root nothing but a policy
// of the bucket, or of the source's. A bucket that does not exist has none; the
// handler says so.
func (q *request) bound(source string) (bool, error) {
	for _, bucket := range [...]string{q.bucket, source} {
		bound, err := q.s.iam.Bound(q.ctx, q.principal, bucket)
		if err != nil || bound {
			return bound, err
		}
	}
	return false, nil
}

// needs lists the actions that the request's operation and headers ask for.
func (q *request) needs(op string) []string {
	list, ok := actions[op]
	if !ok {
		list = []string{"coffer:" + op} // which no policy of S3 allows
	}
	if version := q.version(); version != "" {
		named := make([]string, len(list))
		for i, a := range list {
			if named[i] = versionActions[a]; named[i] == "" {
				named[i] = a
			}
		}
		list = named
	}
	add := func(action string) { list = append(list[:len(list):len(list)], action) }
	has := func(header string) bool { _, ok := q.single(header); return ok }
	if q.hasACL() {
		switch {
		case q.key == "" && op == "CreateBucket":
			add("s3:PutBucketAcl")
		case q.writes(op):
			add("s3:PutObjectAcl")
		}
	}
	if q.writes(op) {
		if has("X-Amz-Tagging") {
			add("s3:PutObjectTagging")
		}
		if has("X-Amz-Object-Lock-Mode") || has("X-Amz-Object-Lock-Retain-Until-Date") {
			add("s3:PutObjectRetention")
		}
		if has("X-Amz-Object-Lock-Legal-Hold") {
			add("s3:PutObjectLegalHold")
		}
	}
	if q.comparesETag(op) {
		add("s3:GetObject")
	}
	switch op {
	case "CreateBucket":
		if strings.EqualFold(q.get("X-Amz-Bucket-Object-Lock-Enabled"), "true") {
			add("s3:PutBucketObjectLockConfiguration")
			add("s3:PutBucketVersioning")
		}
		if has("X-Amz-Object-Ownership") {
			add("s3:PutBucketOwnershipControls")
		}
	case "DeleteObject", "PutObjectRetention":
		if q.bypasses() {
			add("s3:BypassGovernanceRetention")
		}
	}
	return list
}

// comparesETag reports whether a write or delete goes by the ETag of what is there: whoever
// may not read that could find out whether it is what he takes it for ("How to prevent
// object overwrites with conditional writes", "Enforce conditional deletes", S3 user guide).
func (q *request) comparesETag(op string) bool {
	match, has := q.single("If-Match")
	none, hasNone := q.single("If-None-Match")
	switch op {
	case "RenameObject":
		return has && namesETag(match) || hasNone && namesETag(none)
	case "DeleteObject":
		return has && namesETag(match)
	}
	return has && namesETag(match) && q.creates(op)
}

// namesETag tells a condition on an ETag from one that wants some object, or none.
func namesETag(condition string) bool { return strings.Trim(condition, " \t") != "*" }

// comparesTags is namesETag of a condition that was read.
func comparesTags(match []string) bool { return len(match) > 0 && !slices.Equal(match, []string{"*"}) }

// bypasses reports whether the request is to disregard governance retention.
func (q *request) bypasses() bool {
	return strings.EqualFold(q.get("X-Amz-Bypass-Governance-Retention"), "true")
}

// hasACL reports whether the request's headers say anything of ACLs.
func (q *request) hasACL() bool {
	_, canned := q.single("X-Amz-Acl")
	return canned || q.hasGrants()
}

// writes reports whether the headers of an operation describe an object.
func (q *request) writes(op string) bool {
	switch op {
	case "PutObject", "PostObject", "CopyObject", "CreateMultipartUpload":
		return true
	}
	return false
}

// creates reports whether an operation puts an object where one may be.
func (q *request) creates(op string) bool {
	switch op {
	case "PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload", "RenameObject":
		return true
	}
	return false
}

// version is the version that the request names, empty for none: of what makes an
// object, or adds to one, none is ever meant, even where S3 does not refuse it.
func (q *request) version() string {
	switch q.op {
	case "CreateMultipartUpload", "UploadPart", "AbortMultipartUpload", "ListParts":
		return ""
	}
	if q.creates(q.op) {
		return ""
	}
	v, _ := q.param("versionId")
	return v
}

// authorizedSource is what an operation copies or renames from. The operation says
// which header counts, not the header: a request may have both, and the one that is
// asked about must be the one that is acted upon. A source that cannot be read is
// refused by the handler.
func (q *request) authorizedSource(op string) (copySource, bool) {
	switch op {
	case "PutObject", "CopyObject", "UploadPart", "UploadPartCopy":
		if _, ok := q.single("X-Amz-Copy-Source"); ok {
			src, err := q.copySource()
			return src, err == nil
		}
	case "RenameObject":
		if from, ok := q.single("X-Amz-Rename-Source"); ok {
			key, err := parseRenameSource(from)
			return copySource{bucket: q.bucket, key: key}, err == nil
		}
	}
	return copySource{}, false
}

// allowSource asks for what a copy or a rename needs of its source.
func (q *request) allowSource(op string, src copySource) error {
	version := string(src.version)
	needs := []string{"s3:GetObject"}
	switch {
	case op == "RenameObject" && strings.HasSuffix(src.key, "/"):
		return q.allowPrefix(src)
	case op == "RenameObject":
		needs = []string{"s3:GetObject", "s3:DeleteObject"}
	case version != "":
		needs = []string{"s3:GetObjectVersion"}
	}
	for _, action := range needs {
		if err := q.allow(action, src.bucket, src.key, version); err != nil {
			return err
		}
	}
	if op != "PutObject" || q.replacesTags() {
		return nil
	}
	// A copy takes the tags of its source along.
	from := conditionKeys{q: q, bucket: src.bucket, key: src.key, version: version}
	if len(from.existingTags()) == 0 {
		return nil
	}
	tagging := "s3:GetObjectTagging"
	if version != "" {
		tagging = "s3:GetObjectVersionTagging"
	}
	if err := q.allow(tagging, src.bucket, src.key, version); err != nil {
		return err
	}
	return q.allow("s3:PutObjectTagging", q.bucket, q.key, "")
}

// allowPrefix asks for what the rename of a prefix needs, of both prefixes and of
// what may be below them: a Deny counts for keys that the request does not name, too.
func (q *request) allowPrefix(src copySource) error {
	for _, c := range [...]struct{ action, key string }{
		{renamePrefixAction, q.key}, {"s3:PutObject", q.key},
		{"s3:GetObject", src.key}, {"s3:DeleteObject", src.key}, {renamePrefixAction, src.key},
	} {
		if err := q.allow(c.action, q.bucket, c.key, ""); err != nil {
			return err
		}
		if err := q.denied(q.s.iam.CheckBelow(q.ctx, q.principal, q.access(c.action, q.bucket, c.key, ""))); err != nil {
			return err
		}
	}
	return nil
}

// sourceVersion is the version that a copy names in its header, for its errors.
func sourceVersion(header string) string {
	const param = "?versionId="
	if i := strings.LastIndex(header, param); i >= 0 {
		return header[i+len(param):]
	}
	return ""
}

// allow refuses the request if its principal may not do action.
func (q *request) allow(action, bucket, key, version string) error {
	return q.denied(q.s.iam.Authorize(q.ctx, q.principal, q.access(action, bucket, key, version)))
}

// denied keeps the store's sentence about an access that was denied.
func (q *request) denied(err error) error {
	var e *objstore.Error
	if errors.As(err, &e) && e.Kind == objstore.KindAccessDenied && e.Msg != "" {
		refused := errAccessDenied(e.Msg)
		refused.cause = err
		return refused
	}
	return err
}

// allowDelete asks for one key of DeleteObjects, as it is now. compares: it is deleted by
// its ETag, see comparesETag.
func (q *request) allowDelete(key, version string, compares bool) error {
	delete(q.seen, objectName{q.bucket, key, version})
	if !q.bounded {
		return nil
	}
	action := "s3:DeleteObject"
	if version != "" {
		action = "s3:DeleteObjectVersion"
	}
	err := q.allow(action, q.bucket, key, version)
	if err == nil && q.bypasses() {
		err = q.allow("s3:BypassGovernanceRetention", q.bucket, key, version)
	}
	if err == nil && compares {
		err = q.allow("s3:GetObject", q.bucket, key, version)
	}
	return err
}

// hideMissing keeps callers who may not list a bucket from learning which keys it has: to
// them a key that does not exist is forbidden, as one that exists and that they may not
// read. The key is the s3:prefix of the listing that is asked about, so that a caller who
// may list what begins with "home/" is told what does not exist there.
func (q *request) hideMissing(err error) error {
	if err == nil || !q.bounded || q.key == "" {
		return err
	}
	switch q.translate(err).Code {
	case "NoSuchKey", "NoSuchVersion":
	default:
		return err
	}
	k := conditionKeys{q: q, bucket: q.bucket, missing: q.key}
	if src, ok := q.authorizedSource(q.op); ok {
		k.bucket, k.missing = src.bucket, src.key
	}
	list := iam.Access{Action: "s3:ListBucket", Bucket: k.bucket, Owner: ownerID, Values: k.values}
	if refused := q.denied(q.s.iam.Authorize(q.ctx, q.principal, list)); refused != nil {
		return refused
	}
	return err
}

// access describes what is asked for, with the request's condition keys.
func (q *request) access(action, bucket, key, version string) iam.Access {
	k := conditionKeys{q: q, bucket: bucket, key: key, version: version}
	return iam.Access{Action: action, Bucket: bucket, Key: key, New: q.op == "CreateBucket", Owner: ownerID, Values: k.values}
}
