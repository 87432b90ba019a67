package s3api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/iam"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// This file answers the three operations of STS that give and tell temporary
// credentials, on the endpoint's root, where S3 has none but ListBuckets: "AWS
// Security Token Service API Reference", query protocol. There are no roles: who
// assumes one, of any name, may what they may themselves, less what the session's own
// policy leaves out.

const (
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	stsVersion   = "2011-06-15"

	// maxSTSBytes bounds the parameters of a request.
	maxSTSBytes = 16 << 10

	// Lives of sessions.
	minSession             = 15 * time.Minute
	maxSession             = 12 * time.Hour
	defaultRoleSession     = time.Hour
	defaultSession         = 12 * time.Hour
	minRoleARN, maxRoleARN = 20, 2048
)

// isSTS says whether the request is one of STS.
func (q *request) isSTS() bool {
	if q.bucket != "" || q.key != "" || q.virtualHost {
		return false
	}
	if q.r.Method == http.MethodPost {
		kind, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
		return kind == "application/x-www-form-urlencoded"
	}
	_, action := q.query["Action"]
	return q.r.Method == http.MethodGet && action
}

func errSTS(status int, code, message string) *apiError { return newError(status, code, message) }

func errValidation(message string) *apiError {
	return errSTS(http.StatusBadRequest, "ValidationError", message)
}

// serveSTS answers a request of STS.
func (q *request) serveSTS() error {
	q.sts, q.op = true, "STS"
	params, err := q.authenticateSTS()
	if err != nil {
		return err
	}
	if v := params.Get("Version"); v != stsVersion {
		return errSTS(http.StatusBadRequest, "InvalidAction", "Could not find operation "+params.Get("Action")+" for version "+v)
	}
	action := params.Get("Action")
	if q.auth.Anonymous {
		return errSTS(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	switch action {
	case "GetCallerIdentity":
		q.op = action
		return q.getCallerIdentity()
	case "AssumeRole", "GetSessionToken":
		q.op = action
		if q.r.TLS == nil {
			return errSTS(http.StatusForbidden, "AccessDenied", "Temporary credentials are given over TLS alone.")
		}
		if action == "AssumeRole" {
			return q.assumeRole(params)
		}
		return q.getSessionToken(params)
	case "":
		return errSTS(http.StatusBadRequest, "MissingAction", "Missing Action")
	}
	return errSTS(http.StatusBadRequest, "InvalidAction", "Could not find operation "+action+" for version "+stsVersion)
}

// authenticateSTS verifies the signature, which is for the service sts and of
// the whole body, and returns the parameters. Clients of STS send no digest: what
// they signed is that of the body.
func (q *request) authenticateSTS() (url.Values, error) {
	q.auth = &sigv4.Result{Anonymous: true}
	q.body.init(q.w, q.r.Body)
	if q.r.ContentLength > maxSTSBytes {
		return nil, errSTS(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Your request was too big.")
	}
	body, err := io.ReadAll(io.LimitReader(&q.body, maxSTSBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxSTSBytes {
		return nil, errSTS(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Your request was too big.")
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	q.r.Header.Set("X-Amz-Content-Sha256", digest)
	q.r.Body = io.NopCloser(bytes.NewReader(body))
	auth, err := q.s.stsVerifier.Verify(q.r)
	if err != nil {
		return nil, err
	}
	if q.r.Method == http.MethodPost && !auth.Anonymous && auth.Payload != digest {
		// Whoever has the URL would say what is asked for.
		return nil, errSTS(http.StatusForbidden, "SignatureDoesNotMatch", "The request must be signed with its body.")
	}
	q.auth, q.header = auth, q.r.Header
	if err := q.identify(); err != nil {
		return nil, err
	}
	text := string(body)
	if q.r.Method == http.MethodGet {
		text = q.r.URL.RawQuery
	}
	params, err := url.ParseQuery(text)
	if err != nil {
		return nil, errSTS(http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error.")
	}
	for name, values := range params {
		if len(values) > 1 {
			return nil, errValidation("The parameter " + name + " was given twice.")
		}
	}
	return params, nil
}

// stsDocument begins the answer to an operation; endSTS sends it.
func (q *request) stsDocument(x *xmlWriter) {
	x.b = append(x.b, "<"+q.op+`Response xmlns="`+stsNamespace+`">`...)
	x.open(q.op + "Result")
}

func (q *request) endSTS(x *xmlWriter) error {
	x.close(q.op + "Result")
	x.open("ResponseMetadata")
	x.text("RequestId", q.id)
	x.close("ResponseMetadata")
	x.close(q.op + "Response")
	h := q.w.Header()
	h["Content-Type"] = []string{"text/xml"}
	h["Content-Length"] = []string{strconv.Itoa(len(x.b))}
	q.w.WriteHeader(http.StatusOK)
	_, err := q.w.Write(x.b)
	return err
}

// failSTS is the document of an error, in the words of STS.
func (q *request) failSTS(e *apiError) *xmlWriter {
	switch e.Code {
	case "InvalidAccessKeyId", "InvalidToken":
		e = errSTS(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	case "ExpiredToken":
		e = errSTS(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
	case "MalformedPolicy":
		e = errSTS(http.StatusBadRequest, "MalformedPolicyDocument", e.Message)
	case "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError":
		e = errSTS(http.StatusForbidden, "IncompleteSignature", e.Message)
	case "RequestTimeTooSkewed":
		e = errSTS(http.StatusForbidden, "SignatureDoesNotMatch", e.Message)
	}
	kind := "Sender"
	if e.Status >= 500 {
		kind = "Receiver"
	}
	q.code = e.Code
	x := &xmlWriter{}
	x.b = append(x.b, `<ErrorResponse xmlns="`+stsNamespace+`">`...)
	x.open("Error")
	x.text("Type", kind)
	x.text("Code", e.Code)
	x.text("Message", e.Message)
	x.close("Error")
	x.text("RequestId", q.id)
	x.close("ErrorResponse")
	h := q.w.Header()
	h["Content-Type"] = []string{"text/xml"}
	h["Content-Length"] = []string{strconv.Itoa(len(x.b))}
	q.w.WriteHeader(e.Status)
	return x
}

func (q *request) getCallerIdentity() error {
	var x xmlWriter
	q.stsDocument(&x)
	x.text("Arn", q.principal.SessionARN())
	x.text("UserId", q.principal.UserID())
	x.text("Account", objstore.AccountID)
	return q.endSTS(&x)
}

// duration reads DurationSeconds.
func duration(params url.Values, def time.Duration) (time.Duration, error) {
	v := params.Get("DurationSeconds")
	if v == "" {
		return def, nil
	}
	seconds, err := strconv.ParseInt(v, 10, 32)
	d := time.Duration(seconds) * time.Second
	switch {
	case err != nil:
		return 0, errValidation("DurationSeconds is not a number of seconds.")
	case d < minSession:
		return 0, errValidation("1 validation error detected: Value '" + v + "' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900")
	case d > maxSession:
		return 0, errValidation("1 validation error detected: Value '" + v + "' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200")
	}
	return d, nil
}

func (q *request) getSessionToken(params url.Values) error {
	if params.Get("SerialNumber") != "" || params.Get("TokenCode") != "" {
		return errSTS(http.StatusForbidden, "AccessDenied", "MultiFactorAuthentication failed: there are no MFA devices here.")
	}
	d, err := duration(params, defaultSession)
	if err != nil {
		return err
	}
	n, err := q.s.iam.BeginSession(q.ctx, q.principal, iam.SessionRequest{KeyID: q.auth.AccessKeyID, Duration: d})
	if err != nil {
		return q.denied(err)
	}
	var x xmlWriter
	q.stsDocument(&x)
	sessionCredentials(&x, &n)
	return q.endSTS(&x)
}

func (q *request) assumeRole(params url.Values) error {
	role, name, document := params.Get("RoleArn"), params.Get("RoleSessionName"), params.Get("Policy")
	switch {
	case len(role) < minRoleARN || len(role) > maxRoleARN:
		return errValidation("1 validation error detected: Value '" + role + "' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20")
	case !validSessionName(name):
		return errValidation("1 validation error detected: Value '" + name + "' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]{2,64}")
	case len([]rune(document)) > iam.MaxSessionPolicy:
		return errValidation("1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048")
	case params.Get("SerialNumber") != "" || params.Get("TokenCode") != "":
		return errSTS(http.StatusForbidden, "AccessDenied", "MultiFactorAuthentication failed: there are no MFA devices here.")
	}
	// What would narrow the session down, or mark it, is not to be ignored.
	for param := range params {
		if strings.HasPrefix(param, "PolicyArns.") || strings.HasPrefix(param, "Tags.") {
			return errValidation("There are no managed policies and no session tags here: " + param + " was not looked at.")
		}
	}
	d, err := duration(params, defaultRoleSession)
	if err != nil {
		return err
	}
	path, ours := strings.CutPrefix(role, "arn:aws:iam::"+objstore.AccountID+":role/")
	if refused, err := q.s.iam.Denied(q.ctx, q.principal, iam.Access{Action: "sts:AssumeRole", ARN: role, Values: q.access("", "", "", "").Values}); err != nil {
		return err
	} else if inRole := q.principal.SessionARN() != q.principal.ARN(); refused || inRole || !ours || !validRole(path) {
		return errSTS(http.StatusForbidden, "AccessDenied", "User: "+q.principal.SessionARN()+" is not authorized to perform: sts:AssumeRole on resource: "+role)
	}
	n, err := q.s.iam.BeginSession(q.ctx, q.principal, iam.SessionRequest{
		KeyID: q.auth.AccessKeyID, Role: path[strings.LastIndexByte(path, '/')+1:], Name: name, Policy: document, Duration: d,
	})
	if err != nil {
		return q.denied(err)
	}
	var x xmlWriter
	q.stsDocument(&x)
	x.open("AssumedRoleUser")
	x.text("AssumedRoleId", n.ID)
	x.text("Arn", n.ARN)
	x.close("AssumedRoleUser")
	sessionCredentials(&x, &n)
	if document != "" {
		x.int("PackedPolicySize", int64(len(document)*100/iam.MaxSessionPolicy))
	}
	return q.endSTS(&x)
}

func sessionCredentials(x *xmlWriter, n *iam.Credentials) {
	x.open("Credentials")
	x.text("AccessKeyId", n.KeyID)
	x.text("SecretAccessKey", n.Secret)
	x.text("SessionToken", n.Token)
	x.text("Expiration", n.Expires.Format("2006-01-02T15:04:05Z"))
	x.close("Credentials")
}

// validSessionName holds for what a user may be called, but for one character.
func validSessionName(s string) bool {
	return len(s) >= 2 && (objstore.ValidUserName(s) || s == "root")
}

// validRole takes a role's path and name.
func validRole(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if !objstore.ValidUserName(part) && part != "root" {
			return false
		}
	}
	return true
}
