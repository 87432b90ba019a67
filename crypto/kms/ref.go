package kms

import (
	"errors"
	"fmt"
	"strings"
)

// A request names an EK in one of four ways, as it would one of AWS KMS:
//
//	backup                                             its name
//	alias/photos                                       an alias of it
//	arn:aws:kms:REGION:ACCOUNT:key/backup              the ARN of the key
//	arn:aws:kms:REGION:ACCOUNT:alias/photos            that of an alias
//
// This file tells them apart and words what AWS says about those that are not
// there. It knows no keys; Service.Resolve does.

// Alias is another name of an EK, without "alias/" before it: 1 to 250 bytes of
// [A-Za-z0-9/_-]. Those that begin with "aws/" are of keys that the service
// makes itself.
type Alias string

// ManagedS3 is the alias of the key of SSE-KMS requests without a key id. The
// key is made when it is first resolved.
const ManagedS3 Alias = "aws/s3"

const (
	managedPrefix = "aws/"
	aliasPrefix   = "alias/"
	keyPrefix     = "key/"
	arnPrefix     = "arn:"
	arnHead       = "arn:aws:kms:"

	maxAlias = 250 // AWS: 256 with "alias/"
	// maxRef bounds a reference, in bytes: AWS allows 2,048.
	maxRef = 2048
)

// Validate returns ErrBadID for anything but an alias as described above.
func (a Alias) Validate() error {
	if len(a) == 0 || len(a) > maxAlias {
		return ErrBadID
	}
	for _, c := range []byte(a) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '_', c == '-':
		default:
			return ErrBadID
		}
	}
	return nil
}

// IsManaged reports whether it is an alias of a key that the service makes.
func (a Alias) IsManaged() bool { return strings.HasPrefix(string(a), managedPrefix) }

// Ref names an EK by its name or by one of its aliases: one of the two is set.
type Ref struct {
	ID    KeyID
	Alias Alias
}

// Names is where a key service's keys are, as their ARNs say it. The zero value
// names nothing.
type Names struct {
	Region  string
	Account string // 12 digits
}

// KeyARN is the ARN of an EK.
func (n Names) KeyARN(id KeyID) string {
	return arnHead + n.Region + ":" + n.Account + ":" + keyPrefix + string(id)
}

// AliasARN is the ARN of an alias.
func (n Names) AliasARN(a Alias) string {
	return arnHead + n.Region + ":" + n.Account + ":" + aliasPrefix + string(a)
}

// RefError says why a reference leads to no key, in AWS's words. It is an
// ErrNotFound.
type RefError struct{ Msg string }

func (e *RefError) Error() string { return e.Msg }
func (e *RefError) Unwrap() error { return ErrNotFound }

// ParseRef tells what text names. It does not look for the key. Error: a
// *RefError for what can be the name of no key.
func (n Names) ParseRef(text string) (Ref, error) {
	if len(text) > maxRef {
		return Ref{}, &RefError{"Invalid keyId"}
	}
	rest, isARN := text, strings.HasPrefix(text, arnPrefix)
	if isARN {
		f := strings.SplitN(text, ":", 6)
		if len(f) != 6 || f[0]+":"+f[1]+":"+f[2]+":" != arnHead {
			return Ref{}, &RefError{fmt.Sprintf("Invalid arn %s", text)}
		}
		if f[3] != n.Region {
			// AWS names the region alone (recorded).
			return Ref{}, &RefError{fmt.Sprintf("Invalid arn %s", f[3])}
		}
		rest = f[5]
		if f[4] != n.Account {
			return Ref{}, absentARN(text)
		}
		if id, ok := strings.CutPrefix(rest, keyPrefix); ok {
			if KeyID(id).Validate() != nil {
				return Ref{}, absentARN(text)
			}
			return Ref{ID: KeyID(id)}, nil
		}
	}
	if alias, ok := strings.CutPrefix(rest, aliasPrefix); ok {
		if Alias(alias).Validate() != nil {
			return Ref{}, &RefError{fmt.Sprintf("Invalid keyId '%s'", text)}
		}
		return Ref{Alias: Alias(alias)}, nil
	}
	if isARN {
		return Ref{}, &RefError{fmt.Sprintf("Invalid arn %s", text)}
	}
	if KeyID(rest).Validate() != nil {
		return Ref{}, &RefError{fmt.Sprintf("Invalid keyId '%s'", text)}
	}
	return Ref{ID: KeyID(rest)}, nil
}

// Absent words the error of a ParseRef or Resolve that found no key: err itself,
// if it is a *RefError already or no ErrNotFound. text is what ParseRef made r of.
func (n Names) Absent(text string, r Ref, err error) error {
	var said *RefError
	switch {
	case !errors.Is(err, ErrNotFound), errors.As(err, &said):
		return err
	case r.Alias != "":
		return &RefError{fmt.Sprintf("Alias %s is not found.", n.AliasARN(r.Alias))}
	case strings.HasPrefix(text, arnPrefix), isUUID(text):
		return absentARN(n.KeyARN(r.ID))
	}
	// AWS's keys have UUIDs for names: what is none is refused in other words
	// than one that is not there (recorded).
	return &RefError{fmt.Sprintf("Invalid keyId '%s'", text)}
}

func absentARN(arn string) error { return &RefError{fmt.Sprintf("Key '%s' does not exist", arn)} }

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return true
}
