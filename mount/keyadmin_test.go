package mount

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore/engine"
)

// gone waits until a daemon's keystore has no such key.
func gone(t *testing.T, d *Daemon, id kms.KeyID) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		_, err := d.store.kms.Describe(t.Context(), id)
		if errors.Is(err, kms.ErrNotFound) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("key %q is still there: %v", id, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestDaemonErasesKeysWhoseTimeHasCome(t *testing.T) {
	c := testConfig(t)
	d, stop := startDaemon(t, c)
	ctx := t.Context()
	keys := d.store.kms
	for _, id := range []kms.KeyID{"soon", "later", "missed"} {
		if err := keys.Create(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	// As `coffer key delete` does, but sooner.
	if err := errors.Join(
		keys.ScheduleDeletion(ctx, "later", time.Now().Add(time.Hour)),
		keys.ScheduleDeletion(ctx, "soon", time.Now().Add(300*time.Millisecond)),
	); err != nil {
		t.Fatal(err)
	}
	d.keys.changed <- struct{}{}
	gone(t, d, "soon")
	if k, err := keys.Describe(ctx, "later"); err != nil || k.State != kms.StatePendingDeletion {
		t.Errorf("%+v, %v", k, err)
	}
	// One that comes due while no daemon runs is erased by the next one.
	stop()
	if err := keysDirectly(ctx, c, func(b *kms.Builtin) error {
		return b.ScheduleDeletion(ctx, "missed", time.Now().Add(-time.Second))
	}); err != nil {
		t.Fatal(err)
	}
	// A save that a crash interrupted has left the keystore with the key.
	old, err := os.ReadFile(c.path(nameKeystore))
	if err != nil {
		t.Fatal(err)
	}
	temp := c.path("." + nameKeystore + ".1234.tmp")
	if err := os.WriteFile(temp, old, 0o600); err != nil {
		t.Fatal(err)
	}
	d, stop = startDaemon(t, c)
	gone(t, d, "missed")
	stop()
	if _, err := os.Lstat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an older keystore is left: %v", err)
	}
	// It is gone from the disk.
	if err := keysDirectly(ctx, c, func(b *kms.Builtin) error {
		infos, err := b.List(ctx)
		for _, k := range infos {
			if k.ID == "soon" || k.ID == "missed" {
				t.Errorf("%+v is still in the keystore", k)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// keysDirectly opens the keystore of a store that no daemon has open.
func keysDirectly(ctx context.Context, c Config, fn func(*kms.Builtin) error) error {
	_, sb, err := inspect(&c)
	if err != nil {
		return err
	}
	lock, err := lockStore(&c)
	if err != nil {
		return err
	}
	s := &store{cfg: &c, log: discard(), lock: lock}
	defer s.close()
	if err := s.unlockStore(ctx, sb); err != nil {
		return err
	}
	return fn(s.kms)
}

// TestErasureThatIsDueComesBeforeAnythingElse: nobody can cancel a deletion when
// its time is over, though no daemon ran then.
func TestErasureThatIsDueComesBeforeAnythingElse(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	ctx := t.Context()
	if err := keysDirectly(ctx, c, func(b *kms.Builtin) error {
		return errors.Join(b.Create(ctx, "k"), b.ScheduleDeletion(ctx, "k", time.Now().Add(-time.Second)))
	}); err != nil {
		t.Fatal(err)
	}
	_, err := keyDirectly(ctx, c, KeyRequest{Action: KeyCancelDelete, Key: "k"})
	if err == nil || !strings.Contains(err.Error(), "there is no key") {
		t.Error(err)
	}
}

// TestStoreKeyIsRewrapped: rotating the key of the store key reseals what is in
// the superblock, also when a crash came in between.
func TestStoreKeyIsRewrapped(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	id, _ := reopen(t, c)
	sealed := func() []byte {
		_, sb, err := inspect(&c)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(sb.Keys[0].Sealed)
	}
	before := sealed()
	if _, err := keyDirectly(t.Context(), c, KeyRequest{Action: KeyRotate, Key: "store"}); err != nil {
		t.Fatal(err)
	}
	after := sealed()
	if bytes.Equal(after, before) {
		t.Fatal("the superblock has the store key as it was sealed before")
	}
	if again, _ := reopen(t, c); again != id {
		t.Fatal("another store")
	}
	// The crash: the keystore has the new version, the superblock is the old one.
	old, err := os.ReadFile(c.path(nameSuperblock))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyDirectly(t.Context(), c, KeyRequest{Action: KeyRotate, Key: "store"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path(nameSuperblock), old, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stop := startDaemon(t, c)
	deadline := time.Now().Add(patience)
	for bytes.Equal(sealed(), after) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon does not finish the rotation")
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	reopen(t, c)
}

// TestDisabledKeyIsForgottenByTheEngineAtOnce: the daemon's own action reaches
// the engine's cache.
func TestDisabledKeyIsForgottenByTheEngineAtOnce(t *testing.T) {
	c := testConfig(t)
	d, _ := startDaemon(t, c)
	ctx := t.Context()
	if _, err := d.store.engine.Setting(ctx, settingCredentials); err != nil {
		t.Fatal(err)
	}
	if err := d.store.kms.Disable(ctx, engine.EKSSES3); err != nil { // behind the daemon's back: cached keys go on
		t.Fatal(err)
	}
	if _, err := d.store.engine.Setting(ctx, settingCredentials); err != nil {
		t.Fatalf("not cached: %v", err)
	}
	// Enabling and rotating go through the daemon, which forgets.
	if _, err := d.keys.do(ctx, KeyRequest{Action: KeyRotate, Key: "sse-s3"}); err == nil {
		t.Fatal("a disabled key was rotated")
	}
	if _, err := d.store.engine.Setting(ctx, settingCredentials); err == nil {
		t.Error("the engine still has the data keys of a disabled key")
	}
	if _, err := d.keys.do(ctx, KeyRequest{Action: KeyEnable, Key: "sse-s3"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.engine.Setting(ctx, settingCredentials); err != nil {
		t.Error(err)
	}
}
