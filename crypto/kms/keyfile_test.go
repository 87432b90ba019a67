package kms

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
)

func TestKeyFileRoundTrip(t *testing.T) {
	for range 20 {
		key := secret.Random()
		text := FormatKeyFile(key)
		if bytes.Count(text, []byte("\n")) != 1 || text[len(text)-1] != '\n' {
			t.Fatalf("not one line: %q", text)
		}
		for _, end := range []string{"", "\n", "\r\n"} {
			got, err := ParseKeyFile(append(bytes.TrimSuffix(bytes.Clone(text), []byte("\n")), end...))
			if err != nil || !got.Equal(key) {
				t.Fatalf("with end %q: %v", end, err)
			}
		}
	}
}

func TestDamagedKeyFileIsToldFromAWrongOne(t *testing.T) {
	text := FormatKeyFile(secret.Random())
	line := text[:len(text)-1]
	for i := range line {
		for _, c := range []byte{line[i] ^ 1, line[i] ^ 0x20, ' ', '\n', 0} {
			if c == line[i] {
				continue
			}
			b := bytes.Clone(text)
			b[i] = c
			k, err := ParseKeyFile(b)
			if k != nil || !errors.Is(err, ErrKeyFile) && !errors.Is(err, ErrVersion) {
				t.Errorf("byte %d as %q: %v", i, c, err)
			}
			if i >= len(keyFilePrefix) && !errors.Is(err, ErrKeyFile) {
				t.Errorf("byte %d as %q: %v", i, c, err)
			}
			if err != nil && strings.Contains(err.Error(), string(line[20:28])) {
				t.Errorf("the message shows the key: %v", err)
			}
		}
	}
	for n := range line {
		if k, err := ParseKeyFile(line[:n]); k != nil || err == nil {
			t.Errorf("cut to %d: accepted", n)
		}
	}
	for _, text := range []string{
		"", "\n", "hello", string(line) + "\n\n", string(line) + " ", " " + string(line), string(line) + "\n" + string(line),
		"\ufeff" + string(line), strings.ToUpper(string(line)),
	} {
		if k, err := ParseKeyFile([]byte(text)); k != nil || !errors.Is(err, ErrKeyFile) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseKeyFile([]byte("coffer-key-2:abc\n")); !errors.Is(err, ErrVersion) {
		t.Errorf("newer key file: %v", err)
	}
}

func TestPassphraseFileIsOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"p": "p", "p\n": "p", "p\r\n": "p", " two words \n": " two words ", "pä\n": "pä",
	} {
		if got, err := ParsePassphraseFile([]byte(text)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "\r\n", "a\nb", "a\n\n", "a\x00b", "a\rb", strings.Repeat("a", MaxPassphrase+1)} {
		if got, err := ParsePassphraseFile([]byte(text)); got != nil || !errors.Is(err, ErrKeyFile) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzParseKeyFile(f *testing.F) {
	key, err := secret.New(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(FormatKeyFile(key))
	f.Add([]byte("coffer-key-1:"))
	f.Add([]byte("coffer-key-2:x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseKeyFile(text)
		if err != nil {
			if k != nil || !errors.Is(err, ErrKeyFile) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		if !bytes.Equal(FormatKeyFile(k), append(bytes.Clone(line), '\n')) {
			t.Fatal("two texts for one key")
		}
	})
}
