package record

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

func TestKeysComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ino := objstore.InodeID(rapid.Uint64().Draw(t, "inode"))
		name := rapid.String().Draw(t, "name")
		a, b := drawID(t, "a"), drawID(t, "b")
		off := rapid.Int64Range(0, 1<<62).Draw(t, "offset")
		off32 := rapid.Uint32().Draw(t, "offset in a chunk")
		number := rapid.IntRange(1, objstore.MaxPartNumber).Draw(t, "number")
		key := strings.ReplaceAll(rapid.String().Draw(t, "key"), "\x00", "")

		check := func(what string, same bool, err error) {
			if err != nil || !same {
				t.Fatalf("%s: %v", what, err)
			}
		}
		n, err := DirentName(DirentKey(ino, name))
		check("entry", n == name, err)
		i, err := ParseOrphanKey(OrphanKey(ino))
		check("orphan", i == ino, err)
		c, o, err := ParseChunkRefKey(ChunkRefKey(a, off))
		check("chunk reference", c == a && o == off, err)
		u, err := ParseMapKey(MapKey(a, off32))
		check("map", u == off32, err)
		x, err := ParseExtentRefKey(ExtentRefKey(a, b))
		check("extent reference", x == b, err)
		g, err := ParseGarbageKey(GarbageKey(a))
		check("garbage", g == a, err)
		k, id, err := ParseUploadKey(UploadKey(ino, key, a))
		check("upload", k == key && id == a, err)
		p, err := ParsePartKey(PartKey(a, number))
		check("part", p == number, err)
		f, err := ParseConfigKey(ConfigKey(ino, objstore.ConfigName(name)))
		check("configuration", f == objstore.ConfigName(name), err)
	})
}

// maxKey is what every metadata store takes, in bytes (meta.MaxKeySize).
const maxKey = 4 << 10

// keysOf is one key of every family.
func keysOf(name string) [][]byte {
	a := id(1)
	return [][]byte{
		RootKey(), InodeKey(1), BucketKey(1), DirentKey(1, name), XattrKey(1), OrphanKey(1), InlineKey(a), PartsKey(a),
		ChunkRefKey(a, 1), ChunkKey(a), ChunkOfKey(a, a, 1), MapKey(a, 1), ExtentKey(a), ExtentRefKey(a, a), GarbageKey(a),
		SegmentKey(a), DEKKey(1), DEKOfKey(1, [32]byte{1}), SettingKey(name), UploadKey(1, name, a), PartKey(a, 1),
		ConfigKey(1, objstore.ConfigName(name)), VersionKey(1, name, 1), LoggedKey(a, 1),
	}
}

func TestVersionKeysComeBackAndSortAsListed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.StringMatching(`[a-c.!-]{0,3}`)
		type at struct {
			stored string
			n      uint64
		}
		draw := func(label string) (at, []byte) {
			name := names.Draw(t, label)
			n := rapid.Uint64Range(1, 5).Draw(t, label+" number")
			if rapid.Bool().Draw(t, label+" gone") {
				return at{name + "/", n}, GoneKey(7, name, objstore.InodeID(n))
			}
			return at{name, n}, VersionKey(7, name, n)
		}
		a, ka := draw("a")
		b, kb := draw("b")
		for _, c := range []struct {
			at
			k []byte
		}{{a, ka}, {b, kb}} {
			p, err := ParseVersionKey(c.k)
			gone := strings.HasSuffix(c.stored, "/")
			if err != nil || p.History != 7 || p.Stored != c.stored || gone && uint64(p.Gone) != c.n || !gone && p.Number != c.n {
				t.Fatalf("%q is %+v: %v", c.k, p, err)
			}
			if !bytes.HasPrefix(c.k, HistoryPrefix(7)) || bytes.Compare(c.k, HistoryFrom(7, c.stored)) < 0 {
				t.Fatalf("%q stands elsewhere", c.k)
			}
		}
		want := strings.Compare(a.stored, b.stored)
		if want == 0 && a.n != b.n {
			want = 1 // of directories the smaller number comes first, of versions the greater
			if strings.HasSuffix(a.stored, "/") == (a.n < b.n) {
				want = -1
			}
		}
		if got := bytes.Compare(ka, kb); got != want {
			t.Fatalf("%+v and %+v: %d, not %d", a, b, got, want)
		}
	})
	if p, err := ParseVersionKey(VersionKey(7, "", 0)); err != nil || p.Number != 0 || p.Gone != 0 {
		t.Errorf("null number: %+v %v", p, err)
	}
	for _, k := range [][]byte{nil, {'v'}, VersionKey(7, "", 1)[1:], GoneKey(7, "", 0), append(HistoryFrom(7, "name"), make([]byte, 8)...)} {
		if _, err := ParseVersionKey(k); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", k, err)
		}
	}
}

func TestKeysOfFamiliesStayApart(t *testing.T) {
	keys := keysOf("name")
	for i, k := range keys {
		for j, o := range keys {
			if i != j && k[0] == o[0] {
				t.Errorf("families %d and %d share %q", i, j, k[0])
			}
		}
		if len(k) > maxKey {
			t.Errorf("key of family %q has %d bytes", k[0], len(k))
		}
	}
	reserved := "ahlqt"
	for _, k := range keys {
		if strings.IndexByte(reserved, k[0]) >= 0 {
			t.Errorf("family %q is reserved", k[0])
		}
	}
	longest := strings.Repeat("k", objstore.MaxKeyLen)
	for _, k := range keysOf(longest) {
		if len(k) > maxKey {
			t.Errorf("longest key of family %q has %d bytes", k[0], len(k))
		}
	}
}

func TestPrefixesHoldTheirKeysAlone(t *testing.T) {
	a, b := id(1), id(2)
	groups := []struct {
		prefix []byte
		in     [][]byte
		out    [][]byte
	}{
		{DirentPrefix(1), [][]byte{DirentKey(1, ""), DirentKey(1, "\xff")}, [][]byte{DirentKey(0, "\xff"), DirentKey(2, "")}},
		{ChunkRefPrefix(a), [][]byte{ChunkRefKey(a, 0), ChunkRefKey(a, 1<<62)}, [][]byte{ChunkRefKey(b, 0)}},
		{ChunkOfPrefix(a), [][]byte{ChunkOfKey(a, b, 0)}, [][]byte{ChunkOfKey(b, a, 0)}},
		{ExtentRefPrefix(a), [][]byte{ExtentRefKey(a, b)}, [][]byte{ExtentRefKey(b, a)}},
		{PartPrefix(a), [][]byte{PartKey(a, 1), PartKey(a, 10000)}, [][]byte{PartKey(b, 1)}},
		{UploadPrefix(1, "k"), [][]byte{UploadKey(1, "k", a), UploadKey(1, "k/x", a)}, [][]byte{UploadKey(1, "j", a), UploadKey(2, "k", a)}},
		{ConfigPrefix(1, "metrics/"), [][]byte{ConfigKey(1, "metrics/a")}, [][]byte{ConfigKey(1, "metrics"), ConfigKey(2, "metrics/a")}},
		{OrphanPrefix(), [][]byte{OrphanKey(0), OrphanKey(1<<64 - 1)}, [][]byte{PartKey(a, 1)}},
	}
	for _, g := range groups {
		for _, k := range g.in {
			if !bytes.HasPrefix(k, g.prefix) {
				t.Errorf("%q is not in %q", k, g.prefix)
			}
		}
		for _, k := range g.out {
			if bytes.HasPrefix(k, g.prefix) {
				t.Errorf("%q is in %q", k, g.prefix)
			}
		}
	}
}

// Entries sort as the keys of S3 that they stand for.
func TestStoredNamesSortAsKeysDo(t *testing.T) {
	names := []string{"a", "a-b", "a/", "a0", "b", "b!/", "b/", "b0/"}
	keys := slices.Clone(names)
	slices.SortFunc(keys, func(x, y string) int { return bytes.Compare(DirentKey(7, x), DirentKey(7, y)) })
	slices.Sort(names)
	if !slices.Equal(keys, names) {
		t.Fatalf("entries %q, keys %q", keys, names)
	}
	for _, n := range names {
		name, dir := SplitStored(n)
		if StoredName(name, dir) != n {
			t.Errorf("%q comes back as %q", n, StoredName(name, dir))
		}
	}
}

func TestMountableNames(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, ".": false, "..": false, "...": true, " ": true, "\xff": true,
		strings.Repeat("x", 255): true, strings.Repeat("x", 256): false,
	} {
		if Mountable(name) != want {
			t.Errorf("%.20q: %v", name, !want)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, k := range keysOf("name") {
		f.Add(k)
		f.Add(k[:len(k)-1])
		f.Add(append(bytes.Clone(k), 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, err error, again []byte) {
			switch {
			case err != nil && !errors.Is(err, ErrCorrupt):
				t.Fatalf("%s: %v", what, err)
			case err == nil && !bytes.Equal(again, b):
				t.Fatalf("%s: %q comes back as %q", what, b, again)
			}
		}
		var first [16]byte
		var ino objstore.InodeID
		if len(b) >= 17 {
			copy(first[:], b[1:])
		}
		if len(b) >= 9 {
			for _, c := range b[1:9] {
				ino = ino<<8 | objstore.InodeID(c)
			}
		}
		name, err := DirentName(b)
		same("entry", err, DirentKey(ino, name))
		i, err := ParseOrphanKey(b)
		same("orphan", err, OrphanKey(i))
		c, off, err := ParseChunkRefKey(b)
		same("chunk reference", err, ChunkRefKey(c, off))
		u, err := ParseMapKey(b)
		same("map", err, MapKey(first, u))
		x, err := ParseExtentRefKey(b)
		same("extent reference", err, ExtentRefKey(first, x))
		g, err := ParseGarbageKey(b)
		same("garbage", err, GarbageKey(g))
		k, id, err := ParseUploadKey(b)
		same("upload", err, UploadKey(ino, k, id))
		p, err := ParsePartKey(b)
		same("part", err, PartKey(first, p))
		f, err := ParseConfigKey(b)
		same("configuration", err, ConfigKey(ino, f))
	})
}
