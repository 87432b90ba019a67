package engine

import (
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/lifecycle"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// uploads takes a page of the bucket's uploads.
func (l *lifecycleRun) uploads(ctx context.Context) error {
	prefix, from, ok := l.span(aborting)
	if !ok {
		l.next(record.LifecycleDone)
		return nil
	}
	type place struct {
		key string
		id  record.UploadID
	}
	var due []place
	last, more := "", false
	err := l.s.view(ctx, "lifecycle", l.bucket, func(r reader) error {
		due, last, more = nil, "", false
		rng := meta.Prefix(record.UploadPrefix(l.root, prefix))
		rng.Start = record.UploadPrefix(l.root, from)
		seen := 0
		for p, err := range r.Scan(rng) {
			if err != nil {
				return err
			}
			key, id, err := record.ParseUploadKey(p.Key)
			if err != nil {
				return err
			}
			// All uploads of a key are in one page: it goes on behind a key.
			if seen++; seen > l.s.lifecyclePage && key != last {
				more = true
				return nil
			}
			last = key
			rec, err := record.ParseUpload(p.Value)
			if err != nil {
				return err
			}
			if rule, at := lifecycle.Abortion(l.rules, key, rec.Initiated); rule != nil && at <= l.now {
				due = append(due, place{key, id})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, u := range due {
		gone, err := l.abort(ctx, u.key, u.id)
		switch {
		case err == nil && gone:
			l.report.Aborted++
		case err == nil:
		default:
			if err := l.failed(ctx, err, "an upload could not be aborted", u.key); err != nil {
				return err
			}
		}
	}
	l.at.From = last + "\x01" // no key has a NUL, and behind a key there is one
	if !more {
		l.at.From = behind(prefix)
	}
	return nil
}

// abort ends an upload if it is still there.
func (l *lifecycleRun) abort(ctx context.Context, key string, id record.UploadID) (gone bool, err error) {
	err = l.s.update(ctx, objstore.Caller{}, "lifecycle", key, func(x *tx) error {
		gone = false
		if err := l.still(x); err != nil {
			return err
		}
		at := record.UploadKey(l.root, key, id)
		if _, err := x.Get(at); errors.Is(err, meta.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		gone = true
		x.txn.Delete(at)
		return x.dropParts(id, nil)
	})
	return gone, err
}
