package keyring

import (
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// TestKeyOpenedBeforeForgettingIsNotKept: the key service answered before it was
// told, and the answer comes late.
func TestKeyOpenedBeforeForgettingIsNotKept(t *testing.T) {
	c := NewDataKeys(time.Now)
	for _, forgotten := range []bool{false, true} {
		_, era := c.Get(1)
		if forgotten {
			c.Forget("other")
		}
		late := secret.Random()
		if got := c.Put(1, "key", late, era); got != late {
			t.Error("another key")
		}
		if kept, _ := c.Get(1); (kept == nil) != forgotten {
			t.Errorf("forgotten %v: kept %v", forgotten, kept)
		}
		c.Forget("key")
	}
}

func TestDataKeyIsAskedForAgainWhenItIsOld(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := NewDataKeys(func() time.Time { return now })
	_, era := c.Get(1)
	first := secret.Random()
	c.Put(1, "key", first, era)
	if second := secret.Random(); c.Put(1, "key", second, era) != first || second.String() != "key:wiped" {
		t.Error("who came second has another key than who came first")
	}
	now = now.Add(dataKeyTTL)
	if k, _ := c.Get(1); k != first {
		t.Error("gone too early")
	}
	now = now.Add(1)
	if k, _ := c.Get(1); k != nil {
		t.Error("kept for too long")
	}
}
