package keyring

import (
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
)

const here, there = 7, 8 // two mounts

func TestKeysLentToAMountAreBounded(t *testing.T) {
	var l Lent
	lend := func(keys ...*secret.Key) {
		t.Helper()
		for i, key := range keys {
			keys[i] = key.Clone()
		}
		if err := l.Lend(here, keys...); err != nil {
			t.Fatal(err)
		}
	}
	var keys []*secret.Key
	for range MaxLent {
		keys = append(keys, secret.Random())
	}
	lend(append([]*secret.Key(nil), keys...)...)
	lend(keys[3].Clone()) // it has it
	l.Return(here, keys[0])
	// Of those that are too many together none is lent.
	had, last, more := keys[3].Clone(), secret.Random(), secret.Random()
	if err := l.Lend(here, had, last, more); !objstore.IsKind(err, objstore.KindInvalidArgument) || l.Count(here) != MaxLent-1 {
		t.Errorf("one more: %v, %d are lent", err, l.Count(here))
	}
	for _, key := range []*secret.Key{had, last, more} {
		if key.String() != "key:wiped" {
			t.Errorf("a key that was not lent: %v", key)
		}
	}
	if !l.Has(here, keys[3]) {
		t.Error("a key that the mount had is gone")
	}
	lend(keys[0], keys[0])
	if err := l.Share(here, there); err != nil || l.Count(there) != MaxLent {
		t.Errorf("%d are shared: %v", l.Count(there), err)
	}
	if !l.Return(here, keys[1]) || l.Has(here, keys[1]) || !l.Has(there, keys[1]) || !l.AnyHas(keys[1]) {
		t.Error("shared keys are returned one by one")
	}
}
