package kms_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/kms/kmstest"
	"github.com/cofferfs/coffer/crypto/secret"
)

var (
	bg   = context.Background()
	past = time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
)

// eraseDue erases all keys whose time has come.
func eraseDue(b *kms.Builtin) error {
	_, err := b.EraseDue(bg, time.Now())
	return err
}

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
		if err := b.Create(bg, id); err != nil {
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
		func() error { return b.Create(bg, "a") },
		func() error { return b.Create(bg, "b") },
		func() error { return b.Rotate(bg, "a") },
		func() error { return b.Disable(bg, "b") },
		func() error { return b.Rotate(bg, "a") },
		func() error { return b.Enable(bg, "b") },
		func() error { return b.ChangeUnlock(kms.KeyFileUnlock(key)) },
		func() error { return b.ScheduleDeletion(bg, "b", past) },
		func() error { return b.CancelDeletion(bg, "b") },
		func() error { return b.Enable(bg, "b") },
		func() error { return b.Create(bg, "c", "photos", "2026/photos", "photos") },
		func() error { return b.Rotate(bg, "c") },
		func() error { return resolve(b, kms.ManagedS3) },
		func() error { return b.ScheduleDeletion(bg, "c", past) },
		func() error { return b.ScheduleDeletion(bg, "b", time.Now().Add(time.Hour)) },
		func() error { return eraseDue(b) },
		func() error { return b.CancelDeletion(bg, "b") },
		func() error { return b.Create(bg, "d", "photos") },
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
		if err != nil || !reflect.DeepEqual(got, want) {
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
	if err := b.Disable(bg, "b"); err != nil {
		t.Fatal(err)
	}
	if err := b.ScheduleDeletion(bg, "gone", past); err != nil {
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
		"create":   func() error { return b.Create(bg, "c") },
		"rotate":   func() error { return b.Rotate(bg, "a") },
		"disable":  func() error { return b.Disable(bg, "a") },
		"enable":   func() error { return b.Enable(bg, "b") },
		"schedule": func() error { return b.ScheduleDeletion(bg, "a", past) },
		"cancel":   func() error { return b.CancelDeletion(bg, "gone") },
		"erase":    func() error { return eraseDue(b) },
		"unlock":   func() error { return b.ChangeUnlock(kms.KeyFileUnlock(secret.Random())) },
	} {
		if err := change(); !errors.Is(err, d.fail) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := b.List(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
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
	if err := b.Create(bg, "c"); err != nil { // and it goes on
		t.Error(err)
	}
	reopen(t, key, d)
}

func TestRefusedChangeSavesNothing(t *testing.T) {
	b, d := newStore(t, secret.Random(), "a", "off", "gone")
	future := time.Now().Add(time.Hour)
	if err := errors.Join(b.Create(bg, "z", "named"), b.Disable(bg, "off"), b.ScheduleDeletion(bg, "gone", future)); err != nil {
		t.Fatal(err)
	}
	saves := d.saves
	for _, test := range []struct {
		err  error
		want error
	}{
		{b.Create(bg, "a"), kms.ErrExists},
		{b.Create(bg, "gone"), kms.ErrExists},
		{b.Create(bg, ""), kms.ErrBadID},
		{b.Create(bg, ".a"), kms.ErrBadID},
		{b.Create(bg, "a/b"), kms.ErrBadID},
		{b.Create(bg, "ü"), kms.ErrBadID},
		{b.Create(bg, kms.KeyID(bytes.Repeat([]byte("a"), 129))), kms.ErrBadID},
		{b.Rotate(bg, "none"), kms.ErrNotFound},
		{b.Rotate(bg, "off"), kms.ErrDisabled},
		{b.Rotate(bg, "gone"), kms.ErrPendingDeletion},
		{b.Disable(bg, "gone"), kms.ErrPendingDeletion},
		{b.Enable(bg, "gone"), kms.ErrPendingDeletion},
		{b.CancelDeletion(bg, "a"), kms.ErrNotPending},
		{b.Create(bg, "b", "x y"), kms.ErrBadID},
		{b.Create(bg, "b", ""), kms.ErrBadID},
		{b.Create(bg, "b", "named"), kms.ErrExists},
		{b.Create(bg, "b", "aws/ebs"), kms.ErrManaged},
		{b.Create(bg, "aws-s3"), kms.ErrManaged},
		{eraseDue(b), nil}, // its time has not come
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%v, want %v", test.err, test.want)
		}
	}
	if d.saves != saves {
		t.Error("a refused change was saved")
	}
	if err := b.Create(bg, kms.KeyID(bytes.Repeat([]byte("a"), 128))); err != nil {
		t.Error(err)
	}
}

func TestKeyMadeAnewUnderAnErasedNameIsAnother(t *testing.T) {
	b, _ := newStore(t, secret.Random(), "a")
	dk, err := b.GenerateDataKey(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.ScheduleDeletion(bg, "a", past), eraseDue(b)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Decrypt(t.Context(), dk.Sealed, nil); !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("erased: %v", err)
	}
	if err := b.Create(bg, "a"); err != nil {
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
	if err := b.Rotate(bg, "a"); err != nil {
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
		b.Create(bg, "x"), b.Rotate(bg, "a"), b.Disable(bg, "a"), eraseDue(b), b.ChangeUnlock(kms.KeyFileUnlock(secret.Random())),
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

func resolve(b *kms.Builtin, a kms.Alias) error {
	_, err := b.Resolve(bg, kms.Ref{Alias: a})
	return err
}

// TestKeystoreSaysTheOldestVersionThatWillDo: an older coffer opens what has
// neither aliases nor times of deletion.
func TestKeystoreSaysTheOldestVersionThatWillDo(t *testing.T) {
	key := secret.Random()
	b, d := newStore(t, key, "a")
	for i, step := range []struct {
		do   func() error
		want byte
	}{
		{func() error { return b.Rotate(bg, "a") }, 1},
		{func() error { return b.Create(bg, "b", "photos") }, 2},
		{func() error { return b.ScheduleDeletion(bg, "b", past) }, 2},
		{func() error { return eraseDue(b) }, 1},
		{func() error { return b.ScheduleDeletion(bg, "a", time.Now().Add(time.Hour)) }, 2},
		{func() error { return b.CancelDeletion(bg, "a") }, 1},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if d.bytes[9] != step.want {
			t.Errorf("step %d: version %d, want %d", i, d.bytes[9], step.want)
		}
		reopen(t, key, d)
	}
}

func TestEraseDueErasesWhatIsDueAlone(t *testing.T) {
	b, d := newStore(t, secret.Random(), "due", "later", "never", "used")
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := errors.Join(
		b.ScheduleDeletion(bg, "due", at), b.ScheduleDeletion(bg, "later", at.Add(time.Nanosecond)),
		b.ScheduleDeletion(bg, "never", time.Time{}),
	); err != nil {
		t.Fatal(err)
	}
	saves := d.saves
	if gone, err := b.EraseDue(bg, at.Add(-1)); err != nil || len(gone) != 0 || d.saves != saves {
		t.Fatalf("too early: %v, %v", gone, err)
	}
	if gone, err := b.EraseDue(bg, at); err != nil || !slices.Equal(gone, []kms.KeyID{"due"}) {
		t.Fatalf("%v, %v", gone, err)
	}
	if _, err := b.Describe(bg, "due"); !errors.Is(err, kms.ErrNotFound) {
		t.Error(err)
	}
	for _, id := range []kms.KeyID{"later", "never"} {
		if k, err := b.Describe(bg, id); err != nil || k.State != kms.StatePendingDeletion {
			t.Errorf("%s: %v, %v", id, k, err)
		}
	}
}
