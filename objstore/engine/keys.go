package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// External keys that the store uses by itself. The names are on disk. No
// request can name them, and they can be neither disabled nor deleted.
const (
	// EKStore seals the store key, and nothing else.
	EKStore kms.KeyID = "store"
	// EKSSES3 is the parent of the data keys of SSE-S3, and of those that seal
	// settings: S3 credentials, TLS keys.
	EKSSES3 kms.KeyID = "sse-s3"
)

// IsOwnKey reports whether the store uses the external key by itself.
func IsOwnKey(id kms.KeyID) bool { return id == EKStore || id == EKSSES3 }

// names is where this store's keys are, as ARNs say it.
func (s *Store) names() kms.Names { return kms.Names{Region: s.o.Region, Account: objstore.AccountID} }

// keyARN is the ARN of an external key.
func (s *Store) keyARN(id kms.KeyID) string { return s.names().KeyARN(id) }

// resolveKey finds the external key that a request names by name, alias or
// ARN, whatever its state; "" is the managed key of S3, which is made when it
// is first asked for. Errors: KindNoSuchKey, in AWS's words, KindKeyUnavailable.
func (s *Store) resolveKey(ctx context.Context, op, text string) (kms.KeyInfo, error) {
	ref, err := kms.Ref{Alias: kms.ManagedS3}, error(nil)
	if text != "" {
		ref, err = s.names().ParseRef(text)
	}
	var info kms.KeyInfo
	if err == nil {
		info, err = s.o.KMS.Resolve(ctx, ref)
	}
	if err == nil && IsOwnKey(info.ID) {
		info, err = kms.KeyInfo{}, kms.ErrNotFound
	}
	if err != nil {
		var said *kms.RefError
		if err = s.names().Absent(text, ref, err); errors.As(err, &said) {
			return info, &objstore.Error{Kind: objstore.KindNoSuchKey, Op: op, Msg: said.Msg}
		}
		return info, s.keyError(op, "", err)
	}
	return info, nil
}

// keyError translates an error of the key service about an external key.
func (s *Store) keyError(op string, id kms.KeyID, err error) error {
	e := &objstore.Error{Kind: objstore.KindKeyUnavailable, Op: op, Err: err}
	var below *objstore.Error
	switch arn := s.keyARN(id); {
	case errors.As(err, &below): // of the save function of a keystore
		e.Kind = below.Kind
	case errors.Is(err, syscall.ENOSPC):
		e.Kind = objstore.KindNoSpace
	case errors.Is(err, kms.ErrTampered):
		e.Kind = objstore.KindCorrupt
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Kind = objstore.KindCanceled
	case errors.Is(err, kms.ErrDisabled):
		e.Kind, e.Msg = objstore.KindKeyDisabled, arn+" is disabled."
	case errors.Is(err, kms.ErrPendingDeletion):
		e.Kind, e.Msg = objstore.KindKeyPendingDeletion, arn+" is pending deletion."
	case errors.Is(err, kms.ErrNotFound):
		e.Kind, e.Msg = objstore.KindNoSuchKey, "Key '"+arn+"' does not exist"
	}
	return e
}

// ForgetKeys makes the store ask the key service again for every data key under
// an external key that was disabled, deleted or rotated; "" is all of them. A
// file that is open keeps its key until it is closed; what begins after
// ForgetKeys returned sees the key as it is now.
func (s *Store) ForgetKeys(id kms.KeyID) {
	s.deks.Forget(id)
	s.extents.ForgetKeys()
}

// DataKeys counts the data keys under each external key.
func (s *Store) DataKeys(ctx context.Context) (map[kms.KeyID]int, error) {
	const op = "count data keys"
	counts := map[kms.KeyID]int{}
	for r := meta.Prefix(record.DEKPrefix()); r.Start != nil; {
		page, next, err := s.dekPage(ctx, op, r)
		if err != nil {
			return nil, err
		}
		r.Start = next
		for _, p := range page {
			rec, err := record.ParseDEK(p.value)
			if err != nil {
				return nil, s.wrap(op, fmt.Sprintf("%x", p.key), err)
			}
			counts[kms.KeyID(rec.KeyID)]++
		}
	}
	return counts, nil
}

// rewrapStep is how many data key records one transaction moves.
const rewrapStep = 256

// RewrapKeys moves the data keys under an external key ("": all) to its newest
// version, and returns how many it moved when that is durable. It works in
// steps, each of which leaves the store whole: what a crash or an error
// interrupted, another call finishes. Keys that cannot be opened now (disabled,
// pending deletion, gone) are left as they are. KindNotSupported: the key
// service cannot do it.
func (s *Store) RewrapKeys(ctx context.Context, id kms.KeyID) (moved int, err error) {
	const op = "rewrap data keys"
	if err := s.writable(op, string(id)); err != nil {
		return 0, err
	}
	service, ok := s.o.KMS.(kms.Rewrapper)
	if !ok {
		return 0, objstore.E(objstore.KindNotSupported, op, string(id), "the key service cannot move data keys to a new version")
	}
	r := meta.Prefix(record.DEKPrefix())
	for r.Start != nil {
		keys, next, err := s.dekPage(ctx, op, r)
		if err != nil {
			return moved, err
		}
		r.Start = next
		n, err := s.rewrapPage(ctx, op, service, id, keys)
		moved += n
		if err != nil {
			return moved, err
		}
	}
	if moved == 0 {
		return 0, nil
	}
	return moved, s.durable(ctx)
}

// dekRecord is a data key record where it lies.
type dekRecord struct {
	key, value []byte
}

// dekPage reads the first records of a range; next is where the others begin,
// nil: there are none.
func (s *Store) dekPage(ctx context.Context, op string, rg meta.Range) (page []dekRecord, next []byte, err error) {
	err = s.view(ctx, op, "", func(r reader) (err error) {
		page, next, err = readPage(r, rg, rewrapStep, func(p meta.Pair) (dekRecord, bool, error) {
			return dekRecord{bytes.Clone(p.Key), bytes.Clone(p.Value)}, true, nil
		})
		return err
	})
	return page, next, err
}

// rewrapPage moves the records of one page in one transaction.
func (s *Store) rewrapPage(ctx context.Context, op string, service kms.Rewrapper, id kms.KeyID, page []dekRecord) (moved int, err error) {
	anew := make([][]byte, len(page))
	any := false
	for i, p := range page {
		rec, err := record.ParseDEK(p.value)
		if err != nil {
			return 0, s.wrap(op, fmt.Sprintf("%x", p.key), err)
		}
		if id != "" && rec.KeyID != string(id) {
			continue
		}
		sealed, err := service.Rewrap(ctx, rec.Sealed, rec.Context)
		switch {
		case errors.Is(err, kms.ErrDisabled), errors.Is(err, kms.ErrPendingDeletion), errors.Is(err, kms.ErrNotFound):
			continue
		case errors.Is(err, kms.ErrTampered):
			// One damaged record must not keep the others under an old version.
			s.corrupt(op, fmt.Sprintf("%x", p.key), err)
			continue
		case err != nil:
			return 0, s.keyError(op, kms.KeyID(rec.KeyID), err)
		case sealed == nil:
			continue
		}
		rec.Sealed = sealed
		anew[i], any = rec.Append(nil), true
	}
	if !any {
		return 0, nil
	}
	err = s.update(ctx, objstore.Caller{}, op, "", func(x *tx) error {
		moved = 0
		for i, p := range page {
			if anew[i] == nil {
				continue
			}
			v, err := x.Get(p.key)
			if errors.Is(err, meta.ErrNotFound) || err == nil && string(v) != string(p.value) {
				continue // removed or replaced since
			}
			if err != nil {
				return err
			}
			x.txn.Set(p.key, anew[i])
			moved++
		}
		return nil
	})
	return moved, err
}
