package mount

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/iam"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// settingCredentials is the sealed setting that holds the S3 access keys: JSON,
// an array of accessKey, of which the first is the one that `coffer env` gives
// out.
const settingCredentials = "s3/credentials"

// accessKey is one S3 access key. Its fields are on disk.
type accessKey struct {
	ID      string    `json:"id"`
	Secret  string    `json:"secret"`
	Created time.Time `json:"created"`
}

// credentials are the access keys of a store itself, whose holder may do
// everything; users have theirs in iam. They do not change while it is open.
type credentials struct {
	keys []accessKey
}

// lookup is that of s3api.Options.
func (c *credentials) lookup(_ context.Context, id string) ([]byte, error) {
	for i := range c.keys {
		if c.keys[i].ID == id {
			return []byte(c.keys[i].Secret), nil
		}
	}
	return nil, sigv4.ErrUnknownKey
}

func loadCredentials(ctx context.Context, s settings) (*credentials, error) {
	text, err := s.Setting(ctx, settingCredentials)
	if err != nil {
		return nil, fmt.Errorf("S3 credentials: %w", err)
	}
	defer clear(text)
	c := &credentials{}
	if err := json.Unmarshal(text, &c.keys); err != nil || len(c.keys) == 0 {
		return nil, objstore.Wrap(objstore.KindCorrupt, "read", settingCredentials, err)
	}
	return c, nil
}

// makeCredentials makes the first access key, unless there is one.
func makeCredentials(ctx context.Context, s settings) (*credentials, error) {
	c, err := loadCredentials(ctx, s)
	if err == nil || !objstore.IsKind(err, objstore.KindNotFound) {
		return c, err
	}
	c = &credentials{keys: []accessKey{newAccessKey(time.Now())}}
	text, err := json.Marshal(c.keys)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if err := s.SetSetting(ctx, settingCredentials, text); err != nil {
		return nil, fmt.Errorf("S3 credentials: %w", err)
	}
	return c, nil
}

func newAccessKey(now time.Time) accessKey {
	id, secret := iam.NewKeyPair(iam.KeyPrefix)
	return accessKey{ID: id, Secret: secret, Created: now.UTC().Truncate(time.Second)}
}
