package engine

import (
	"context"
	"errors"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// MaxSetting bounds a setting's value, in bytes.
const MaxSetting = 64 << 10

// Setting returns a small named secret that is sealed in the store (S3
// credentials, TLS keys), or KindNotFound.
func (s *Store) Setting(ctx context.Context, name string) ([]byte, error) {
	var rec *record.Setting
	err := s.view(ctx, "setting", name, func(r reader) error {
		v, err := r.Get(record.SettingKey(name))
		if errors.Is(err, meta.ErrNotFound) {
			return objstore.E(objstore.KindNotFound, "setting", name, "")
		}
		if err != nil {
			return err
		}
		rec, err = record.ParseSetting(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	dek, err := s.dek(ctx, rec.DEK)
	if err != nil {
		return nil, err
	}
	value, err := coffercrypto.OpenBytes(dek, s.settingBinding(name), rec.Sealed)
	return value, s.wrap("setting", name, err)
}

// SetSetting seals and stores a small secret (1 byte to 64 KiB) under a data
// key of its own, and makes it durable.
func (s *Store) SetSetting(ctx context.Context, name string, value []byte) error {
	if name == "" || len(name) > objstore.MaxComponentLen || len(value) == 0 || len(value) > MaxSetting {
		return objstore.E(objstore.KindInvalidArgument, "set setting", name, "name or value is too long or empty")
	}
	if err := s.writable("set setting", name); err != nil {
		return err
	}
	id, rec, err := s.newDEK(ctx, EKSSES3, s.storeContext("setting"))
	if err != nil {
		return err
	}
	dek, err := s.o.KMS.Decrypt(ctx, rec.Sealed, rec.Context)
	if err != nil {
		return s.keyError("set setting", EKSSES3, err)
	}
	defer dek.Wipe()
	sealed := coffercrypto.SealBytes(dek, s.settingBinding(name), value)
	err = s.update(ctx, objstore.Caller{}, "set setting", name, func(x *tx) error {
		v, err := x.Get(record.SettingKey(name))
		if err == nil {
			if old, err := record.ParseSetting(v); err == nil {
				x.txn.Delete(record.DEKKey(old.DEK))
			}
		} else if !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		x.txn.Set(record.DEKKey(id), rec.Append(nil))
		x.txn.Set(record.SettingKey(name), (&record.Setting{DEK: id, Sealed: sealed}).Append(nil))
		return nil
	})
	if err != nil {
		return err
	}
	return s.durable(ctx)
}

// RemoveSetting removes a setting, durably; KindNotFound.
func (s *Store) RemoveSetting(ctx context.Context, name string) error {
	err := s.update(ctx, objstore.Caller{}, "remove setting", name, func(x *tx) error {
		v, err := x.Get(record.SettingKey(name))
		if errors.Is(err, meta.ErrNotFound) {
			return objstore.E(objstore.KindNotFound, "remove setting", name, "")
		}
		if err != nil {
			return err
		}
		if old, err := record.ParseSetting(v); err == nil {
			x.txn.Delete(record.DEKKey(old.DEK))
		}
		x.txn.Delete(record.SettingKey(name))
		return nil
	})
	if err != nil {
		return err
	}
	return s.durable(ctx)
}

// Settings returns the names of the settings that begin with prefix, in byte
// order.
func (s *Store) Settings(ctx context.Context, prefix string) (names []string, err error) {
	err = s.view(ctx, "settings", prefix, func(r reader) error {
		names = nil
		for p, err := range r.Scan(meta.Prefix(record.SettingKey(prefix))) {
			if err != nil {
				return err
			}
			names = append(names, record.SettingName(p.Key))
		}
		return nil
	})
	return names, err
}

func (s *Store) settingBinding(name string) coffercrypto.Binding {
	return coffercrypto.Bind(coffercrypto.DomainSetting, s.o.StoreID[:], []byte(name))
}
