package iam

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

// A misspelt key is no mistake to S3, whose answer has no place for a warning.
func TestMisspeltConditionKeysOfABucketAreLogged(t *testing.T) {
	store := storetest.Open(t, storetest.Options{})
	var log bytes.Buffer
	s, err := Open(bg, store.Store, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	makeBucket(t, s, "photos")
	for _, c := range []struct{ key, says string }{{"aws:SourceIp", ""}, {"aws:SourceIpp", "aws:sourceipp"}} {
		log.Reset()
		document := statementsOf(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::photos/*","Condition":{"NotIpAddress":{"` + c.key + `":"10.0.0.0/8"}}}`)
		if err := s.SetBucketPolicy(bg, s3C, "photos", []byte(document)); err != nil {
			t.Fatal(err)
		}
		if got := log.String(); (c.says == "") != (got == "") || !strings.Contains(got, c.says) || c.says != "" && !strings.Contains(got, "bucket=photos") {
			t.Errorf("%s: log %q", c.key, got)
		}
	}
}
