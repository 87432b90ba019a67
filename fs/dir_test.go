package fs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferfs/coffer/objstore"
)

// list is a directory in memory: names in order.
type list []string

func (l list) read(pos objstore.DirPos, max int) ([]objstore.Dirent, bool, error) {
	i := sort.SearchStrings(l, string(pos)+"\x00")
	var ents []objstore.Dirent
	for ; i < len(l) && len(ents) < max; i++ {
		ents = append(ents, objstore.Dirent{Name: l[i], Pos: objstore.DirPos(l[i])})
	}
	return ents, i == len(l), nil
}

// readAll gives out every entry of l through d in replies of batch entries and
// returns the cookies.
func readAll(d *dir, l list, batch int) []uint64 {
	cookies := make([]uint64, len(l))
	for start := 0; start < len(l); start += batch {
		d.before, d.recent = d.recent, d.before[:0]
		for i := start; i < min(start+batch, len(l)); i++ {
			ordinal := uint32(i + 1 + ordinalDotDot)
			d.remember(place{ordinal: ordinal, hash: nameHash(l[i]), pos: objstore.DirPos(l[i])})
			cookies[i] = place{ordinal: ordinal, hash: nameHash(l[i])}.offset()
		}
	}
	return cookies
}

func TestEveryOffsetOfADirectoryIsFoundAgain(t *testing.T) {
	for _, n := range []int{1, firstStride - 3, firstStride - 2, firstStride - 1, 1000, 5000} {
		var l list
		for i := range n {
			l = append(l, fmt.Sprintf("name-%06d", i))
		}
		d := &dir{stride: firstStride}
		cookies := readAll(d, l, 100)
		for i := n - 1; i >= 0; i-- {
			p, err := d.find(cookies[i], l.read)
			if err != nil || string(p.pos) != l[i] {
				t.Fatalf("%d entries: offset of %q leads behind %q, %v", n, l[i], p.pos, err)
			}
		}
	}
}

func TestOffsetsSurviveChangesOfTheDirectory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,6}`), 1, 600, func(s string) string { return s }).Draw(t, "names")
		sort.Strings(names)
		l := list(names)
		d := &dir{stride: firstStride}
		cookies := readAll(d, l, rapid.IntRange(1, 300).Draw(t, "batch"))
		at := rapid.IntRange(0, len(l)-1).Draw(t, "at")

		// Up to a stride of other names comes, any number goes.
		kept := map[string]bool{l[at]: true}
		for i, n := range l {
			if i == at || !rapid.Bool().Draw(t, "goes") {
				kept[n] = true
			}
		}
		for _, n := range rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,6}`), 0, firstStride/2).Draw(t, "come") {
			kept[n] = true
		}
		var changed list
		for n := range kept {
			changed = append(changed, n)
		}
		sort.Strings(changed)
		p, err := d.find(cookies[at], changed.read)
		if err != nil || string(p.pos) != l[at] {
			t.Fatalf("offset of %q leads behind %q, %v", l[at], p.pos, err)
		}
	})
}

func TestMarksOfADirectoryAreBounded(t *testing.T) {
	d := &dir{stride: firstStride}
	for i := range uint32(2_000_000) {
		d.recent = d.recent[:0]
		d.remember(place{ordinal: i + 3, pos: "x"})
		if len(d.marks) > maxMarks {
			t.Fatalf("%d marks after %d entries", len(d.marks), i)
		}
	}
	for i, m := range d.marks {
		if m.ordinal%d.stride != 0 || i > 0 && m.ordinal <= d.marks[i-1].ordinal {
			t.Fatalf("mark %d has ordinal %d, stride %d", i, m.ordinal, d.stride)
		}
	}
}

func TestAForgottenOffsetNeverSkipsEntries(t *testing.T) {
	var l list
	for i := range 2000 {
		l = append(l, fmt.Sprintf("%06d", i))
	}
	d := &dir{stride: firstStride}
	cookies := readAll(d, l, 100)
	gone := 700
	rest := append(append(list{}, l[:gone]...), l[gone+1:]...)
	p, err := d.find(cookies[gone], rest.read)
	if err != nil || string(p.pos) >= l[gone] {
		t.Fatalf("offset of a removed entry leads behind %q, %v", p.pos, err)
	}
	if _, err := d.find(math.MaxUint64>>1, rest.read); err != nil {
		t.Fatal(err)
	}
}

// What is read again from an offset, after entries before it went, has other
// ordinals than before. Offsets of both readings stay.
func TestOffsetsSurviveAReadingThatGoesOnFromOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := make(list, rapid.IntRange(2, 1000).Draw(t, "entries"))
		for i := range l {
			l[i] = fmt.Sprintf("%06d", i)
		}
		d := &dir{stride: firstStride}
		cookies := make(map[string][]uint64)
		for i, c := range readAll(d, l, 100) {
			cookies[l[i]] = []uint64{c}
		}
		for range rapid.IntRange(1, 4).Draw(t, "readings") {
			percent := rapid.IntRange(0, 60).Draw(t, "percent gone")
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			var kept list
			for i, name := range l {
				if i == len(l)-1 || rng.IntN(100) >= percent {
					kept = append(kept, name)
				}
			}
			from := l[rapid.IntRange(0, len(l)-1).Draw(t, "from")]
			l = kept
			at, err := d.find(cookies[from][0], l.read)
			if err != nil || string(at.pos) > from {
				t.Fatalf("offset of %q leads behind %q, %v", from, at.pos, err)
			}
			ents, _, _ := l.read(at.pos, len(l))
			for i, e := range ents {
				if i%100 == 0 {
					d.before, d.recent = d.recent, d.before[:0]
				}
				at = place{ordinal: at.ordinal + 1, hash: nameHash(e.Name), pos: e.Pos}
				d.remember(at)
				cookies[e.Name] = append(cookies[e.Name], at.offset())
			}
		}
		there := make(map[string]bool)
		for _, name := range l {
			there[name] = true
		}
		for name, offsets := range cookies {
			for _, off := range offsets {
				p, err := d.find(off, l.read)
				if err != nil || string(p.pos) > name || there[name] && string(p.pos) != name {
					t.Fatalf("offset %x of %q leads behind %q, %v", off, name, p.pos, err)
				}
			}
		}
	})
}

func TestTimesSurviveTheKernel(t *testing.T) {
	for _, v := range []objstore.Time{0, 1, -1, 999999999, -999999999, 1e9, -1e9, -1e9 - 1, math.MaxInt64, math.MinInt64, math.MinInt64 + 1, math.MaxInt64 - 1} {
		sec, nsec := splitTime(v)
		if nsec > 999999999 {
			t.Errorf("%d: %d nanoseconds", v, nsec)
		}
		if got := timeOf(sec, nsec); got != v {
			t.Errorf("%d became %d", v, got)
		}
	}
	for _, c := range []struct {
		sec  int64
		nsec uint32
		want objstore.Time
	}{
		{math.MaxInt64, 0, math.MaxInt64},
		{math.MinInt64, 0, math.MinInt64},
		{math.MaxInt64 / second, 999999999, math.MaxInt64},
		{math.MinInt64/second - 1, 0, math.MinInt64},
	} {
		if got := timeOf(uint64(c.sec), c.nsec); got != c.want {
			t.Errorf("%d s %d ns became %d, want %d", c.sec, c.nsec, got, c.want)
		}
	}
}

func TestTypesSurviveTheKernel(t *testing.T) {
	for typ := objstore.TypeRegular; typ <= objstore.TypeBlockDev; typ++ {
		if got, ok := typeOf(modeOf(typ) | 0644); !ok || got != typ {
			t.Errorf("type %d became %d, %v", typ, got, ok)
		}
	}
	if _, ok := typeOf(0170000); ok {
		t.Error("an unknown type was taken")
	}
	if modeOf(200) != 0 {
		t.Error("an unknown type has a mode")
	}
}
