package crypto

import (
	"bytes"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
)

func TestDecryptReturnsWhatWasEncrypted(t *testing.T) {
	for _, n := range []int{1, 2, 4096, 65535, 65536, 65537, 131072, 163840, 1<<22 - 1, 1 << 22} {
		plain := bytes.Repeat([]byte{1, 2, 3, 5, 7}, n/5+1)[:n]
		key := secret.Random()
		stream, base, err := Encrypt(nil, key, plain)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decrypt([]byte("x"), key, base, PlainSize(n), stream)
		if err != nil || string(got[:1]) != "x" || !bytes.Equal(got[1:], plain) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}
