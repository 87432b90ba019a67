package checksum

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// AWS S3's answers for an upload of parts of 5242881, 5242881 and 10 bytes
// (recorded 2026-02-21 by the LocalStack project, Apache-2.0).
func TestRecordedMultipartUploads(t *testing.T) {
	sizes := []int64{5242881, 5242881, 10}
	for _, c := range []struct {
		alg             Algorithm
		parts           []string
		full, composite string
	}{
		{CRC32, []string{"NRU+Sw==", "NRU+Sw==", "TBHN8A=="}, "qSEQSA==", "5FRUiw==-3"},
		{CRC32C, []string{"2/Ckiw==", "2/Ckiw==", "5yZkMA=="}, "eTdAQA==", "XF5+4A==-3"},
		{CRC64NVME, []string{"Kg7TOs6algM=", "Kg7TOs6algM=", "DBqAA21lxVU="}, "ZMNX55lZurA=", ""},
		{SHA1, []string{"bH71WIZUKQtUwR2wKSSkFjCRBPM=", "bH71WIZUKQtUwR2wKSSkFjCRBPM=", "NJX/adNGcdHhWzOmPBN5/e3Toyo="},
			"", "AyE60nyQoBgJcwsyPHWu7aJuxBs=-3"},
		{SHA256, []string{"DjU70AB1bON8k0n0fVHv2PJQVWcA/jWsITp6ti20Tbs=", "DjU70AB1bON8k0n0fVHv2PJQVWcA/jWsITp6ti20Tbs=", "vyy1imj2hNlaO3jvj2Ycmk5bCegsyPnMiMzpBSjK6yc="},
			"", "9o++y6AejqboiJ7MZCx0fahK2Vu5YC/qnNhhYsCLciI=-3"},
	} {
		var parts []Part
		var sums [][]byte
		for i, s := range c.parts {
			sum, err := Parse(c.alg, s)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, Part{Sum: sum, Size: sizes[i]})
			sums = append(sums, sum)
		}
		full, err := Concat(c.alg, parts)
		if (err == nil) != (c.full != "") || Format(full) != c.full {
			t.Errorf("%s: full object %s, %v, want %q", c.alg, Format(full), err, c.full)
		}
		comp, err := Compose(c.alg, sums)
		if (err == nil) != (c.composite != "") || err == nil && FormatObject(comp, len(sums)) != c.composite {
			t.Errorf("%s: composite %s, %v, want %q", c.alg, Format(comp), err, c.composite)
		}
	}
}

func TestConcatIsTheSumOfTheConcatenation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 700), 0, 8).Draw(t, "parts")
		whole := bytes.Join(data, nil)
		for _, a := range []Algorithm{CRC32, CRC32C, CRC64NVME} {
			var parts []Part
			for _, d := range data {
				parts = append(parts, Part{Sum: Of(a, d), Size: int64(len(d))})
			}
			got, err := Concat(a, parts)
			if err != nil || !bytes.Equal(got, Of(a, whole)) {
				t.Fatalf("%s: got %x, %v, want %x", a, got, err, Of(a, whole))
			}
		}
	})
}

// Sizes that nobody can hash: concatenation is associative at every size.
func TestConcatIsAssociativeForHugeParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, a := range []Algorithm{CRC32, CRC32C, CRC64NVME} {
			draw := func(name string) Part {
				return Part{
					Sum:  rapid.SliceOfN(rapid.Byte(), a.Size(), a.Size()).Draw(t, name),
					Size: rapid.Int64Range(0, math.MaxInt64/4).Draw(t, name+" size"),
				}
			}
			x, y, z := draw("x"), draw("y"), draw("z")
			join := func(ps ...Part) Part {
				sum, err := Concat(a, ps)
				if err != nil {
					t.Fatal(err)
				}
				p := Part{Sum: sum}
				for _, q := range ps {
					p.Size += q.Size
				}
				return p
			}
			all := join(x, y, z)
			if l, r := join(join(x, y), z), join(x, join(y, z)); !bytes.Equal(l.Sum, r.Sum) || !bytes.Equal(l.Sum, all.Sum) {
				t.Fatalf("%s: %x, %x, %x", a, l.Sum, r.Sum, all.Sum)
			}
		}
	})
}

func TestConcatAndComposeRefuseWhatDoesNotFit(t *testing.T) {
	ok := Of(CRC32, nil)
	for _, c := range []struct {
		alg   Algorithm
		parts []Part
		err   error
	}{
		{SHA256, nil, ErrAlgorithm},
		{MD5, nil, ErrAlgorithm},
		{"", nil, ErrAlgorithm},
		{CRC32, []Part{{ok, 1}, {ok, -1}}, ErrInvalid},
		{CRC32, []Part{{ok[:3], 1}}, ErrInvalid},
		{CRC64NVME, []Part{{ok, 1}}, ErrInvalid},
		{CRC32, []Part{{nil, 0}}, ErrInvalid},
		{CRC32, nil, nil},
	} {
		if _, err := Concat(c.alg, c.parts); !errors.Is(err, c.err) {
			t.Errorf("Concat(%q, %v): %v", c.alg, c.parts, err)
		}
	}
	for _, c := range []struct {
		alg  Algorithm
		sums [][]byte
		err  error
	}{
		{CRC64NVME, [][]byte{Of(CRC64NVME, nil)}, ErrAlgorithm},
		{"CRC16", [][]byte{Of(MD5, nil)}, ErrAlgorithm},
		{MD5, [][]byte{Of(MD5, nil)}, nil},
		{CRC32, nil, ErrInvalid},
		{CRC32, [][]byte{ok, ok[:3]}, ErrInvalid},
		{CRC32, make([][]byte, MaxParts+1), ErrInvalid},
		{CRC32, [][]byte{ok}, nil},
	} {
		if _, err := Compose(c.alg, c.sums); !errors.Is(err, c.err) {
			t.Errorf("Compose(%q, %d sums): %v", c.alg, len(c.sums), err)
		}
	}
}

func BenchmarkConcat10000Parts(b *testing.B) {
	parts := make([]Part, MaxParts)
	for i := range parts {
		parts[i] = Part{Sum: Of(CRC64NVME, []byte{byte(i)}), Size: 8<<20 + int64(i)}
	}
	for b.Loop() {
		if _, err := Concat(CRC64NVME, parts); err != nil {
			b.Fatal(err)
		}
	}
}
