package crypto

import (
	"fmt"
	"testing"

	"github.com/minio/sio"

	"github.com/cofferfs/coffer/crypto/secret"
)

var benchSizes = []int{4 << 10, 64 << 10, 4 << 20}

func BenchmarkEncrypt(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			plain, dst := make([]byte, n), make([]byte, 0, EncryptedSize(PlainSize(n)))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Encrypt(dst, secret.Random(), plain); err != nil {
					b.Fatal(err)
				}
			}
		})
		// What sio costs over a plain encoder of the same format.
		b.Run(fmt.Sprint(n, "-without-sio"), func(b *testing.B) {
			plain, dst := make([]byte, n), make([]byte, 0, EncryptedSize(PlainSize(n)))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				encode(dst, secret.Random(), Nonce{}, plain)
			}
		})
	}
}

func BenchmarkDecrypt(b *testing.B) {
	for _, n := range benchSizes {
		key := secret.Random()
		stream, base, err := Encrypt(nil, key, make([]byte, n))
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, 0, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decrypt(dst, key, base, PlainSize(n), stream); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(n, "-sio"), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sio.DecryptBuffer(dst, stream, sioConfig(key.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecryptPackage reads 4 KiB from the middle of a large extent.
func BenchmarkDecryptPackage(b *testing.B) {
	key := secret.Random()
	stream, base, err := Encrypt(nil, key, make([]byte, MaxExtent))
	if err != nil {
		b.Fatal(err)
	}
	first, off, n, err := PackageRange(MaxExtent, 2<<20, 4<<10)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, PackagePlain)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecryptPackages(dst, key, base, MaxExtent, first, stream[off:off+n]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealObjectKey(b *testing.B) {
	parent, oek := secret.Random(), secret.Random()
	b.ReportAllocs()
	for b.Loop() {
		SealObjectKey(parent, 1, [16]byte{1}, [16]byte{2}, oek)
	}
}

func BenchmarkOpenObjectKey(b *testing.B) {
	parent := secret.Random()
	sealed := SealObjectKey(parent, 1, [16]byte{1}, [16]byte{2}, secret.Random())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenObjectKey(parent, 1, [16]byte{1}, [16]byte{2}, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealExtentKey(b *testing.B) {
	parent, key := secret.Random(), secret.Random()
	e := Extent{PlainLen: 4096, Suite: SuiteDARE20}
	b.ReportAllocs()
	for b.Loop() {
		SealExtentKey(parent, e, key)
	}
}

func BenchmarkOpenExtentKey(b *testing.B) {
	parent := secret.Random()
	e := Extent{PlainLen: 4096, Suite: SuiteDARE20}
	sealed := SealExtentKey(parent, e, secret.Random())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenExtentKey(parent, e, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRandomKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		secret.Random()
	}
}
