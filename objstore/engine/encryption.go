package engine

import (
	"bytes"
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// BucketEncryption returns a bucket's default encryption; its Mode is SSENone
// when none was ever set. KindNoSuchBucket.
func (s *Store) BucketEncryption(ctx context.Context, c objstore.Caller, name string) (objstore.BucketEncryption, error) {
	_, b, err := s.openRecord(ctx, "bucket encryption", name)
	return b.Encryption, err
}

// isExternal reports whether a mode is one of the two whose data keys are under an
// external key that is named.
func isExternal(mode objstore.SSEMode) bool {
	return mode == objstore.SSEKMS || mode == objstore.SSEDSSE
}

// SetBucketEncryption sets a bucket's default encryption, durably: that of
// objects and files that are made from now on. The zero value takes it back. The
// external key is looked for when it is used, not here, as AWS has it.
// KindNoSuchBucket, KindInvalidArgument.
func (s *Store) SetBucketEncryption(ctx context.Context, c objstore.Caller, name string, e objstore.BucketEncryption) error {
	const op = "set bucket encryption"
	switch {
	case e.Mode > objstore.SSEDSSE, e.Mode == objstore.SSEC:
		return objstore.E(objstore.KindInvalidArgument, op, name, "no mode that a bucket can have")
	case e.KMSKeyID != "" && !isExternal(e.Mode):
		return objstore.E(objstore.KindInvalidArgument, op, name, "a key id without SSE-KMS")
	case len(e.KMSKeyID) > objstore.MaxKMSKeyID:
		return objstore.E(objstore.KindInvalidArgument, op, name, "the key id is over 2 KiB")
	}
	err := s.update(ctx, c, op, name, func(x *tx) error {
		root, b, err := x.bucketRecord(name)
		if err != nil {
			return err
		}
		b.Encryption = e
		x.setBucket(root, b)
		return nil
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
}

// AWS's words (UpdateObjectEncryption, "Errors").
const (
	updateSource = "The UpdateObjectEncryption operation doesn't support source objects with the encryption type DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 or SSE-KMS are supported."
	updateLocked = "The encryption type for the specified object can't be updated because that object is protected by S3 Object Lock. If the object has a governance-mode retention period or a legal hold, you must first remove the Object Lock status on the object before you issue your UpdateObjectEncryption request. You can't use the UpdateObjectEncryption operation with objects that have an Object Lock compliance mode retention period applied to them."
	updatePlain  = "The UpdateObjectEncryption operation doesn't supported unencrypted source objects. Only source objects encrypted with SSE-S3 or SSE-KMS are supported."
)

// UpdateEncryption seals an object's key under another data key, durably: no data
// are moved, and ETag, times, checksum and metadata stay as they are. The new mode
// is SSEKMS. KindAccessDenied: Object Lock holds the version. KindInvalidRequest:
// the object is not of SSE-S3 or SSE-KMS; a file that nobody has written to has no
// key at all.
func (s *Store) UpdateEncryption(ctx context.Context, c objstore.Caller, req objstore.UpdateEncryptionRequest) error {
	const op = "update encryption"
	if req.Encryption.Mode != objstore.SSEKMS {
		return objstore.E(objstore.KindInvalidArgument, op, req.Key, "the new mode is not SSE-KMS")
	}
	if err := checkEncryption(op, req.Encryption); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := s.updateEncryptionOnce(ctx, c, op, req)
		if !errors.Is(err, errLostRace) {
			return err
		}
		if try == copyTries {
			return objstore.E(objstore.KindConflict, op, req.Key, "the object keeps changing")
		}
	}
}

func (s *Store) updateEncryptionOnce(ctx context.Context, c objstore.Caller, op string, req objstore.UpdateEncryptionRequest) error {
	root, b, err := s.openRecord(ctx, op, req.Bucket)
	if err != nil {
		return err
	}
	var ino objstore.InodeID
	var n *record.Inode
	err = s.view(ctx, op, req.Key, func(r reader) error {
		if ino, n, _, err = r.findObject(s, op, root, req.Key, req.Version); err != nil {
			return err
		}
		return r.checked(s, ino, n, req.Check)
	})
	if err != nil {
		return err
	}
	if n.Lock.Holds(s.now(), false) {
		return objstore.E(objstore.KindAccessDenied, op, req.Key, updateLocked)
	}
	switch n.Content.Mode {
	case objstore.SSEC, objstore.SSEDSSE:
		return objstore.E(objstore.KindInvalidRequest, op, req.Key, updateSource)
	case objstore.SSENone:
		return objstore.E(objstore.KindInvalidRequest, op, req.Key, updatePlain)
	}
	p, err := s.parentOf(ctx, root, &b, req.Encryption)
	if err != nil {
		return err
	}
	oek, err := s.openOEK(ctx, &n.Content, nil)
	if err != nil {
		return err
	}
	defer oek.Wipe()
	sealed := record.Content{ID: n.Content.ID}
	s.sealOEK(&sealed, p, oek)
	return s.reseal(ctx, c, op, req, ino, n, &sealed)
}

// reseal puts a new sealed form of an object's key into its record. If the file
// is open, its next commit must not bring the old form back.
func (s *Store) reseal(ctx context.Context, c objstore.Caller, op string, req objstore.UpdateEncryptionRequest, ino objstore.InodeID, was *record.Inode, sealed *record.Content) error {
	open, err := s.nodes.acquire(ctx, s, ino)
	if err != nil {
		return err
	}
	defer s.releaseNode(context.WithoutCancel(ctx), open)
	open.commitMu.Lock()
	defer open.commitMu.Unlock()
	err = s.update(ctx, c, op, req.Key, func(x *tx) error {
		root, err := x.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		at, now, _, err := x.findObject(s, op, root, req.Key, req.Version)
		if err != nil {
			return err
		}
		// It may have been written to since: its key is the same then. One that was
		// locked since is looked at again.
		if at != ino || now.Lock != was.Lock || now.Content.ID != was.Content.ID || !bytes.Equal(now.Content.SealedOEK, was.Content.SealedOEK) {
			return errLostRace
		}
		now.Content.Reseal(sealed)
		x.setInode(at, now)
		return nil
	})
	if err != nil {
		return err
	}
	open.mu.Lock()
	for _, c := range [...]*record.Content{&open.content, &open.stored.content} {
		if c.ID == sealed.ID {
			c.Reseal(sealed)
		}
	}
	open.mu.Unlock()
	return s.durable(context.WithoutCancel(ctx))
}
