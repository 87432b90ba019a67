package objstore

import (
	"log/slog"
	"time"
)

// AccountID is the account that everything here belongs to, as S3's, IAM's and
// KMS's names and answers have it.
const AccountID = "000000000000"

// Limits of users.
const (
	MaxUserName     = 64   // bytes (IAM: "IAM and AWS STS quotas")
	MaxUsers        = 5000 // of a store
	MaxUserKeys     = 4    // access keys of a user
	MaxUserPolicies = 10   // policies of a user
)

// User is somebody who may use the S3 door with access keys of their own, as far
// as their policies allow. The JSON is a promise of the command line.
type User struct {
	Name     string       `json:"name"`
	ID       string       `json:"id"` // never used for another user, whatever its name
	ARN      string       `json:"arn"`
	Created  time.Time    `json:"created"`
	Disabled bool         `json:"disabled"`
	Keys     []AccessKey  `json:"keys"`
	Policies []UserPolicy `json:"policies"`
	// Damaged: the record does not open. The user's keys do not work.
	Damaged bool `json:"damaged,omitempty"`
}

// AccessKey is an access key without its secret.
type AccessKey struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// NewAccessKey is an access key that was just made, with its secret. The store
// does not give the secret out again.
type NewAccessKey struct {
	User   string `json:"user"`
	ID     string `json:"access_key_id"`
	Secret string `json:"secret_access_key"`
}

// LogValue leaves the secret out.
func (k NewAccessKey) LogValue() slog.Value { return slog.StringValue(k.ID) }

// UserPolicy is a policy of a user: a ready-made one, by its name and the
// buckets that it is about (none: all), or a document in IAM's language.
type UserPolicy struct {
	Name     string   `json:"name"`
	Buckets  []string `json:"buckets,omitempty"`
	Document string   `json:"document,omitempty"`
}

// ValidUserName reports whether there can be a user of that name: 1 to 64 of
// the characters that IAM takes.
func ValidUserName(s string) bool {
	if s == "" || len(s) > MaxUserName || s == "root" {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '+' || c == '=' || c == ',' || c == '.' || c == '@' || c == '-' || c == '_':
		default:
			return false
		}
	}
	return true
}
