package s3api

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
)

// Header names of server-side encryption, in canonical form.
const (
	sseHeader        = "X-Amz-Server-Side-Encryption"
	sseKeyIDHeader   = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	sseContextHeader = "X-Amz-Server-Side-Encryption-Context"
	sseBucketKey     = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"

	// maxContext bounds an encryption context in bytes of base64.
	maxContext = 8 << 10
)

// keyHeaders are the three headers of a customer's key.
type keyHeaders struct{ algorithm, key, sum string }

var (
	customerHeaders = keyHeaders{
		"X-Amz-Server-Side-Encryption-Customer-Algorithm",
		"X-Amz-Server-Side-Encryption-Customer-Key",
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5",
	}
	sourceHeaders = keyHeaders{
		"X-Amz-Copy-Source-Server-Side-Encryption-Customer-Algorithm",
		"X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key",
		"X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key-Md5",
	}
)

const ssecBlocked = "This bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type."

// partKey reads a customer's key for a part of an upload.
func (q *request) partKey() (objstore.Encryption, error) {
	if err := q.checkBlocked(); err != nil {
		return objstore.Encryption{}, err
	}
	return q.customerKey(customerHeaders)
}

// errSSE is InvalidArgument as S3 words it for encryption.
func errSSE(message string) *apiError {
	return newError(http.StatusBadRequest, "InvalidArgument", message, field("ArgumentName", "x-amz-server-side-encryption"))
}

// encryption reads what a write says about the encryption of its object.
func (q *request) encryption() (objstore.Encryption, error) {
	var e objstore.Encryption
	if err := q.checkBlocked(); err != nil {
		return e, err
	}
	mode, given := q.single(sseHeader)
	if given && q.given(customerHeaders) {
		err := errSSE("Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
		err.Fields = append(err.Fields, field("ArgumentValue", mode))
		return e, err
	}
	e, err := q.customerKey(customerHeaders)
	if err != nil || e.Mode == objstore.SSEC {
		return e, err
	}
	switch {
	case !given:
	case mode == "AES256":
		e.Mode = objstore.SSES3
	case mode == "aws:kms":
		e.Mode = objstore.SSEKMS
	case mode == "aws:kms:dsse":
		e.Mode = objstore.SSEDSSE
	default:
		err := errSSE("The encryption method specified is not supported")
		err.Fields = append(err.Fields, field("ArgumentValue", mode))
		return e, err
	}
	kms := e.Mode == objstore.SSEKMS || e.Mode == objstore.SSEDSSE
	if e.KMSKeyID = q.get(sseKeyIDHeader); e.KMSKeyID != "" && !kms {
		return e, errInvalidArgument("Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
			strings.ToLower(sseHeader), mode)
	}
	if v := q.get(sseContextHeader); v != "" {
		if !kms {
			return e, errInvalidArgument("Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
				strings.ToLower(sseHeader), mode)
		}
		if e.Context, err = parseContext(v); err != nil {
			return e, err
		}
		q.sseContext = v
	}
	if v := q.get(sseBucketKey); v != "" {
		e.BucketKeyGiven = true
		switch strings.ToLower(v) {
		case "true":
			e.BucketKey = true
		case "false":
		default:
			return e, errInvalidArgument("The value of the header is not a boolean.", strings.ToLower(sseBucketKey), v)
		}
	}
	e.MayUse = q.mayUseKey("kms:GenerateDataKey", q.bucket, q.key)
	return e, q.guardKMSWrite(e.Mode)
}

// parseContext reads an encryption context: the base64 of a JSON object of
// strings.
func parseContext(s string) (map[string]string, error) {
	bad := func() error {
		return errInvalidArgument("The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map",
			strings.ToLower(sseContextHeader), s)
	}
	if len(s) > maxContext {
		return nil, bad()
	}
	text, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, bad()
	}
	var m map[string]string
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, bad()
	}
	return m, nil
}

// customerKey reads the three headers of a customer's key. Without any of them
// the Mode of what it returns is SSENone. The key is wiped when the request
// ends.
func (q *request) customerKey(names keyHeaders) (objstore.Encryption, error) {
	return q.parseCustomerKey(names, false)
}

// given reports whether a request has any of a customer's key's headers.
func (q *request) given(names keyHeaders) bool {
	for _, name := range [...]string{names.algorithm, names.key, names.sum} {
		if _, ok := q.single(name); ok {
			return true
		}
	}
	return false
}

// parseCustomerKey is customerKey. With anySize a key of the wrong length is no
// mistake in the request: AWS looks at the length when an object is written, and
// when one is read takes such a key for the wrong one (recorded).
func (q *request) parseCustomerKey(names keyHeaders, anySize bool) (objstore.Encryption, error) {
	algorithm, hasAlgorithm := q.single(names.algorithm)
	text, hasKey := q.single(names.key)
	sum, hasSum := q.single(names.sum)
	none := objstore.Encryption{}
	if !hasAlgorithm && !hasKey && !hasSum {
		return none, nil
	}
	const subject = "Requests specifying Server Side Encryption with Customer provided keys must "
	switch {
	case q.r.TLS == nil:
		return none, errInvalidRequest(subject + "be made over a secure connection. The key that was sent must be taken for compromised.")
	case !hasAlgorithm:
		return none, errSSE(subject + "provide a valid encryption algorithm.")
	case algorithm != "AES256":
		return none, newError(http.StatusBadRequest, "InvalidEncryptionAlgorithmError",
			"The Encryption request you specified is not valid. Supported value: AES256.",
			field("ArgumentName", "x-amz-server-side-encryption"), field("ArgumentValue", algorithm))
	case !hasKey:
		return none, errSSE(subject + "provide an appropriate secret key.")
	case !hasSum:
		return none, errSSE(subject + "provide the client calculated MD5 of the secret key.")
	}
	var stack struct{ raw, sum [48]byte } // longer ones come to stand elsewhere
	raw, err := base64.StdEncoding.AppendDecode(stack.raw[:0], []byte(text))
	defer clear(raw)
	if err != nil || len(raw) != secret.Size && !anySize {
		return none, errSSE("The secret key was invalid for the specified algorithm.")
	}
	want, err := base64.StdEncoding.AppendDecode(stack.sum[:0], []byte(sum))
	got := md5.Sum(raw)
	if err != nil || subtle.ConstantTimeCompare(got[:], want) != 1 {
		return none, errSSE("The calculated MD5 hash of the key did not match the hash that was provided.")
	}
	if len(raw) != secret.Size {
		var other [secret.Size]byte // that nothing was ever sealed under
		rand.Read(other[:])
		return objstore.Encryption{Mode: objstore.SSEC, CustomerKey: q.keep(other[:])}, nil
	}
	return objstore.Encryption{Mode: objstore.SSEC, CustomerKey: q.keep(raw)}, nil
}

// checkBlocked refuses customers' keys in a bucket that has them blocked, before
// anything is looked at that they say.
func (q *request) checkBlocked() error {
	if !q.given(customerHeaders) || q.r.TLS == nil { // without TLS the key is lost, blocked or not
		return nil
	}
	e, err := q.s.store.BucketEncryption(q.ctx, q.caller, q.bucket)
	if err == nil && e.BlockSSEC {
		err = errAccessDenied(ssecBlocked)
	}
	return err
}

// keep takes a key, and wipes raw. The key is wiped when the request ends.
func (q *request) keep(raw []byte) *secret.Key {
	var k *secret.Key
	if q.usedKeys < len(q.keys) {
		k = &q.keys[q.usedKeys]
		q.usedKeys++
	} else {
		k = new(secret.Key)
		q.moreKeys = append(q.moreKeys, k)
	}
	k.Hold(raw)
	return k
}

// readKey reads the customer's key of a read.
func (q *request) readKey() (objstore.Encryption, error) {
	return q.parseCustomerKey(customerHeaders, true)
}

// checkSSEHeaders refuses headers that choose an encryption where an operation makes
// no choice: reads, parts, deletes. Of all of them users of AWS have reported this
// answer. It is AWS's to a completion, too; but minio-go (v7.4.1), which knows that,
// sends them with completions to all other servers.
func (q *request) checkSSEHeaders(op string) error {
	if q.writes(op) || op == "CompleteMultipartUpload" {
		return nil
	}
	for _, name := range [...]string{sseHeader, sseKeyIDHeader, sseContextHeader, sseBucketKey} {
		if v, ok := q.single(name); ok {
			name = strings.ToLower(name)
			return errInvalidArgument(name+" header is not supported for this operation.", name, v)
		}
	}
	return nil
}

// setSSE tells how an object is encrypted.
func (q *request) setSSE(sse objstore.SSEInfo) {
	switch sse.Mode {
	case objstore.SSES3:
		q.set("x-amz-server-side-encryption", "AES256")
	case objstore.SSEKMS, objstore.SSEDSSE:
		q.set("x-amz-server-side-encryption", sseName(sse.Mode))
		q.set("x-amz-server-side-encryption-aws-kms-key-id", sse.KMSKeyID)
		if q.sseContext != "" {
			q.set("x-amz-server-side-encryption-context", q.sseContext)
		}
		if sse.BucketKey {
			q.set("x-amz-server-side-encryption-bucket-key-enabled", "true")
		}
	case objstore.SSEC:
		q.set("x-amz-server-side-encryption-customer-algorithm", "AES256")
		if sum := q.get(customerHeaders.sum); sum != "" {
			q.set("x-amz-server-side-encryption-customer-key-MD5", sum)
		}
	}
}
