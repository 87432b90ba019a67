package s3api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// apiError is a refusal as S3 words it.
type apiError struct {
	Status  int
	Code    string
	Message string
	Fields  []sigv4.Field // further elements of the document, in order
	cause   error         // for the log; may be nil
	bare    bool          // without a document
}

// Error leaves the Fields out, which repeat what the client sent.
func (e *apiError) Error() string {
	if e.cause != nil {
		return e.Code + ": " + e.cause.Error()
	}
	return e.Code + ": " + e.Message
}

func (e *apiError) Unwrap() error { return e.cause }

func newError(status int, code, message string, fields ...sigv4.Field) *apiError {
	return &apiError{Status: status, Code: code, Message: message, Fields: fields}
}

func field(name, value string) sigv4.Field { return sigv4.Field{Name: name, Value: value} }

func errInvalidArgument(message, name, value string) *apiError {
	return newError(http.StatusBadRequest, "InvalidArgument", message, field("ArgumentName", name), field("ArgumentValue", value))
}

// errBare is an answer of nothing but a status.
func errBare(status int, code string) *apiError {
	return &apiError{Status: status, Code: code, Message: http.StatusText(status), bare: true}
}

func errInvalidRequest(message string) *apiError {
	return newError(http.StatusBadRequest, "InvalidRequest", message)
}

func errAccessDenied(message string) *apiError {
	return newError(http.StatusForbidden, "AccessDenied", message)
}

func errMalformedXML() *apiError {
	return newError(http.StatusBadRequest, "MalformedXML",
		"The XML you provided was not well-formed or did not validate against our published schema")
}

func errTooLong() *apiError {
	return newError(http.StatusBadRequest, "MaxMessageLengthExceeded", "Your request was too big.")
}

// errHeader refuses a header whose meaning is not built.
func errHeader(name string) *apiError {
	return newError(http.StatusNotImplemented, "NotImplemented",
		"A header you provided implies functionality that is not implemented", field("Header", name))
}

func errNotBuilt(what string) *apiError {
	return newError(http.StatusNotImplemented, "NotImplemented", what+" is not implemented.")
}

func (q *request) errMethod(resource string) *apiError {
	return newError(http.StatusMethodNotAllowed, "MethodNotAllowed",
		"The specified method is not allowed against this resource.",
		field("Method", q.r.Method), field("ResourceType", resource))
}

// answer is how S3 words a Kind.
type answer struct {
	status  int
	code    string
	message string
	// own says that a sentence of the store says more than message does.
	own bool
}

// answers has S3's answer to every kind of error.
var answers = [objstore.NumKinds]answer{
	objstore.KindInternal:           {500, "InternalError", "We encountered an internal error. Please try again.", false},
	objstore.KindNotFound:           {404, "NoSuchKey", "The specified key does not exist.", false},
	objstore.KindNoSuchBucket:       {404, "NoSuchBucket", "The specified bucket does not exist", false},
	objstore.KindNoSuchUpload:       {404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.", false},
	objstore.KindExists:             {409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.", false},
	objstore.KindBucketExists:       {409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.", false},
	objstore.KindNotEmpty:           {409, "OperationAborted", "The directory you tried to delete is not empty.", false},
	objstore.KindBucketNotEmpty:     {409, "BucketNotEmpty", "The bucket you tried to delete is not empty", true},
	objstore.KindNotDirectory:       {400, "InvalidRequest", "A part of the key names a file.", true},
	objstore.KindIsDirectory:        {400, "InvalidRequest", "The key names a directory.", true},
	objstore.KindInvalidName:        {400, "InvalidURI", "Couldn't parse the specified URI.", false},
	objstore.KindInvalidBucketName:  {400, "InvalidBucketName", "The specified bucket is not valid.", false},
	objstore.KindNameTooLong:        {400, "KeyTooLongError", "Your key is too long", false},
	objstore.KindInvalidArgument:    {400, "InvalidArgument", "Invalid Argument", true},
	objstore.KindCrossBucket:        {400, "InvalidRequest", "The source and the destination are in different buckets.", true},
	objstore.KindTooLarge:           {400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", false},
	objstore.KindTooManyLinks:       {400, "InvalidRequest", "The object has too many names.", true},
	objstore.KindNoSpace:            {507, "InsufficientStorage", "The storage of this server is full. Nothing was changed.", false},
	objstore.KindReadOnly:           {403, "AccessDenied", "This store is read-only.", false},
	objstore.KindAccessDenied:       {403, "AccessDenied", "Access Denied", false},
	objstore.KindNotPermitted:       {403, "AccessDenied", "Access Denied", false},
	objstore.KindPreconditionFailed: {412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", false},
	objstore.KindNotModified:        {304, "NotModified", "Not Modified", false},
	objstore.KindConflict:           {409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.", false},
	objstore.KindInvalidRange:       {416, "InvalidRange", "The requested range is not satisfiable", false},
	objstore.KindInvalidPart:        {400, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.", false},
	objstore.KindInvalidPartOrder:   {400, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.", false},
	objstore.KindPartTooSmall:       {400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", false},
	objstore.KindBadDigest:          {400, "BadDigest", "The Content-MD5 or checksum value that you specified did not match what the server received.", true},
	objstore.KindWrongKey:           {403, "AccessDenied", "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.", false},
	objstore.KindKeyRequired:        {400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.", false},
	objstore.KindKeyUnavailable:     {503, "ServiceUnavailable", "The key service is out of reach.", false},
	objstore.KindCorrupt:            {500, "InternalError", "We encountered an internal error. Please try again.", false},
	objstore.KindNoAttribute:        {400, "InvalidRequest", "The object has no such attribute.", true},
	objstore.KindAttributeRange:     {400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", false},
	objstore.KindNotSupported:       {501, "NotImplemented", "A header you provided implies functionality that is not implemented", true},
	objstore.KindBusy:               {503, "SlowDown", "Please reduce your request rate.", false},
	objstore.KindStale:              {409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.", false},
	objstore.KindCanceled:           {400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.", false},
	objstore.KindShutdown:           {503, "ServiceUnavailable", "Service is unable to handle request.", false},
	objstore.KindInvalidRequest:     {400, "InvalidRequest", "Invalid Request", true},
	objstore.KindIdempotency:        {400, "IdempotencyParameterMismatch", "Parameters on this idempotent request are inconsistent with parameters used in previous request(s).", false},
	objstore.KindInvalidOffset:      {400, "InvalidWriteOffset", "The write offset value that you specified does not match the current object size.", false},
	objstore.KindTooManyParts:       {400, "TooManyParts", "You have attempted to add more parts than the maximum of 10000 that are allowed for this object.", false},
	objstore.KindEncryptionMismatch: {400, "EncryptionTypeMismatch", "The existing object was created with a different encryption type. Subsequent write requests must include the appropriate encryption parameters in the request or while creating the session.", false},
	objstore.KindObjectState:        {403, "InvalidObjectState", "The operation is not valid for the object's storage class", true},
	objstore.KindMalformed:          {400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header", false},
	objstore.KindNoSuchConfig:       {404, "NoSuchConfiguration", "The specified configuration does not exist.", false},
	objstore.KindMalformedPolicy:    {400, "MalformedPolicy", "Invalid policy syntax.", true},
	objstore.KindTooManyConfigs:     {400, "TooManyConfigurations", "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.", false},
	objstore.KindNoSuchKey:          {400, "KMS.NotFoundException", "Invalid keyId", true},
	objstore.KindKeyDisabled:        {400, "KMS.DisabledException", "The key is disabled.", true},
	objstore.KindKeyPendingDeletion: {400, "KMS.KMSInvalidStateException", "The key is pending deletion.", true},
	objstore.KindNoSuchVersion:      {404, "NoSuchVersion", "The specified version does not exist.", false},
	objstore.KindDeleteMarker:       {405, "MethodNotAllowed", "The specified method is not allowed against this resource.", false},
	objstore.KindLocked:             {403, "AccessDenied", "Access Denied because object protected by object lock.", false},
	objstore.KindBucketState:        {409, "InvalidBucketState", "The request is not valid with the current state of the bucket.", true},
	objstore.KindNoObjectLock:       {400, "InvalidRequest", "Bucket is missing Object Lock Configuration", false},
	objstore.KindNoLock:             {404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration", false},
}

// conditionalConflict is the answer to KindConflict when the write had a condition.
var conditionalConflict = answer{409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this resource.", false}

// kindOf is objstore.KindOf, that also knows how the connection fails.
func kindOf(err error) objstore.Kind {
	var e *objstore.Error
	var ne net.Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne):
		return objstore.KindCanceled
	}
	var refused *apiError
	var unsigned *sigv4.Error
	switch {
	case errors.As(err, &unsigned):
		return objstore.KindInvalidRequest
	case errors.As(err, &refused) && refused.Status == http.StatusNotImplemented:
		return objstore.KindNotSupported
	case errors.As(err, &refused) && refused.Status < 500:
		return objstore.KindInvalidRequest
	}
	return objstore.KindInternal
}

// translate words err as S3 does.
func (q *request) translate(err error) *apiError {
	// What was wrong with the body explains whatever the store made of it.
	if q.body.err != nil {
		err = q.body.err
	}
	var refused *apiError
	if errors.As(err, &refused) {
		return refused
	}
	var unsigned *sigv4.Error
	if errors.As(err, &unsigned) {
		return &apiError{Status: unsigned.Status, Code: unsigned.Code, Message: unsigned.Message, Fields: unsigned.Fields, cause: err}
	}
	a := answers[kindOf(err)]
	switch kind := kindOf(err); {
	case kind == objstore.KindConflict && q.writeCondition() != "":
		a = conditionalConflict
	case kind == objstore.KindReadOnly && q.s.store.Failure() != nil:
		a = answers[objstore.KindInternal] // nobody chose that, and another store may do it
	}
	e := &apiError{Status: a.status, Code: a.code, Message: a.message, cause: err}
	var o *objstore.Error
	if a.own && errors.As(err, &o) && o.Msg != "" {
		e.Message = o.Msg
	}
	e.Fields = q.fields(e.Code)
	return e
}

// fields are the elements that S3 adds to an error of that code and that follow
// from the request.
func (q *request) fields(code string) []sigv4.Field {
	switch code {
	case "NoSuchVersion", "MethodNotAllowed":
		return q.versionFields(code)
	case "NoSuchKey":
		return []sigv4.Field{field("Key", q.key)}
	case "NoSuchBucket", "BucketNotEmpty", "BucketAlreadyOwnedByYou", "InvalidBucketName":
		return []sigv4.Field{field("BucketName", q.bucket)}
	case "NoSuchUpload", "InvalidPartOrder":
		id, _ := q.param("uploadId")
		return []sigv4.Field{field("UploadId", id)}
	case "InvalidURI":
		return []sigv4.Field{field("URI", q.r.URL.EscapedPath())}
	case "KeyTooLongError":
		return []sigv4.Field{field("Size", strconv.Itoa(len(q.key))), field("MaxSizeAllowed", strconv.Itoa(objstore.MaxKeyLen))}
	case "ConditionalRequestConflict":
		return []sigv4.Field{field("Condition", q.writeCondition()), field("Key", q.key)}
	case "PreconditionFailed":
		if c := q.writeCondition(); c != "" {
			return []sigv4.Field{field("Condition", c)}
		}
	}
	return nil
}

// fail answers with err. It reports whether the response has begun and must be
// broken off instead.
func (q *request) fail(err error) (abort bool) {
	e := q.translate(err)
	q.code = e.Code
	if kindOf(err) == objstore.KindCorrupt {
		q.s.log.LogAttrs(q.ctx, slog.LevelError, "object is corrupt",
			slog.String("bucket", q.bucket), slog.String("key", q.key), slog.String("op", q.op),
			slog.String("request_id", q.id), slog.Any("error", err))
	}
	if q.w.status != 0 {
		return true
	}
	if e.Status == http.StatusNotModified { // it has the headers of the object
		q.w.WriteHeader(e.Status)
		return false
	}
	q.dropHeaders()
	q.setMarker(err)
	h := q.w.Header()
	if kindOf(err) == objstore.KindCanceled || q.unread() != nil && (q.r.ContentLength < 0 || q.r.ContentLength-q.body.n > keepAliveBytes) {
		h["Connection"] = []string{"close"}
	}
	switch {
	case q.r.Method == http.MethodHead:
		h["Content-Type"] = []string{"application/xml"}
		q.w.WriteHeader(e.Status)
		return false
	case e.bare:
		h["Content-Length"] = []string{"0"}
		q.w.WriteHeader(e.Status)
		return false
	}
	h["Content-Type"] = []string{"application/xml"}
	if q.sts {
		_, werr := q.w.Write(q.failSTS(e).b)
		return werr != nil
	}
	x := q.errorDocument(e)
	h["Content-Length"] = []string{strconv.Itoa(len(x.b))}
	q.w.WriteHeader(e.Status)
	_, werr := q.w.Write(x.b)
	return werr != nil
}

// dropHeaders takes back the headers that a handler has set, but for those that every
// answer has.
func (q *request) dropHeaders() {
	h := q.w.Header()
	for name := range h {
		switch name {
		case "x-amz-request-id", "x-amz-id-2", "x-amz-bucket-region", "Server", "Allow", "Vary", allowOrigin, allowMethods, allowHeaders, allowCredentials, exposeHeaders, maxAge:
		default:
			delete(h, name)
		}
	}
}

// errorDocument is the body of an answer with an error.
func (q *request) errorDocument(e *apiError) *xmlWriter {
	x := new(xmlWriter)
	x.start()
	x.open("Error")
	x.text("Code", e.Code)
	x.errorText("Message", e.Message)
	for _, f := range e.Fields {
		x.errorText(f.Name, f.Value)
	}
	x.text("RequestId", q.id)
	x.text("HostId", q.hostID)
	x.close("Error")
	return x
}
