package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestSessionTokensAreLookedUpWithTheirKey: in a header and in a query, and never
// a key of a session without its token.
func TestSessionTokensAreLookedUpWithTheirKey(t *testing.T) {
	var refuse error
	v := testVerifier()
	v.Session = func(_ context.Context, id, token string) ([]byte, error) {
		if id != "TEMPORARY" || token != "tok+en/=" {
			return nil, ErrInvalidToken
		}
		return []byte("its secret"), refuse
	}
	creds := testCredentials
	creds.AccessKeyID, creds.SecretAccessKey, creds.SessionToken = "TEMPORARY", "its secret", "tok+en/="
	ctx := context.Background()
	inHeader := func() *http.Request {
		r := newRequest(t, "GET", "s3.example.com", "k", "")
		r.Header.Set("X-Amz-Content-Sha256", hexSHA256(""))
		if err := v4.NewSigner(s3Signer).SignHTTP(ctx, creds, r, hexSHA256(""), "s3", testRegion, testTime); err != nil {
			t.Fatal(err)
		}
		return overWire(t, r, "")
	}
	inQuery := func() *http.Request {
		link, _, err := v4.NewSigner(s3Signer).PresignHTTP(ctx, creds, newRequest(t, "GET", "s3.example.com", "k", "X-Amz-Expires=60"), unsignedPayload, "s3", testRegion, testTime)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest("GET", link, nil)
		if err != nil {
			t.Fatal(err)
		}
		return overWire(t, r, "")
	}
	for how, request := range map[string]func() *http.Request{"header": inHeader, "query": inQuery} {
		refuse = nil
		if res, err := v.Verify(request()); err != nil || res.AccessKeyID != "TEMPORARY" || res.Token != "tok+en/=" {
			t.Errorf("%s: %+v %v", how, res, err)
		}
		for _, c := range []struct {
			err    error
			status int
			code   string
		}{{fmt.Errorf("x: %w", ErrExpiredToken), 400, "ExpiredToken"}, {ErrInvalidToken, 400, "InvalidToken"}, {ErrUnknownKey, 403, "InvalidAccessKeyId"}} {
			refuse = c.err
			var e *Error
			if _, err := v.Verify(request()); !errors.As(err, &e) || e.Code != c.code || e.Status != c.status {
				t.Errorf("%s: %v, want %s", how, err, c.code)
			}
		}
		refuse = nil
		two := request()
		if how == "header" {
			two.URL.RawQuery = "x-amz-security-token=other"
		} else {
			two.Header.Set("X-Amz-Security-Token", "other")
		}
		if _, err := v.Verify(two); err == nil {
			t.Errorf("%s: two tokens", how)
		}
		if _, err := testVerifier().Verify(request()); err == nil {
			t.Errorf("%s: a token where there are no sessions", how)
		}
	}
	creds.SessionToken = ""
	var e *Error
	if _, err := v.Verify(inHeader()); !errors.As(err, &e) || e.Code != "InvalidAccessKeyId" {
		t.Errorf("without its token: %v", err)
	}
}
