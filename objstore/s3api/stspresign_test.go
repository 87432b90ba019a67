package s3api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// A URL that proves who somebody is, which is what they are made for, must not give
// their credentials to whoever it is shown to.
func TestPresignedRequestsOfSTSAreHeldToTheirBody(t *testing.T) {
	d := openDoor(t)
	const who, more = "Action=GetCallerIdentity&Version=2011-06-15", "Action=GetSessionToken&Version=2011-06-15"
	sum := sha256.Sum256([]byte(who))
	for _, c := range []struct {
		signed, body string
		status       int
	}{
		{hex.EncodeToString(sum[:]), who, 200},
		{hex.EncodeToString(sum[:]), more, 403},
		{"UNSIGNED-PAYLOAD", who, 403},
		{"UNSIGNED-PAYLOAD", more, 403},
	} {
		r, err := http.NewRequest("POST", d.server.URL+"/?X-Amz-Expires=60", nil)
		if err != nil {
			t.Fatal(err)
		}
		link, _, err := v4.NewSigner().PresignHTTP(context.Background(), d.creds, r, c.signed, "sts", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if r, err = http.NewRequest("POST", link, strings.NewReader(c.body)); err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a := d.stsAnswer(r)
		if a.status != c.status || a.status == 403 && a.Error.Code != "SignatureDoesNotMatch" {
			t.Errorf("%s, signed %s: %d %s", c.body, c.signed, a.status, a.body)
		}
	}
}
