package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/cofferfs/coffer/objstore"
)

// crashUpload is a multipart upload whose parts were acknowledged. As long as
// nothing was begun that ends it, a crash leaves it as it is.
type crashUpload struct {
	key   string
	id    objstore.UploadID
	parts []objstore.CompletePart
	p     []byte
}

// uploadPart begins an upload and uploads its only part.
func (k *stack) uploadPart(bucket, key string, p []byte) crashUpload {
	k.t.Helper()
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: bucket, Key: key})
	if err != nil {
		k.t.Fatal(err)
	}
	info, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: bucket, Key: key, Upload: up.ID, Number: 1, Body: bytes.NewReader(p), Size: int64(len(p))})
	if err != nil {
		k.t.Fatal(err)
	}
	return crashUpload{key: key, id: up.ID, parts: []objstore.CompletePart{{Number: 1, ETag: info.ETag}}, p: p}
}

// upload uploads parts and then completes, aborts or leaves them.
func (c *crashClient) upload(s *Store, rnd *rand.Rand, name string, current map[string][]byte) error {
	up, err := s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: name})
	if err != nil {
		return err
	}
	u := crashUpload{key: name, id: up.ID}
	bodies := [][]byte{c.body(rnd, true)}
	if rnd.IntN(4) == 0 { // none but the last may be small
		bodies = append([][]byte{bytesOf(rnd.Uint64(), 5<<20)}, bodies...)
	}
	for i, p := range bodies {
		info, _, err := s.UploadPart(bg, s3C, objstore.UploadPartRequest{
			Bucket: "bucket", Key: name, Upload: u.id, Number: i + 1, Body: bytes.NewReader(p), Size: int64(len(p)),
		})
		if err != nil {
			return err
		}
		u.parts = append(u.parts, objstore.CompletePart{Number: i + 1, ETag: info.ETag})
		u.p = append(u.p, p...)
	}
	c.setUpload(u)
	switch rnd.IntN(4) {
	case 0: // it waits for what comes after the crash
		return nil
	case 1:
		c.endUpload(u.id)
		return s.AbortUpload(bg, s3C, "bucket", name, u.id)
	}
	c.endUpload(u.id)
	at := c.begin(name, true, u.p, true)
	if _, err := s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: name, Upload: u.id, Parts: u.parts, Size: -1}); err != nil {
		return err
	}
	c.ack(name, at)
	current[name] = u.p
	return nil
}

func (c *crashClient) setUpload(u crashUpload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uploads[u.id] = u
}

func (c *crashClient) endUpload(id objstore.UploadID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.uploads, id)
}

// completeUploads completes, after a crash, the uploads that were waiting before it
// and had not begun to end at the first instant after it.
func (c *crashClient) completeUploads(s *Store, before map[objstore.UploadID]crashUpload) error {
	for id, u := range before {
		if _, ok := c.uploads[id]; !ok {
			continue
		}
		_, err := s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: u.key, Upload: id, Parts: u.parts, Size: -1})
		if err != nil {
			return fmt.Errorf("%q: an upload whose parts were acknowledged: %w", u.key, err)
		}
		p, _, err := get(s, objstore.GetRequest{Key: u.key})
		if err != nil || !bytes.Equal(p, u.p) {
			return fmt.Errorf("%q: of %d bytes of an upload %d are there, %v", u.key, len(u.p), len(p), err)
		}
	}
	return nil
}
