package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // of Signature Version 2, which is still sent in forms
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"time"
)

// Form is what a browser's POST form says of its signature, as the fields have
// it: what is signed is the policy document, and nothing else. Whoever acts on
// the form holds every other field to that document.
//
// Reference: "Authenticating Requests: Browser-Based Uploads Using POST" in the
// Amazon S3 API reference.
type Form struct {
	Policy        string // base64, as sent
	SecurityToken string

	// Signature Version 4.
	Algorithm, Credential, Date, Signature string

	// Signature Version 2.
	AccessKeyID, SignatureV2 string
}

// Unsigned is a Result for a request whose signature, if any, is in its body:
// Anonymous until VerifyForm says who sent it.
func Unsigned(r *http.Request) *Result {
	res := &Result{Anonymous: true}
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	res.Body, res.ContentLength = &plainBody{src: body, remaining: r.ContentLength}, r.ContentLength
	return res
}

// VerifyForm verifies the signature of a form's policy and sets who signed it.
// A form without any of the fields of a signature stays Anonymous. Whether the
// policy is in force, and what it says, is the caller's to find out.
func (v *Verifier) VerifyForm(ctx context.Context, f Form, res *Result) error {
	switch {
	case f.Algorithm != "" || f.Credential != "" || f.Signature != "":
		return v.verifyForm4(ctx, f, res)
	case f.AccessKeyID != "" || f.SignatureV2 != "":
		return v.verifyForm2(ctx, f, res)
	}
	return nil
}

func (v *Verifier) verifyForm4(ctx context.Context, f Form, res *Result) error {
	for _, p := range [...][2]string{{"X-Amz-Algorithm", f.Algorithm}, {"X-Amz-Credential", f.Credential}, {"X-Amz-Date", f.Date}, {"X-Amz-Signature", f.Signature}, {"Policy", f.Policy}} {
		if p[1] == "" {
			return ErrMissingField(p[0])
		}
	}
	if f.Algorithm != algorithm {
		return errInvalidArgument(`X-Amz-Algorithm only supports "`+algorithm+`"`, "X-Amz-Algorithm", f.Algorithm)
	}
	c := &claim{form: true}
	if err := c.parseCredential(f.Credential); err != nil {
		return err
	}
	t, ok := parseLongDate(f.Date)
	if !ok {
		return errInvalidArgument(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`, "X-Amz-Date", f.Date)
	}
	c.time, c.timestamp = t, f.Date
	if err := c.check(v.Region, v.service()); err != nil {
		return err
	}
	secret, err := v.secret(ctx, c.keyID, f.SecurityToken)
	if err != nil {
		return err
	}
	c.parseSignature(f.Signature)
	key := deriveKey(secret, c.date, c.region, c.service)
	want := mac(key[:], []byte(f.Policy))
	if !hmac.Equal(want[:], c.signature[:]) {
		return errSignature(c.keyID, f.Policy, f.Signature, "")
	}
	res.signedBy(c.keyID, f.SecurityToken, c.time)
	return nil
}

func (v *Verifier) verifyForm2(ctx context.Context, f Form, res *Result) error {
	for _, p := range [...][2]string{{"AWSAccessKeyId", f.AccessKeyID}, {"Signature", f.SignatureV2}, {"Policy", f.Policy}} {
		if p[1] == "" {
			return ErrMissingField(p[0])
		}
	}
	if len(f.AccessKeyID) > maxKeyID {
		return errInvalidAccessKeyID(f.AccessKeyID[:maxKeyID])
	}
	secret, err := v.secret(ctx, f.AccessKeyID, f.SecurityToken)
	if err != nil {
		return err
	}
	if !equalV2(secret, f.Policy, f.SignatureV2) {
		return errSignature(f.AccessKeyID, f.Policy, f.SignatureV2, "")
	}
	res.signedBy(f.AccessKeyID, f.SecurityToken, time.Time{})
	return nil
}

// equalV2 compares a signature of version 2 with the one of text.
func equalV2(secret []byte, text, signature string) bool {
	m := hmac.New(sha1.New, secret)
	m.Write([]byte(text))
	got, err := base64.StdEncoding.DecodeString(signature)
	return err == nil && subtle.ConstantTimeCompare(m.Sum(nil), got) == 1
}

// signedBy sets who signed.
func (res *Result) signedBy(keyID, token string, at time.Time) {
	res.Anonymous, res.AccessKeyID, res.Token, res.Time = false, keyID, token, at
	res.Payload = unsignedPayload
}

// ErrMissingField refuses a form without a field that it must have.
func ErrMissingField(name string) *Error {
	return errInvalidArgument("Bucket POST must contain a field named '"+name+"'.  If it is specified, please check the order of the fields.", name, "")
}
