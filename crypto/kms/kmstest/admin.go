package kmstest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
)

func testRotate(t *testing.T, s kms.Service) {
	r := admin(t, s)
	old := generate(t, s, "k1", pairs)
	for want := uint32(2); want < 5; want++ {
		if err := r.Rotate(t.Context(), "k1"); err != nil {
			t.Fatal(err)
		}
		info, err := s.Describe(t.Context(), "k1")
		if err != nil || info.Versions != want {
			t.Fatalf("Describe = %+v, %v; want %d versions", info, err, want)
		}
		dk := generate(t, s, "k1", pairs)
		if dk.Version != want {
			t.Fatalf("sealed under version %d, want %d", dk.Version, want)
		}
		unseals(t, s, dk, pairs)
		unseals(t, s, old, pairs)
	}
	if err := r.Rotate(t.Context(), "none"); !errors.Is(err, kms.ErrNotFound) {
		t.Fatalf("Rotate of a missing key: %v", err)
	}
}

func testDisabled(t *testing.T, s kms.Service) {
	st := admin(t, s)
	dk := generate(t, s, "k1", pairs)
	locked(t, s, st.Disable, dk, kms.StateDisabled, kms.ErrDisabled)
	if err := st.Enable(t.Context(), "k1"); err != nil {
		t.Fatal(err)
	}
	unseals(t, s, dk, pairs)
}

func testPendingDeletion(t *testing.T, s kms.Service) {
	st := admin(t, s)
	dk := generate(t, s, "k1", pairs)
	schedule := func(ctx context.Context, id kms.KeyID) error {
		return st.ScheduleDeletion(ctx, id, time.Now().Add(time.Hour))
	}
	locked(t, s, schedule, dk, kms.StatePendingDeletion, kms.ErrPendingDeletion)
	if err := st.Enable(t.Context(), "k1"); !errors.Is(err, kms.ErrPendingDeletion) {
		t.Fatalf("Enable of a key pending deletion: %v", err)
	}
	if err := st.CancelDeletion(t.Context(), "k1"); err != nil {
		t.Fatal(err)
	}
	refuses(t, s, dk.Sealed, pairs, kms.ErrDisabled)
	if err := st.Enable(t.Context(), "k1"); err != nil {
		t.Fatal(err)
	}
	unseals(t, s, dk, pairs)
}

// locked puts k1 into a state and checks that it is closed and k2 is not.
func locked(t *testing.T, s kms.Service, lock func(context.Context, kms.KeyID) error, dk kms.DataKey, state kms.State, want error) {
	t.Helper()
	if err := lock(t.Context(), "none"); !errors.Is(err, kms.ErrNotFound) {
		t.Fatalf("state change of a missing key: %v", err)
	}
	for range 2 {
		if err := lock(t.Context(), "k1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.GenerateDataKey(t.Context(), "k1", pairs); !errors.Is(err, want) {
		t.Fatalf("GenerateDataKey: %v, want %v", err, want)
	}
	refuses(t, s, dk.Sealed, pairs, want)
	if info, err := s.Describe(t.Context(), "k1"); err != nil || info.State != state {
		t.Fatalf("Describe = %+v, %v", info, err)
	}
	unseals(t, s, generate(t, s, "k2", pairs), pairs)
}

// admin returns what manages the keys of s.
func admin(t *testing.T, s kms.Service) kms.Admin {
	t.Helper()
	a, ok := s.(kms.Admin)
	if !ok {
		t.Skip("the service's keys are managed elsewhere")
	}
	return a
}

func testErase(t *testing.T, s kms.Service) {
	a := admin(t, s)
	dk, other := generate(t, s, "k1", pairs), generate(t, s, "k2", pairs)
	at := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := a.ScheduleDeletion(t.Context(), "k1", at); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Describe(t.Context(), "k1"); err != nil || !k.DeleteAt.Equal(at) {
		t.Fatalf("Describe = %+v, %v; want deletion at %v", k, err, at)
	}
	if gone, err := a.EraseDue(t.Context(), time.Now()); err != nil || len(gone) != 0 {
		t.Fatalf("erased too early: %v, %v", gone, err)
	}
	gone, err := a.EraseDue(t.Context(), at.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if len(gone) == 0 {
		t.Skip("the service erases by itself")
	}
	refuses(t, s, dk.Sealed, pairs, kms.ErrNotFound)
	if err := a.CancelDeletion(t.Context(), "k1"); !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("cancelled when it was too late: %v", err)
	}
	unseals(t, s, other, pairs)
}

func testAliases(t *testing.T, s kms.Service) {
	if k, err := s.Resolve(t.Context(), kms.Ref{ID: "k1"}); err != nil || k.ID != "k1" {
		t.Errorf("by name: %+v, %v", k, err)
	}
	for _, r := range []kms.Ref{{ID: "none"}, {}, {Alias: "none"}, {Alias: "k1"}, {Alias: "aws/none"}} {
		if k, err := s.Resolve(t.Context(), r); !errors.Is(err, kms.ErrNotFound) {
			t.Errorf("Resolve(%+v) = %+v, %v", r, k, err)
		}
	}
	a := admin(t, s)
	if err := a.Create(t.Context(), "k3", "photos/2026", "photos"); err != nil {
		t.Fatal(err)
	}
	for _, alias := range []kms.Alias{"photos", "photos/2026"} {
		k, err := s.Resolve(t.Context(), kms.Ref{Alias: alias})
		if err != nil || k.ID != "k3" || k.IsManaged() {
			t.Errorf("alias %q: %+v, %v", alias, k, err)
		}
		if err := a.Create(t.Context(), "k4", alias); !errors.Is(err, kms.ErrExists) {
			t.Errorf("alias %q twice: %v", alias, err)
		}
	}
	// The state of a key is no concern of its names.
	if err := a.Disable(t.Context(), "k3"); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Resolve(t.Context(), kms.Ref{Alias: "photos"}); err != nil || k.State != kms.StateDisabled {
		t.Errorf("disabled: %+v, %v", k, err)
	}
}

func testManaged(t *testing.T, s kms.Service) {
	ref := kms.Ref{Alias: kms.ManagedS3}
	const callers = 8
	ids := make(chan kms.KeyID, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			k, err := s.Resolve(t.Context(), ref)
			if err != nil || !k.IsManaged() || k.State != kms.StateEnabled {
				t.Errorf("Resolve = %+v, %v", k, err)
			}
			ids <- k.ID
		})
	}
	wg.Wait()
	id := <-ids
	for range callers - 1 {
		if other := <-ids; other != id {
			t.Fatalf("two managed keys, %q and %q", id, other)
		}
	}
	dk := generate(t, s, id, pairs)
	a := admin(t, s)
	for name, change := range map[string]func() error{
		"disable": func() error { return a.Disable(t.Context(), id) },
		"delete":  func() error { return a.ScheduleDeletion(t.Context(), id, time.Now()) },
	} {
		if err := change(); !errors.Is(err, kms.ErrManaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.Rotate(t.Context(), id); err != nil {
		t.Error(err)
	}
	unseals(t, s, dk, pairs)
}

func testRewrap(t *testing.T, s kms.Service) {
	r, ok := s.(kms.Rewrapper)
	if !ok {
		t.Skip("the service does not rewrap")
	}
	a := admin(t, s)
	dk := generate(t, s, "k1", pairs)
	if sealed, err := r.Rewrap(t.Context(), dk.Sealed, pairs); err != nil || sealed != nil {
		t.Fatalf("rewrapped what is under the newest version: %d bytes, %v", len(sealed), err)
	}
	for range 2 {
		if err := a.Rotate(t.Context(), "k1"); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := r.Rewrap(t.Context(), dk.Sealed, pairs)
	if err != nil || len(sealed) == 0 || bytes.Equal(sealed, dk.Sealed) {
		t.Fatalf("Rewrap: %d bytes, %v", len(sealed), err)
	}
	unseals(t, s, dk, pairs)
	dk.Sealed = sealed
	unseals(t, s, dk, pairs)
	refuses(t, s, sealed, nil, kms.ErrTampered)
	if again, err := r.Rewrap(t.Context(), sealed, pairs); err != nil || again != nil {
		t.Fatalf("a second time: %d bytes, %v", len(again), err)
	}
	if _, err := r.Rewrap(t.Context(), sealed, nil); !errors.Is(err, kms.ErrTampered) {
		t.Errorf("with another context: %v", err)
	}
	if err := a.Disable(t.Context(), "k1"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rewrap(t.Context(), sealed, pairs); !errors.Is(err, kms.ErrDisabled) {
		t.Errorf("of a disabled key: %v", err)
	}
}

func testList(t *testing.T, s kms.Service) {
	a := admin(t, s)
	if err := a.Create(t.Context(), "k0"); err != nil {
		t.Fatal(err)
	}
	keys, err := a.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []kms.KeyID
	for _, k := range keys {
		ids = append(ids, k.ID)
		one, err := s.Describe(t.Context(), k.ID)
		if err != nil || !reflect.DeepEqual(one, k) {
			t.Errorf("Describe = %+v, %v; listed as %+v", one, err, k)
		}
	}
	if !slices.IsSorted(ids) || !slices.Contains(ids, "k0") || !slices.Contains(ids, "k1") || !slices.Contains(ids, "k2") {
		t.Errorf("List = %v", ids)
	}
}
