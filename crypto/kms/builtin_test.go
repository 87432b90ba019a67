package kms_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/kms/kmstest"
	"github.com/cofferfs/coffer/crypto/secret"
)

// disk is where a test's keystore is saved. It fails on demand.
type disk struct {
	bytes []byte
	fail  error
	saves int
}

func (d *disk) save(b []byte) error {
	if d.fail != nil {
		return d.fail
	}
	d.bytes, d.saves = b, d.saves+1
	return nil
}

// newStore makes a keystore that key unlocks, with the given EKs.
func newStore(t testing.TB, key *secret.Key, ids ...kms.KeyID) (*kms.Builtin, *disk) {
	t.Helper()
	d := &disk{}
	b, err := kms.NewKeystore(kms.KeyFileUnlock(key), d.save)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, id := range ids {
		if err := b.Create(id); err != nil {
			t.Fatal(err)
		}
	}
	return b, d
}

func reopen(t testing.TB, key *secret.Key, d *disk) *kms.Builtin {
	t.Helper()
	b, err := kms.OpenKeystore(d.bytes, kms.KeyFileUnlock(key), d.save)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestContract(t *testing.T) {
	kmstest.Run(t, func(t *testing.T) kms.Service {
		b, _ := newStore(t, secret.Random(), "k1", "k2")
		return b
	})
}

func TestContractAfterReopen(t *testing.T) {
	kmstest.Run(t, func(t *testing.T) kms.Service {
		key := secret.Random()
		b, d := newStore(t, key, "k1", "k2")
		b.Close()
		return reopen(t, key, d)
	})
}

func TestEverySavedChangeSurvivesReopen(t *testing.T) {
	key := secret.Random()
	b, d := newStore(t, key)
	var sealed []kms.DataKey
	remember := func() {
		for _, id := range []kms.KeyID{"a", "b"} {
			if dk, err := b.GenerateDataKey(t.Context(), id, nil); err == nil {
				sealed = append(sealed, dk)
			}
		}
	}
	for i, step := range []func() error{
		func() error { return b.Create("a") },
		func() error { return b.Create("b") },
		func() error { return b.Rotate("a") },
		func() error { return b.Disable("b") },
		func() error { return b.Rotate("a") },
		func() error { return b.Enable("b") },
		func() error { return b.ChangeUnlock(kms.KeyFileUnlock(key)) },
		func() error { return b.ScheduleDeletion("b") },
		func() error { return b.CancelDeletion("b") },
		func() error { return b.Enable("b") },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		remember()
		want, err := b.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again := reopen(t, key, d)
		got, err := again.List(t.Context())
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("step %d: reopened keystore lists %v, %v; want %v", i, got, err, want)
		}
		for _, dk := range sealed {
			k, err := again.Decrypt(t.Context(), dk.Sealed, nil)
			if errors.Is(err, kms.ErrDisabled) || errors.Is(err, kms.ErrPendingDeletion) {
				continue
			}
			if err != nil || !k.Equal(dk.Plain) {
				t.Fatalf("step %d: %v", i, err)
			}
		}
	}
}

func TestFailedSaveChangesNothing(t *testing.T) {
	key := secret.Random()
	b, d := newStore(t, key, "a", "b", "gone")
	if err := b.Disable("b"); err != nil {
		t.Fatal(err)
	}
	if err := b.ScheduleDeletion("gone"); err != nil {
		t.Fatal(err)
	}
	dk, err := b.GenerateDataKey(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := b.List(t.Context())
	saved := bytes.Clone(d.bytes)
	d.fail = errors.New("disk is full")
	for name, change := range map[string]func() error{
		"create":   func() error { return b.Create("c") },
		"rotate":   func() error { return b.Rotate("a") },
		"disable":  func() error { return b.Disable("a") },
		"enable":   func() error { return b.Enable("b") },
		"schedule": func() error { return b.ScheduleDeletion("a") },
		"cancel":   func() error { return b.CancelDeletion("gone") },
		"erase":    func() error { return b.Erase("gone") },
		"unlock":   func() error { return b.ChangeUnlock(kms.KeyFileUnlock(secret.Random())) },
	} {
		if err := change(); !errors.Is(err, d.fail) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := b.List(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: lists %v, %v", name, got, err)
		}
		if k, err := b.Decrypt(t.Context(), dk.Sealed, nil); err != nil || !k.Equal(dk.Plain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !bytes.Equal(d.bytes, saved) {
		t.Error("the saved keystore changed")
	}
	d.fail = nil
	if err := b.Create("c"); err != nil { // and it goes on
		t.Error(err)
	}
	reopen(t, key, d)
}

func TestRefusedChangeSavesNothing(t *testing.T) {
	b, d := newStore(t, secret.Random(), "a", "off", "gone")
	if err := errors.Join(b.Disable("off"), b.ScheduleDeletion("gone")); err != nil {
		t.Fatal(err)
	}
	saves := d.saves
	for _, test := range []struct {
		err  error
		want error
	}{
		{b.Create("a"), kms.ErrExists},
		{b.Create("gone"), kms.ErrExists},
		{b.Create(""), kms.ErrBadID},
		{b.Create(".a"), kms.ErrBadID},
		{b.Create("a/b"), kms.ErrBadID},
		{b.Create("ü"), kms.ErrBadID},
		{b.Create(kms.KeyID(bytes.Repeat([]byte("a"), 129))), kms.ErrBadID},
		{b.Rotate("none"), kms.ErrNotFound},
		{b.Rotate("off"), kms.ErrDisabled},
		{b.Rotate("gone"), kms.ErrPendingDeletion},
		{b.Disable("gone"), kms.ErrPendingDeletion},
		{b.Enable("gone"), kms.ErrPendingDeletion},
		{b.CancelDeletion("a"), kms.ErrNotPending},
		{b.Erase("a"), kms.ErrNotPending},
		{b.Erase("off"), kms.ErrNotPending},
		{b.Erase("none"), kms.ErrNotFound},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%v, want %v", test.err, test.want)
		}
	}
	if d.saves != saves {
		t.Error("a refused change was saved")
	}
	if err := b.Create(kms.KeyID(bytes.Repeat([]byte("a"), 128))); err != nil {
		t.Error(err)
	}
}

func TestKeyMadeAnewUnderAnErasedNameIsAnother(t *testing.T) {
	b, _ := newStore(t, secret.Random(), "a")
	dk, err := b.GenerateDataKey(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.ScheduleDeletion("a"), b.Erase("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Decrypt(t.Context(), dk.Sealed, nil); !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("erased: %v", err)
	}
	if err := b.Create("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Decrypt(t.Context(), dk.Sealed, nil); !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("made anew: %v", err)
	}
}

func TestDataKeyOfAnotherKeystoreIsRefused(t *testing.T) {
	a, _ := newStore(t, secret.Random(), "k")
	b, _ := newStore(t, secret.Random(), "k")
	dk, err := a.GenerateDataKey(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Decrypt(t.Context(), dk.Sealed, nil); !errors.Is(err, kms.ErrNotFound) {
		t.Error(err)
	}
}

func TestKeystorePutBackToAnOlderStateLacksNewerVersions(t *testing.T) {
	key := secret.Random()
	b, d := newStore(t, key, "a")
	older := &disk{bytes: d.bytes}
	if err := b.Rotate("a"); err != nil {
		t.Fatal(err)
	}
	dk, err := b.GenerateDataKey(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reopen(t, key, older).Decrypt(t.Context(), dk.Sealed, nil); !errors.Is(err, kms.ErrNotFound) {
		t.Error(err)
	}
}

func TestChangesAfterCloseAreRefused(t *testing.T) {
	b, d := newStore(t, secret.Random(), "a")
	b.Close()
	saves := d.saves
	for _, err := range []error{
		b.Create("x"), b.Rotate("a"), b.Disable("a"), b.Erase("a"), b.ChangeUnlock(kms.KeyFileUnlock(secret.Random())),
	} {
		if !errors.Is(err, kms.ErrUnavailable) {
			t.Error(err)
		}
	}
	if _, err := b.List(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Error(err)
	}
	if d.saves != saves {
		t.Error("saved after Close")
	}
}
