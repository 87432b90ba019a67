package engine

import (
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// BucketConfig returns a configuration document of a bucket, KindNoSuchConfig
// when it has none of that name. The store does not look into documents: whoever
// sets one has validated it.
//
// It reads no record when there is no such document or when it was read lately,
// so it may be asked for with every request. The document must not be changed.
// It is the same slice for as long as nothing of the bucket changes, as a rule,
// so bytes.Equal tells cheaply whether something parsed from it is still valid.
func (s *Store) BucketConfig(ctx context.Context, c objstore.Caller, bucket string, name objstore.ConfigName) ([]byte, error) {
	const op = "bucket configuration"
	if !name.Valid() {
		return nil, errConfigName(op, name)
	}
	root, b, err := s.openRecord(ctx, op, bucket)
	if err != nil {
		return nil, err
	}
	if b.Configs&name.Of() == 0 {
		return nil, errNoConfig
	}
	if doc, ok := s.cache.config(root, name); ok {
		return doc, nil
	}
	var doc []byte
	err = s.view(ctx, op, bucket, func(r reader) error {
		root, err := r.bucketRoot(bucket) // it may be another one by now
		if err != nil {
			return err
		}
		v, err := r.Get(record.ConfigKey(root, name))
		if errors.Is(err, meta.ErrNotFound) {
			return errNoConfig
		}
		if err != nil {
			return err
		}
		rec, err := record.ParseConfig(v)
		if err != nil {
			return err
		}
		doc = rec.Document
		r.cache.putConfig(r.token, root, name, doc)
		return nil
	})
	return doc, err
}

// SetBucketConfig sets a configuration document of a bucket, durably. It is of 1
// byte to MaxConfigSize (KindTooLarge). KindTooManyConfigs: there are
// MaxConfigIDs others of its family.
func (s *Store) SetBucketConfig(ctx context.Context, c objstore.Caller, bucket string, name objstore.ConfigName, doc []byte) error {
	const op = "set bucket configuration"
	if err := checkConfig(op, bucket, name, doc); err != nil {
		return err
	}
	err := s.update(ctx, c, op, bucket, func(x *tx) error {
		root, b, err := x.bucketRecord(bucket)
		if err != nil {
			return err
		}
		return x.setConfig(root, b, name, doc)
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
}

// checkConfig refuses a document that no bucket can have.
func checkConfig(op, bucket string, name objstore.ConfigName, doc []byte) error {
	switch {
	case !name.Valid():
		return errConfigName(op, name)
	case len(doc) == 0:
		return objstore.E(objstore.KindInvalidArgument, op, bucket, "the document is empty")
	case len(doc) > objstore.MaxConfigSize:
		return objstore.E(objstore.KindTooLarge, op, bucket, "the document is over 255 KiB")
	}
	return nil
}

// setConfig sets a document of a bucket whose record is b.
func (x *tx) setConfig(root objstore.InodeID, b *record.Bucket, name objstore.ConfigName, doc []byte) error {
	if family, _, many := name.Family(); many && b.Configs&name.Of() != 0 {
		others, err := x.configs(root, family, string(name), 0)
		if err != nil {
			return err
		}
		if others >= objstore.MaxConfigIDs {
			return objstore.E(objstore.KindTooManyConfigs, "set bucket configuration", string(name), "")
		}
	}
	x.txn.Set(record.ConfigKey(root, name), (&record.Config{Document: doc, Modified: x.now}).Append(nil))
	b.Configs |= name.Of()
	x.setBucket(root, b)
	return nil
}

// DeleteBucketConfig removes a configuration document, durably; KindNoSuchConfig
// when there is none.
func (s *Store) DeleteBucketConfig(ctx context.Context, c objstore.Caller, bucket string, name objstore.ConfigName) error {
	const op = "delete bucket configuration"
	if !name.Valid() {
		return errConfigName(op, name)
	}
	err := s.update(ctx, c, op, bucket, func(x *tx) error {
		root, b, err := x.bucketRecord(bucket)
		if err != nil {
			return err
		}
		key := record.ConfigKey(root, name)
		if _, err := x.Get(key); errors.Is(err, meta.ErrNotFound) {
			return objstore.E(objstore.KindNoSuchConfig, op, bucket, string(name))
		} else if err != nil {
			return err
		}
		x.txn.Delete(key)
		others := 0
		if family, _, many := name.Family(); many {
			if others, err = x.configs(root, family, string(name), 1); err != nil {
				return err
			}
		}
		if others == 0 {
			b.Configs &^= name.Of()
		}
		x.setBucket(root, b)
		return nil
	})
	if err != nil && !objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return err
	}
	// That there is none must last, too, where it is taken for done.
	if derr := s.durable(context.WithoutCancel(ctx)); derr != nil {
		return derr
	}
	return err
}

// configs counts the documents of a family but the one called except, up to
// most when that is not 0.
func (r reader) configs(root objstore.InodeID, f objstore.ConfigFamily, except string, most int) (n int, err error) {
	for p, err := range r.Scan(meta.Prefix(record.ConfigPrefix(root, string(f)+"/"))) {
		if err != nil {
			return 0, err
		}
		name, err := record.ParseConfigKey(p.Key)
		if err != nil {
			return 0, err
		}
		if string(name) == except {
			continue
		}
		if n++; n == most {
			break
		}
	}
	return n, nil
}

// ListBucketConfigs returns up to max documents of a family, by id in byte
// order, behind the id after.
func (s *Store) ListBucketConfigs(ctx context.Context, c objstore.Caller, bucket string, f objstore.ConfigFamily, after string, max int) (list []objstore.NamedConfig, truncated bool, err error) {
	const op = "list bucket configurations"
	if !f.Name("x").Valid() {
		return nil, false, errConfigName(op, objstore.ConfigName(f))
	}
	err = s.view(ctx, op, bucket, func(r reader) error {
		list, truncated = nil, false
		root, err := r.bucketRoot(bucket)
		if err != nil {
			return err
		}
		rng := meta.Prefix(record.ConfigPrefix(root, string(f)+"/"))
		if after != "" {
			rng.Start = append(record.ConfigKey(root, f.Name(after)), 0)
		}
		for p, err := range r.Scan(rng) {
			if err != nil {
				return err
			}
			if truncated = len(list) == max; truncated {
				return nil
			}
			name, err := record.ParseConfigKey(p.Key)
			if err != nil {
				return err
			}
			rec, err := record.ParseConfig(p.Value)
			if err != nil {
				return err
			}
			list = append(list, objstore.NamedConfig{Name: name, Document: rec.Document})
		}
		return nil
	})
	return list, truncated, err
}

// bucketRecord returns a bucket's root and its record, which is the caller's.
func (x *tx) bucketRecord(name string) (objstore.InodeID, *record.Bucket, error) {
	root, err := x.bucketRoot(name)
	if err != nil {
		return 0, nil, err
	}
	b, err := x.bucket(root)
	return root, b, err
}

// errNoConfig is made once: most buckets lack most configurations, and each request asks
// for some.
var errNoConfig error = objstore.E(objstore.KindNoSuchConfig, "bucket configuration", "", "")

func errConfigName(op string, name objstore.ConfigName) error {
	return objstore.E(objstore.KindInvalidArgument, op, string(name), "there are no configuration documents of that name")
}
