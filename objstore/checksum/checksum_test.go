package checksum

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKnownAnswers(t *testing.T) {
	// "123456789" is the check string of the CRC catalogues.
	for _, c := range []struct {
		alg  Algorithm
		data string
		want string // base64
	}{
		{CRC32, "123456789", "y/Q5Jg=="},         // cbf43926
		{CRC32C, "123456789", "4waSgw=="},        // e3069283
		{CRC64NVME, "123456789", "rosUhgp5mIg="}, // ae8b14860a799888
		{SHA1, "", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
		{SHA256, "", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
		{SHA512, "", "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="},
		{MD5, "", "1B2M2Y8AsgTpgAmY7PhCfg=="},
		// Of "a" and of nothing, as xxhsum has them.
		{XXHASH64, "a", "0k7E8amMbls="},
		{XXHASH64, "", "70bbN1HY6Zk="},
		{XXHASH3, "a", "5sYyth6WTh8="},
		{XXHASH3, "", "LQaABTjTlMI="},
		{XXHASH128, "a", "qW+vcFrxaDTmxjK2HpZOHw=="},
		{XXHASH128, "", "maoG0wFHmNhgAcMkRo1Jfw=="},
		{CRC32, "", "AAAAAA=="},
		{CRC32C, "", "AAAAAA=="},
		{CRC64NVME, "", "AAAAAAAAAAA="},
	} {
		if got := Format(Of(c.alg, []byte(c.data))); got != c.want {
			t.Errorf("%s of %q: got %s, want %s", c.alg, c.data, got, c.want)
		}
	}
}

func TestHasherComputesAllAtOnceWhateverTheWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "data")
		h, err := New(Algorithms()...)
		if err != nil {
			t.Fatal(err)
		}
		for rest := data; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			h.Write(rest[:n])
			rest = rest[n:]
		}
		if h.Size() != int64(len(data)) {
			t.Fatalf("size %d, want %d", h.Size(), len(data))
		}
		sums := h.Sums()
		for _, a := range Algorithms() {
			if !sums.Matches(a, Of(a, data)) {
				t.Fatalf("%s differs", a)
			}
		}
	})
}

func TestHasherGivesOnlyWhatWasAskedFor(t *testing.T) {
	h, err := New("", SHA1, SHA1)
	if err != nil {
		t.Fatal(err)
	}
	h.Write([]byte("x"))
	for _, a := range append(Algorithms(), "", "CRC16") {
		if got := h.Sum(a); (got != nil) != (a == SHA1) {
			t.Errorf("Sum(%q) = %x", a, got)
		}
	}
	if len(h.Sums()) != 1 || h.Sums().Matches(MD5, nil) {
		t.Errorf("Sums = %v", h.Sums())
	}
	if _, err := New("CRC16"); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("New of an unknown algorithm: %v", err)
	}
}

func TestParseTakesOnlyTheCanonicalSpelling(t *testing.T) {
	for _, a := range Algorithms() {
		good := Format(Of(a, []byte("a")))
		if sum, err := Parse(a, good); err != nil || Format(sum) != good {
			t.Errorf("Parse(%s, %s) = %x, %v", a, good, sum, err)
		}
		for _, bad := range []string{
			"", good[1:], good + "=", " " + good, good + "\n", good + "-1",
			strings.TrimRight(good, "="), "*" + good[1:], "\n" + good[1:],
			strings.Repeat("A", 1000), "\r\n\r\n" + good[4:], "not base64!",
		} {
			if sum, err := Parse(a, bad); !errors.Is(err, ErrInvalid) {
				t.Errorf("Parse(%s, %q) = %x, %v", a, bad, sum, err)
			}
		}
	}
	// The last character's unused bits must be zero.
	if _, err := Parse(CRC32, "AAAAAB=="); !errors.Is(err, ErrInvalid) {
		t.Errorf("loose bits: %v", err)
	}
	for _, a := range []Algorithm{"", "CRC16"} {
		if _, err := Parse(a, "AAAAAA=="); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("Parse of algorithm %q: %v", a, err)
		}
	}
}

func TestParseObjectReadsCompositeValues(t *testing.T) {
	for _, c := range []struct {
		alg   Algorithm
		in    string
		parts int
		err   error
	}{
		{CRC32, "5FRUiw==-3", 3, nil},
		{CRC32, "5FRUiw==", 0, nil},
		{CRC32, "5FRUiw==-10000", 10000, nil},
		{CRC32, "5FRUiw==-10001", 0, ErrInvalid},
		{CRC32, "5FRUiw==-0", 0, ErrInvalid},
		{CRC32, "5FRUiw==-", 0, ErrInvalid},
		{CRC32, "5FRUiw==-03", 0, ErrInvalid},
		{CRC32, "5FRUiw==-+3", 0, ErrInvalid},
		{CRC32, "5FRUiw==-3-3", 0, ErrInvalid},
		{CRC32, "5FRUiw==--3", 0, ErrInvalid},
		{CRC64NVME, "AAAAAAAAAAA=-3", 0, ErrAlgorithm},
		{MD5, "1B2M2Y8AsgTpgAmY7PhCfg==-3", 3, nil},
	} {
		sum, parts, err := ParseObject(c.alg, c.in)
		if !errors.Is(err, c.err) || parts != c.parts {
			t.Errorf("ParseObject(%s, %q) = %d, %v", c.alg, c.in, parts, err)
		}
		if err == nil && FormatObject(sum, parts) != c.in {
			t.Errorf("%q comes back as %q", c.in, FormatObject(sum, parts))
		}
	}
}

func TestNamesAndHeadersRoundTrip(t *testing.T) {
	for _, a := range Algorithms() {
		for _, s := range []string{string(a), a.Lower()} {
			if got, err := ParseAlgorithm(s); got != a || err != nil {
				t.Errorf("ParseAlgorithm(%q) = %q, %v", s, got, err)
			}
		}
		for _, s := range []string{a.Header(), strings.ToUpper(a.Header())} {
			if got, ok := FromHeader(s); got != a || !ok {
				t.Errorf("FromHeader(%q) = %q, %v", s, got, ok)
			}
		}
	}
	for _, s := range []string{"", "CRC16", "crc32 "} {
		if _, err := ParseAlgorithm(s); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("ParseAlgorithm(%q): %v", s, err)
		}
	}
	for _, s := range []string{"", "x-amz-checksum-", "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-sha3", "Content-MD5"} {
		if a, ok := FromHeader(s); ok {
			t.Errorf("FromHeader(%q) = %q", s, a)
		}
	}
}

func TestTypesAreThoseThatAWSAllows(t *testing.T) {
	for _, c := range []struct {
		alg             Algorithm
		full, composite bool
		def             Type
	}{
		{CRC32, true, true, Composite},
		{CRC32C, true, true, Composite},
		{CRC64NVME, true, false, FullObject},
		{SHA1, false, true, Composite},
		{SHA256, false, true, Composite},
		{MD5, false, true, Composite},
		{SHA512, false, true, Composite},
		{XXHASH64, false, true, Composite},
		{XXHASH3, false, true, Composite},
		{XXHASH128, false, true, Composite},
		{"", false, false, ""},
		{"CRC16", false, false, ""},
	} {
		if (FullObject.Check(c.alg) == nil) != c.full || (Composite.Check(c.alg) == nil) != c.composite || Type("").Check(c.alg) == nil {
			t.Errorf("%q: full %v, composite %v", c.alg, FullObject.Check(c.alg), Composite.Check(c.alg))
		}
		if got := DefaultType(c.alg); got != c.def {
			t.Errorf("DefaultType(%q) = %q", c.alg, got)
		}
	}
	var te *TypeError
	if err := FullObject.Check(SHA256); !errors.As(err, &te) || !errors.Is(err, ErrAlgorithm) ||
		te.Message() != "The FULL_OBJECT checksum type cannot be used with the sha256 checksum algorithm." {
		t.Errorf("got %v", err)
	}
	for _, s := range []string{"", "full_object", "FULL"} {
		if _, err := ParseType(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseType(%q): %v", s, err)
		}
	}
}

func FuzzParseObject(f *testing.F) {
	f.Add("CRC32", "5FRUiw==-3")
	f.Add("CRC64NVME", "ZMNX55lZurA=")
	f.Add("SHA256", "9o++y6AejqboiJ7MZCx0fahK2Vu5YC/qnNhhYsCLciI=-3")
	f.Add("MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")
	f.Add("", "-")
	f.Fuzz(func(t *testing.T, alg, s string) {
		sum, parts, err := ParseObject(Algorithm(alg), s)
		if err != nil {
			return
		}
		if len(sum) != Algorithm(alg).Size() || FormatObject(sum, parts) != s {
			t.Fatalf("%q comes back as %q", s, FormatObject(sum, parts))
		}
	})
}
