// Package kmstest is the contract of kms.Service as tests: every driver passes
// Run.
package kmstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
)

// Run tests the service that open makes. Each call of open gives a fresh
// service with the enabled keys "k1" and "k2", each with one version, and no
// key "none". Run closes it. What kms.Admin and kms.Rewrapper promise is tested
// of a service that has them.
func Run(t *testing.T, open func(t *testing.T) kms.Service) {
	for _, test := range []struct {
		name string
		fn   func(*testing.T, kms.Service)
	}{
		{"DataKeyUnseals", testDataKeyUnseals},
		{"DataKeysDiffer", testDataKeysDiffer},
		{"UnknownKeyIsNotFound", testUnknownKey},
		{"ContextIsBound", testContext},
		{"ContextPairsDoNotCollide", testContextCollisions},
		{"EveryByteIsAuthenticated", testTamper},
		{"EveryLengthIsRefused", testLengths},
		{"SealedKeyOfOneKeyDoesNotOpenForAnother", testSwap},
		{"RotationKeepsOlderVersionsUnsealing", testRotate},
		{"DisabledKeyNeitherMakesNorUnseals", testDisabled},
		{"KeyPendingDeletionNeitherMakesNorUnseals", testPendingDeletion},
		{"DeletionWaitsForItsTime", testErase},
		{"AliasesLeadToTheirKey", testAliases},
		{"ManagedKeyIsMadeOnceAndKept", testManaged},
		{"RewrapMovesToTheNewestVersion", testRewrap},
		{"ListShowsEveryKey", testList},
		{"CancelledContextIsHonoured", testCancelled},
		{"CallsRunConcurrently", testConcurrency},
		{"CloseIsIdempotentAndFinal", testClose},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			test.fn(t, s)
		})
	}
}

var pairs = kms.Context{"purpose": "bucket", "bucket": "b1", "": ""}

func generate(t *testing.T, s kms.Service, id kms.KeyID, kc kms.Context) kms.DataKey {
	t.Helper()
	dk, err := s.GenerateDataKey(t.Context(), id, kc)
	if err != nil {
		t.Fatalf("GenerateDataKey(%q): %v", id, err)
	}
	if dk.Plain == nil || len(dk.Sealed) == 0 || dk.KeyID != id || dk.Version == 0 {
		t.Fatalf("GenerateDataKey(%q) = %+v", id, dk)
	}
	if bytes.Contains(dk.Sealed, dk.Plain.Bytes()) {
		t.Fatal("the sealed form holds the key")
	}
	return dk
}

func unseals(t *testing.T, s kms.Service, dk kms.DataKey, kc kms.Context) {
	t.Helper()
	k, err := s.Decrypt(t.Context(), dk.Sealed, kc)
	if err != nil {
		t.Fatalf("Decrypt: %v", err)
	}
	if !k.Equal(dk.Plain) {
		t.Fatal("Decrypt gave another key")
	}
	k.Wipe()
}

func refuses(t *testing.T, s kms.Service, sealed []byte, kc kms.Context, want ...error) {
	t.Helper()
	k, err := s.Decrypt(t.Context(), sealed, kc)
	if k != nil {
		t.Fatal("Decrypt gave a key")
	}
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	t.Fatalf("Decrypt: %v, want one of %v", err, want)
}

// altered is what Decrypt may say about bytes that were changed: they may name
// a key that is not there, or a format.
var altered = []error{kms.ErrTampered, kms.ErrNotFound, kms.ErrVersion}

func testDataKeyUnseals(t *testing.T, s kms.Service) {
	for _, kc := range []kms.Context{nil, {}, pairs, {"a": string([]byte{0, 0xff})}} {
		dk := generate(t, s, "k1", kc)
		unseals(t, s, dk, kc)
		unseals(t, s, dk, maps.Clone(kc))
	}
	dk := generate(t, s, "k1", nil)
	unseals(t, s, dk, kms.Context{}) // nil and empty are the same
}

func testDataKeysDiffer(t *testing.T, s kms.Service) {
	a, b := generate(t, s, "k1", pairs), generate(t, s, "k1", pairs)
	if a.Plain.Equal(b.Plain) || bytes.Equal(a.Sealed, b.Sealed) {
		t.Fatal("two data keys are the same")
	}
}

func testUnknownKey(t *testing.T, s kms.Service) {
	for _, id := range []kms.KeyID{"none", "", "K1", "k1 ", "k"} {
		if dk, err := s.GenerateDataKey(t.Context(), id, nil); !errors.Is(err, kms.ErrNotFound) || dk.Plain != nil {
			t.Errorf("GenerateDataKey(%q): %v", id, err)
		}
		if _, err := s.Describe(t.Context(), id); !errors.Is(err, kms.ErrNotFound) {
			t.Errorf("Describe(%q): %v", id, err)
		}
	}
	info, err := s.Describe(t.Context(), "k1")
	if err != nil || info.ID != "k1" || info.State != kms.StateEnabled || info.Versions != 1 || info.Created.IsZero() {
		t.Errorf("Describe = %+v, %v", info, err)
	}
}

func testContext(t *testing.T, s kms.Service) {
	dk := generate(t, s, "k1", pairs)
	change := func(fn func(kms.Context)) kms.Context {
		c := maps.Clone(pairs)
		fn(c)
		return c
	}
	for name, kc := range map[string]kms.Context{
		"none":        nil,
		"value":       change(func(c kms.Context) { c["bucket"] = "b2" }),
		"missing":     change(func(c kms.Context) { delete(c, "bucket") }),
		"empty pair":  change(func(c kms.Context) { delete(c, "") }),
		"more":        change(func(c kms.Context) { c["x"] = "y" }),
		"renamed":     change(func(c kms.Context) { c["bucKet"] = c["bucket"]; delete(c, "bucket") }),
		"values swap": change(func(c kms.Context) { c["bucket"], c["purpose"] = c["purpose"], c["bucket"] }),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, s, dk.Sealed, kc, kms.ErrTampered) })
	}
	unseals(t, s, dk, pairs)
}

func testContextCollisions(t *testing.T, s kms.Service) {
	contexts := []kms.Context{
		{}, {"": ""}, {"a": "b"}, {"ab": ""}, {"": "ab"}, {"a": "", "b": ""}, {"a": "b", "c": "d"},
		{"a": "bcd"}, {"abc": "d"}, {"a=b": "c"}, {"a": "b=c"}, {"a": "b,c=d"}, {"a": "b\x00c\x00d"},
	}
	for i, a := range contexts {
		dk := generate(t, s, "k1", a)
		for j, b := range contexts {
			if i != j {
				refuses(t, s, dk.Sealed, b, kms.ErrTampered)
			}
		}
	}
}

func testTamper(t *testing.T, s kms.Service) {
	dk := generate(t, s, "k1", pairs)
	for i := range dk.Sealed {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			b := bytes.Clone(dk.Sealed)
			b[i] ^= flip
			refuses(t, s, b, pairs, altered...)
		}
	}
	unseals(t, s, dk, pairs)
}

func testLengths(t *testing.T, s kms.Service) {
	dk := generate(t, s, "k1", pairs)
	for n := range dk.Sealed {
		refuses(t, s, dk.Sealed[:n], pairs, altered...)
		refuses(t, s, dk.Sealed[n+1:], pairs, altered...)
	}
	refuses(t, s, nil, pairs, kms.ErrTampered)
	refuses(t, s, append(bytes.Clone(dk.Sealed), 0), pairs, altered...)
	refuses(t, s, append(bytes.Clone(dk.Sealed), dk.Sealed...), pairs, altered...)
	refuses(t, s, make([]byte, 1<<16), pairs, altered...)
}

func testSwap(t *testing.T, s kms.Service) {
	a, b := generate(t, s, "k1", pairs), generate(t, s, "k2", pairs)
	// Every mixture of the two that keeps the length: first part of one, rest
	// of the other.
	if len(a.Sealed) != len(b.Sealed) {
		t.Skip("the sealed forms have different lengths")
	}
	for n := 1; n < len(a.Sealed); n++ {
		mixed := append(bytes.Clone(a.Sealed[:n]), b.Sealed[n:]...)
		if !bytes.Equal(mixed, a.Sealed) && !bytes.Equal(mixed, b.Sealed) {
			refuses(t, s, mixed, pairs, altered...)
		}
	}
}

func testCancelled(t *testing.T, s kms.Service) {
	dk := generate(t, s, "k1", pairs)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.GenerateDataKey(ctx, "k1", pairs); !errors.Is(err, context.Canceled) {
		t.Errorf("GenerateDataKey: %v", err)
	}
	if _, err := s.Decrypt(ctx, dk.Sealed, pairs); !errors.Is(err, context.Canceled) {
		t.Errorf("Decrypt: %v", err)
	}
	if _, err := s.Describe(ctx, "k1"); !errors.Is(err, context.Canceled) {
		t.Errorf("Describe: %v", err)
	}
	if _, err := s.Resolve(ctx, kms.Ref{Alias: kms.ManagedS3}); !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve: %v", err)
	}
}

func testConcurrency(t *testing.T, s kms.Service) {
	const workers, rounds = 8, 20
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { errs <- work(t.Context(), s, w, rounds) })
	}
	if r, ok := s.(kms.Admin); ok {
		for range rounds {
			if err := r.Rotate(t.Context(), "k1"); err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func work(ctx context.Context, s kms.Service, worker, rounds int) error {
	for i := range rounds {
		id := kms.KeyID(fmt.Sprint("k", 1+(worker+i)%2))
		kc := kms.Context{"worker": fmt.Sprint(worker), "round": fmt.Sprint(i)}
		dk, err := s.GenerateDataKey(ctx, id, kc)
		if err != nil {
			return err
		}
		var k *secret.Key
		if k, err = s.Decrypt(ctx, dk.Sealed, kc); err != nil {
			return err
		}
		if !k.Equal(dk.Plain) {
			return errors.New("another key came back")
		}
		if _, err := s.Describe(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func testClose(t *testing.T, s kms.Service) {
	dk := generate(t, s, "k1", pairs)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.GenerateDataKey(t.Context(), "k1", pairs); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("GenerateDataKey: %v", err)
	}
	refuses(t, s, dk.Sealed, pairs, kms.ErrUnavailable)
	if _, err := s.Describe(t.Context(), "k1"); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Describe: %v", err)
	}
	// A data key that was handed out outlives the service.
	if len(dk.Plain.Bytes()) != secret.Size {
		t.Error("the data key is gone")
	}
}
