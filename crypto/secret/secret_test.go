package secret

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCloneIsWipedByItself(t *testing.T) {
	k := Random()
	c := k.Clone()
	if !c.Equal(k) || c.Spend() {
		t.Fatal("the clone is another key, or fresh")
	}
	k.Wipe()
	if c.String() == "key:wiped" || k.String() != "key:wiped" {
		t.Error("one was wiped with the other")
	}
}

func TestOnlyKeysOfTheRightSizeAreMade(t *testing.T) {
	for _, n := range []int{0, 1, Size - 1, Size + 1, 2 * Size} {
		if k, err := New(make([]byte, n)); err == nil || k != nil {
			t.Errorf("New took %d bytes", n)
		}
		b := bytes.Repeat([]byte{1}, n)
		if k, err := Take(b); err == nil || k != nil {
			t.Errorf("Take took %d bytes", n)
		}
		if !bytes.Equal(b, make([]byte, n)) {
			t.Errorf("Take left %d refused bytes behind", n)
		}
	}
}

func TestHoldTakesOneKeyAndIsWiped(t *testing.T) {
	var owner struct{ key Key }
	b := bytes.Repeat([]byte{7}, Size)
	want, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	owner.key.Hold(b)
	if !bytes.Equal(b, make([]byte, Size)) {
		t.Error("Hold left the bytes")
	}
	if !owner.key.Equal(want) || owner.key.Spend() {
		t.Error("the key is another, or fresh")
	}
	refused := func(k *Key, n int) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Error("taken")
			}
		}()
		k.Hold(make([]byte, n))
	}
	refused(&owner.key, Size)
	owner.key.Wipe()
	if owner.key.b != [Size]byte{} {
		t.Error("Wipe left the key")
	}
	refused(&owner.key, Size) // who still has the old key would use this one
	refused(&Key{}, Size-1)
}

func TestHoldRandomHoldsAFreshKeyOnce(t *testing.T) {
	var one, other Key
	one.HoldRandom()
	other.HoldRandom()
	if one.Equal(&other) {
		t.Error("two keys are equal")
	}
	if !one.Spend() || one.Spend() {
		t.Error("a fresh key is spent once")
	}
	refused := func() {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Error("taken")
			}
		}()
		one.HoldRandom()
	}
	refused()
	one.Wipe()
	if one.b != [Size]byte{} {
		t.Error("Wipe left the key")
	}
	refused()
}

func TestNewCopiesAndTakeWipes(t *testing.T) {
	b := bytes.Repeat([]byte{7}, Size)
	k, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := Take(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, make([]byte, Size)) {
		t.Error("Take left the bytes")
	}
	want := bytes.Repeat([]byte{7}, Size)
	if !bytes.Equal(k.Bytes(), want) || !k.Equal(taken) {
		t.Error("the key is another")
	}
}

func TestRandomKeysDiffer(t *testing.T) {
	a, b := Random(), Random()
	if a.Equal(b) || a.Fingerprint() == b.Fingerprint() {
		t.Error("two random keys are the same")
	}
	if bytes.Equal(a.Bytes(), make([]byte, Size)) {
		t.Error("a random key is zero")
	}
}

func TestWipedKeyIsGone(t *testing.T) {
	k := Random()
	b := k.Bytes()
	k.Wipe()
	k.Wipe()
	if !bytes.Equal(b, make([]byte, Size)) {
		t.Error("Wipe left bytes")
	}
	if got := k.String(); got != "key:wiped" {
		t.Errorf("a wiped key prints as %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a wiped key can be used")
		}
	}()
	k.Bytes()
}

func TestWipeOfNoKeyIsHarmless(t *testing.T) {
	var k *Key
	k.Wipe()
	if k.Fingerprint() != "wiped" {
		t.Error("no key has a fingerprint")
	}
}

func TestNothingPrintsTheKey(t *testing.T) {
	k := Random()
	inside := struct{ Key *Key }{k}
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%t", "%08x"} {
		out = append(out, fmt.Sprintf(verb, k), fmt.Sprintf(verb, inside), fmt.Sprintf(verb, []*Key{k}))
	}
	out = append(out, fmt.Sprint(k), k.String(), k.GoString())
	for _, json := range []bool{false, true} {
		var buf bytes.Buffer
		var h slog.Handler = slog.NewTextHandler(&buf, nil)
		if json {
			h = slog.NewJSONHandler(&buf, nil)
		}
		slog.New(h).Info("m", "key", k, "inside", inside)
		out = append(out, buf.String())
	}
	b := k.Bytes()
	for _, s := range out {
		low := strings.ToLower(s)
		for _, leak := range []string{
			string(b[:4]), hex.EncodeToString(b[:4]), hex.EncodeToString(b[28:]),
			fmt.Sprintf("%d %d %d", b[0], b[1], b[2]), fmt.Sprintf("%d,%d,%d", b[0], b[1], b[2]),
		} {
			if strings.Contains(low, leak) {
				t.Errorf("printed %q", s)
			}
		}
	}
	if _, err := json.Marshal(k); err == nil {
		t.Error("a key was marshalled")
	}
	if got := fmt.Sprintf("%x", k); got != "key:"+k.Fingerprint() {
		t.Errorf("%%x prints %q", got)
	}
}

func TestFingerprintTellsKeysApart(t *testing.T) {
	k := Random()
	same, err := New(k.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if k.Fingerprint() != same.Fingerprint() || len(k.Fingerprint()) != 12 {
		t.Error("equal keys have different fingerprints")
	}
}

func TestOnlyAFreshKeyIsSpentAndOnce(t *testing.T) {
	k := Random()
	stored, err := New(k.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if stored.Spend() {
		t.Error("a key from bytes was spent")
	}
	var spent atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if k.Spend() {
				spent.Add(1)
			}
		})
	}
	wg.Wait()
	if spent.Load() != 1 {
		t.Errorf("spent %d times", spent.Load())
	}
}
