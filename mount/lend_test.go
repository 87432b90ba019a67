package mount

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCustomerKeyFilesAreReadInThreeForms(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb, 0x0a, 0xff, 0x01}, 8)
	b64, x := base64.StdEncoding.EncodeToString(key), hex.EncodeToString(key)
	for name, text := range map[string]string{
		"raw": string(key), "base64": b64, "base64 line": b64 + "\n", "base64 without padding": strings.TrimRight(b64, "="),
		"base64 of another system": b64 + "\r\n", "hexadecimal": x, "hexadecimal line": x + "\n", "capitals": strings.ToUpper(x),
	} {
		if got := parseCustomerKey([]byte(text)); !bytes.Equal(got, key) {
			t.Errorf("%s: %x", name, got)
		}
	}
	text := "0123456789abcdef0123456789abcdef" // AWS's examples give keys as text
	if got := parseCustomerKey([]byte(text)); string(got) != text {
		t.Errorf("32 letters: %q", got)
	}
	for name, text := range map[string]string{
		"nothing": "", "31 bytes": string(key[:31]), "33 bytes": string(key) + "x", "23 bytes in base64": base64.RawStdEncoding.EncodeToString(key[:23]),
		"33 bytes in base64": base64.StdEncoding.EncodeToString(append(key, 1)), "31 bytes in hexadecimal": x[2:], "33 bytes in hexadecimal": x + "00",
		"no hexadecimal": "z" + x[1:], "no base64": "!" + b64[1:], "two lines": b64 + "\n\n", "spaces": " " + b64,
		"loose bits": b64[:42] + "1=",
	} {
		if got := parseCustomerKey([]byte(text)); got != nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func TestCustomerKeyFilesThatOthersCanReadAreNoted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, make([]byte, 32), 0o640); err != nil {
		t.Fatal(err)
	}
	keys, notes, err := readCustomerKeys([]string{path})
	if err != nil || len(keys) != 1 || len(notes) != 1 || !strings.Contains(notes[0], "chmod 600") {
		t.Error(keys, notes, err)
	}
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + "-none", filepath.Dir(path)} {
		if keys, _, err := readCustomerKeys([]string{p}); err == nil {
			t.Error(p, keys)
		}
	}
}

// A key file holds a key in one way only.
func FuzzCustomerKey(f *testing.F) {
	key := bytes.Repeat([]byte{0xfa}, 32)
	for _, text := range []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key) + "\r\n", base64.RawStdEncoding.EncodeToString(key) + "\n", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		was := bytes.Clone(text)
		key := parseCustomerKey(text)
		switch {
		case !bytes.Equal(text, was):
			t.Fatalf("%q was changed", was)
		case key == nil:
			return
		case len(key) != 32 || len(text) < 32:
			t.Fatalf("%q has the key %x", text, key)
		}
		line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		if line != base64.StdEncoding.EncodeToString(key) && line != base64.RawStdEncoding.EncodeToString(key) &&
			strings.ToLower(line) != hex.EncodeToString(key) && !bytes.Equal(text, key) {
			t.Fatalf("%q has the key %x", text, key)
		}
	})
}
