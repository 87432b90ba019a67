package kms_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
)

var names = kms.Names{Region: "eu-west-1", Account: "000000000000"}

const uuid = "134f2428-cec1-4b25-a1ae-9048164dba47"

func TestRefsNameKeysAsAWSDoes(t *testing.T) {
	for text, want := range map[string]kms.Ref{
		"backup":       {ID: "backup"},
		"a.b_c-1":      {ID: "a.b_c-1"},
		uuid:           {ID: uuid},
		"alias/photos": {Alias: "photos"},
		"alias/aws/s3": {Alias: kms.ManagedS3},
		"arn:aws:kms:eu-west-1:000000000000:key/backup":        {ID: "backup"},
		"arn:aws:kms:eu-west-1:000000000000:alias/photos/2026": {Alias: "photos/2026"},
		strings.Repeat("k", 128):                               {ID: kms.KeyID(strings.Repeat("k", 128))},
		"alias/" + strings.Repeat("k", 250):                    {Alias: kms.Alias(strings.Repeat("k", 250))},
	} {
		got, err := names.ParseRef(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
			continue
		}
		arn := names.KeyARN(got.ID)
		if got.ID == "" {
			arn = names.AliasARN(got.Alias)
		}
		if again, err := names.ParseRef(arn); err != nil || again != want {
			t.Errorf("%q: %+v, %v", arn, again, err)
		}
	}
}

// TestRefsThatLeadNowhereAreRefusedInAWSsWords: those with "recorded" are AWS's.
func TestRefsThatLeadNowhereAreRefusedInAWSsWords(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"fake-key-id", "Invalid keyId 'fake-key-id'"},                                                                                 // recorded
		{uuid, "Key 'arn:aws:kms:eu-west-1:000000000000:key/" + uuid + "' does not exist"},                                             // recorded
		{"arn:aws:kms:eu-west-1:000000000000:key/" + uuid, "Key 'arn:aws:kms:eu-west-1:000000000000:key/" + uuid + "' does not exist"}, // recorded
		{"arn:aws:kms:us-east-2:000000000000:key/" + uuid, "Invalid arn us-east-2"},                                                    // recorded
		{"arn:aws:kms:eu-west-1:111111111111:key/k", "Key 'arn:aws:kms:eu-west-1:111111111111:key/k' does not exist"},
		{"arn:aws:kms:eu-west-1:000000000000:key/", "Key 'arn:aws:kms:eu-west-1:000000000000:key/' does not exist"},
		{"arn:aws:kms:eu-west-1:000000000000:key/a/b", "Key 'arn:aws:kms:eu-west-1:000000000000:key/a/b' does not exist"},
		{"arn:aws:kms:eu-west-1:000000000000:alias/photos", "Alias arn:aws:kms:eu-west-1:000000000000:alias/photos is not found."},
		{"alias/photos", "Alias arn:aws:kms:eu-west-1:000000000000:alias/photos is not found."},
		{"alias/", "Invalid keyId 'alias/'"},
		{"alias/x y", "Invalid keyId 'alias/x y'"},
		{"arn:aws:kms:eu-west-1:000000000000:user/k", "Invalid arn arn:aws:kms:eu-west-1:000000000000:user/k"},
		{"arn:aws:s3:::bucket", "Invalid arn arn:aws:s3:::bucket"},
		{"arn:", "Invalid arn arn:"},
		{"arn:aws:kms", "Invalid arn arn:aws:kms"},
		{"", "Invalid keyId ''"},
		{"a b", "Invalid keyId 'a b'"},
		{"a/b", "Invalid keyId 'a/b'"},
		{strings.Repeat("k", 129), "Invalid keyId '" + strings.Repeat("k", 129) + "'"},
		{strings.Repeat("k", 4096), "Invalid keyId"},
	} {
		r, err := names.ParseRef(test.text)
		if err == nil {
			err = kms.ErrNotFound
		}
		err = names.Absent(test.text, r, err)
		var ref *kms.RefError
		if !errors.As(err, &ref) || ref.Msg != test.want || !errors.Is(err, kms.ErrNotFound) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
	if err := names.Absent("k", kms.Ref{ID: "k"}, kms.ErrUnavailable); err != kms.ErrUnavailable {
		t.Errorf("another error became %v", err)
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"backup", "alias/aws/s3", names.KeyARN("k"), names.AliasARN("a"), "arn:::::", uuid} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := names.ParseRef(text)
		if err != nil {
			if !errors.Is(err, kms.ErrNotFound) || r != (kms.Ref{}) {
				t.Fatalf("%+v, %v", r, err)
			}
			return
		}
		if (r.ID == "") == (r.Alias == "") || r.ID != "" && r.ID.Validate() != nil || r.Alias != "" && r.Alias.Validate() != nil {
			t.Fatalf("%+v", r)
		}
	})
}
