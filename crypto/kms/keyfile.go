package kms

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/cofferfs/coffer/crypto/secret"
)

// A key file is one line of text:
//
//	coffer-key-1:<256-bit key, base64url without padding, 43 characters>:<check, 8 hex digits>
//
// The check is the first 4 bytes of SHA-256("coffer key file 1" || key). It
// tells a damaged key file from a wrong one and says nothing to anyone who does
// not hold the file already.
const (
	keyFileFamily = "coffer-key-"
	keyFilePrefix = keyFileFamily + "1:"
	keyFileCheck  = "coffer key file 1"
	keyFileLen    = len(keyFilePrefix) + 43 + 1 + 8
)

// FormatKeyFile returns the text of a key file, with a line end. The caller
// clears it.
func FormatKeyFile(key *secret.Key) []byte {
	text := make([]byte, 0, keyFileLen+1)
	text = append(text, keyFilePrefix...)
	text = base64.RawURLEncoding.AppendEncode(text, key.Bytes())
	text = append(text, ':')
	text = append(text, keyCheck(key.Bytes())...)
	return append(text, '\n')
}

// ParseKeyFile reads the text of a key file; one line end after it (LF or CRLF)
// is ignored. Errors: ErrKeyFile (damaged, or no key file), ErrVersion. The
// caller clears text, and owns the key and wipes it.
func ParseKeyFile(text []byte) (*secret.Key, error) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if !bytes.HasPrefix(line, []byte(keyFileFamily)) {
		return nil, fmt.Errorf("does not begin with %q: %w", keyFilePrefix, ErrKeyFile)
	}
	if !bytes.HasPrefix(line, []byte(keyFilePrefix)) {
		return nil, fmt.Errorf("key file does not begin with %q: %w", keyFilePrefix, ErrVersion)
	}
	if len(line) != keyFileLen {
		return nil, fmt.Errorf("key file has %d characters, want %d: %w", len(line), keyFileLen, ErrKeyFile)
	}
	body := line[len(keyFilePrefix):]
	var key [secret.Size]byte
	defer clear(key[:])
	if _, err := base64.RawURLEncoding.Strict().Decode(key[:], body[:43]); err != nil || body[43] != ':' {
		return nil, fmt.Errorf("key file is not well-formed: %w", ErrKeyFile)
	}
	if subtle.ConstantTimeCompare(keyCheck(key[:]), body[44:]) != 1 {
		return nil, fmt.Errorf("key file's check does not match its key: %w", ErrKeyFile)
	}
	return secret.New(key[:])
}

func keyCheck(key []byte) []byte {
	h := sha256.New()
	h.Write([]byte(keyFileCheck))
	h.Write(key)
	return hex.AppendEncode(nil, h.Sum(nil)[:4])
}
