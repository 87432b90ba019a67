package sigv4

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrUnknownKey is what a Lookup returns for an access key id that does not
// exist or is not in force.
var ErrUnknownKey = errors.New("sigv4: unknown access key id")

// What a Session returns.
var (
	ErrInvalidToken = errors.New("sigv4: session token is none, or of another access key")
	ErrExpiredToken = errors.New("sigv4: session has ended")
)

// Error is a refusal as S3 words it. Everything that Verify and Result.Body
// hold against a request is an *Error; any other error comes from the Lookup or
// the connection.
type Error struct {
	Code    string // of S3's error document
	Message string
	Status  int // of the HTTP response
	// Fields are the further elements of the error document, in order. They
	// repeat what the client sent, so they go back to it and not into logs.
	Fields []Field
}

// Field is one element of an error document.
type Field struct{ Name, Value string }

// Error and LogValue leave the Fields out.
func (e *Error) Error() string        { return "sigv4: " + e.Code + ": " + e.Message }
func (e *Error) LogValue() slog.Value { return slog.StringValue(e.Code + ": " + e.Message) }

func refuse(status int, code, message string, fields ...Field) *Error {
	return &Error{Code: code, Message: message, Status: status, Fields: fields}
}

func errInvalidRequest(message string) *Error {
	return refuse(http.StatusBadRequest, "InvalidRequest", message)
}

func errInvalidArgument(message, name, value string) *Error {
	return refuse(http.StatusBadRequest, "InvalidArgument", message, Field{"ArgumentName", name}, Field{"ArgumentValue", value})
}

// errHeader and errQuery differ between the two ways to carry a signature.
func errHeader(message string, fields ...Field) *Error {
	return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+message, fields...)
}

func errQuery(message string, fields ...Field) *Error {
	return refuse(http.StatusBadRequest, "AuthorizationQueryParametersError", message, fields...)
}

// errCredential is a fault in the credential, wherever that was.
func (c *claim) errCredential(message string, fields ...Field) *Error {
	switch {
	case c.presigned:
		return errQuery("Error parsing the X-Amz-Credential parameter; "+message, fields...)
	case c.form:
		return refuse(http.StatusBadRequest, "InvalidArgument", message, append([]Field{{"ArgumentName", "X-Amz-Credential"}}, fields...)...)
	}
	return errHeader(message, fields...)
}

// errDate is a credential of another day than the request, which AWS words in
// another way wherever it was.
func (c *claim) errDate(day string) *Error {
	message := `Invalid credential date "` + c.date + `". This date is not the same as X-Amz-Date: "` + day + `".`
	switch {
	case c.presigned:
		return errQuery(message)
	case c.form:
		return c.errCredential(message)
	}
	return errHeader("Invalid credential date. Date is not the same as X-Amz-Date.")
}

func errExpiredToken() *Error {
	return refuse(http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
}

// errToken is AWS's answer for a token that does not belong to the key.
func errToken() *Error {
	return refuse(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
}

func errUnsupportedMechanism() *Error {
	return errInvalidRequest("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

func errAccessDenied(message string, fields ...Field) *Error {
	return refuse(http.StatusForbidden, "AccessDenied", message, fields...)
}

func errHeadersNotSigned(names []string) *Error {
	return errAccessDenied("There were headers present in the request which were not signed",
		Field{"HeadersNotSigned", strings.Join(names, ", ")})
}

func errInvalidAccessKeyID(id string) *Error {
	return refuse(http.StatusForbidden, "InvalidAccessKeyId",
		"The AWS Access Key Id you provided does not exist in our records.", Field{"AWSAccessKeyId", id})
}

func errSkewed(requestTime string, now time.Time, maxSkew time.Duration) *Error {
	return refuse(http.StatusForbidden, "RequestTimeTooSkewed",
		"The difference between the request time and the current time is too large.",
		Field{"RequestTime", requestTime},
		Field{"ServerTime", isoTime(now)},
		Field{"MaxAllowedSkewMilliseconds", strconv.FormatInt(maxSkew.Milliseconds(), 10)})
}

// maxEchoed bounds the canonical request that an error repeats, in bytes; its
// hex dump is three times as long.
const maxEchoed = 64 << 10

func errSignature(keyID, stringToSign, provided, canonicalRequest string) *Error {
	fields := []Field{
		{"AWSAccessKeyId", keyID},
		{"StringToSign", stringToSign},
		{"SignatureProvided", provided},
		{"StringToSignBytes", hexBytes(stringToSign)},
	}
	if canonicalRequest != "" && len(canonicalRequest) <= maxEchoed {
		fields = append(fields,
			Field{"CanonicalRequest", canonicalRequest},
			Field{"CanonicalRequestBytes", hexBytes(canonicalRequest)})
	}
	return refuse(http.StatusForbidden, "SignatureDoesNotMatch",
		"The request signature we calculated does not match the signature you provided. Check your key and signing method.", fields...)
}

func errContentSHA256(client string, computed []byte) *Error {
	return refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch",
		"The provided 'x-amz-content-sha256' header does not match what was computed.",
		Field{"ClientComputedContentSHA256", client},
		Field{"S3ComputedContentSHA256", hex.EncodeToString(computed)})
}

// errIncompleteBody is for any aws-chunked stream that is not well formed, too.
func errIncompleteBody() *Error {
	return refuse(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
}

// errLength is for a body whose length is not the announced one.
func errLength(header string) *Error {
	return refuse(http.StatusBadRequest, "IncompleteBody",
		"You did not provide the number of bytes specified by the "+header+" HTTP header")
}

func errMissingLength() *Error {
	return refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
}

func errChunkSize(index int, size int64) *Error {
	return refuse(http.StatusForbidden, "InvalidChunkSizeError",
		"Only the last chunk is allowed to have a size less than "+strconv.Itoa(minChunk)+" bytes",
		Field{"Chunk", strconv.Itoa(index)}, Field{"BadChunkSize", strconv.FormatInt(size, 10)})
}

func errTrailer() *Error {
	return refuse(http.StatusBadRequest, "MalformedTrailerError",
		"The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

// hexBytes dumps s as S3 does: "41 57 53".
func hexBytes(s string) string { return fmt.Sprintf("% x", s) }

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
