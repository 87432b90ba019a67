package mount

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
)

// LendRequest lends customers' keys to a mount, or takes them back.
type LendRequest struct {
	Mountpoint string `json:"mountpoint"` // absolute
	// Keys have 32 bytes each. To take back, none means all.
	Keys [][]byte `json:"keys,omitempty"`
}

// LendReply says what has become of it.
type LendReply struct {
	// Changed is how many keys were taken back.
	Changed int `json:"changed"`
	// Lent is how many keys the mount has been lent now.
	Lent int `json:"lent"`
	// Mountpoints are those that show the same file system, and so have the same
	// keys.
	Mountpoints []string `json:"mountpoints"`
	// InUse is how many open files still have a key that was taken back, until
	// they are closed.
	InUse int `json:"in_use"`
}

// Lend lends keys to a mount, which from then on opens what is encrypted under
// them: all of them or, with an error, none. It wipes what it was given.
func (d *Daemon) Lend(r LendRequest) (LendReply, error) {
	defer wipeRequest(&r)
	d.mountsMu.Lock()
	defer d.mountsMu.Unlock()
	s, err := d.servedOn(r.Mountpoint)
	if err != nil {
		return LendReply{}, err
	}
	if err := d.lendAll(s.origin, r.Keys); err != nil {
		return LendReply{}, err
	}
	d.publish()
	d.log.Info("customers' keys lent", "mountpoint", r.Mountpoint, "keys", len(r.Keys))
	return d.lendReply(s), nil
}

// Return takes keys back, wipes them, and has the kernel forget what it has read
// with them. It wipes what it was given.
func (d *Daemon) Return(ctx context.Context, r LendRequest) (LendReply, error) {
	defer wipeRequest(&r)
	keys, err := takeKeys(r.Keys)
	if err != nil {
		return LendReply{}, err
	}
	d.mountsMu.Lock()
	s, err := d.servedOn(r.Mountpoint)
	if err != nil {
		d.mountsMu.Unlock()
		for _, k := range keys {
			k.Wipe()
		}
		return LendReply{}, err
	}
	changed := 0
	if len(keys) == 0 {
		changed = d.store.engine.ReturnKeys(s.origin)
	}
	for _, k := range keys {
		if d.store.engine.ReturnKey(s.origin, k) {
			changed++
		}
		k.Wipe()
	}
	d.publish()
	reply := d.lendReply(s)
	reply.Changed = changed
	d.mountsMu.Unlock()
	if changed == 0 {
		return reply, nil
	}
	d.log.Info("customers' keys returned", "mountpoint", r.Mountpoint, "keys", changed)
	err = d.dropPages(ctx, []*served{s}, func(mode objstore.SSEMode, _ kms.KeyID) bool { return mode == objstore.SSEC })
	if err != nil {
		return reply, err
	}
	reply.InUse = d.store.engine.CustomerKeysInUse()
	return reply, nil
}

// dropPages has the kernel write back and forget the pages that file systems
// have of some files. mountsMu is not held: the kernel may write to us for this.
func (d *Daemon) dropPages(ctx context.Context, from []*served, under func(objstore.SSEMode, kms.KeyID) bool) error {
	for ino, err := range d.store.engine.FilesUnder(ctx, under) {
		if err != nil {
			return hinted(fmt.Errorf("the key is locked, but the kernel may still have pages that were read with it: %w", err),
				"coffer umount drops them")
		}
		for _, s := range from {
			s.fs.DropPages(ino)
		}
	}
	return nil
}

// dropKeyPages is dropPages of all mounts for an external key that was locked.
func (d *Daemon) dropKeyPages(ctx context.Context, id kms.KeyID) error {
	d.mountsMu.Lock()
	all := slices.Clone(d.served)
	d.mountsMu.Unlock()
	if len(all) == 0 {
		return nil
	}
	return d.dropPages(ctx, all, func(_ objstore.SSEMode, key kms.KeyID) bool { return key == id })
}

// servedOn finds what is mounted on a directory. mountsMu is held.
func (d *Daemon) servedOn(dir string) (*served, error) {
	p := d.find(dir)
	if p == nil {
		return nil, fmt.Errorf("%q is not a mount of the store %q", dir, d.cfg.Store)
	}
	return p.of, nil
}

func (d *Daemon) lendReply(s *served) LendReply {
	r := LendReply{Lent: d.store.engine.LentKeys(s.origin)}
	for _, p := range s.points {
		r.Mountpoints = append(r.Mountpoints, p.Mountpoint)
	}
	return r
}

// lendAll lends all of some keys to a mount, or none.
func (d *Daemon) lendAll(origin uint32, keys [][]byte) error {
	taken, err := takeKeys(keys)
	if err != nil {
		return err
	}
	return d.store.engine.LendKeys(origin, taken...)
}

// takeKeys makes keys of what has 32 bytes each, and wipes that. With an error it
// makes none.
func takeKeys(texts [][]byte) (keys []*secret.Key, err error) {
	defer wipeAll(texts)
	for _, b := range texts {
		k, err := secret.Take(b)
		if err != nil {
			for _, k := range keys {
				k.Wipe()
			}
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func wipeAll(keys [][]byte) {
	for _, k := range keys {
		clear(k)
	}
}

func cloneAll(keys [][]byte) [][]byte {
	clones := make([][]byte, len(keys))
	for i, k := range keys {
		clones[i] = slices.Clone(k)
	}
	return clones
}

// readCustomerKeys reads files with a customer's key each: 32 bytes, or the
// base64 or hexadecimal text of them, with or without a line end. notes are what
// the user should be told about the files.
func readCustomerKeys(paths []string) (keys [][]byte, notes []string, err error) {
	defer func() {
		if err != nil {
			wipeAll(keys)
		}
	}()
	for _, path := range paths {
		text, warn, err := readSecretFile(path, "SSE-C key file")
		if errors.Is(err, os.ErrNotExist) {
			return keys, notes, fmt.Errorf("SSE-C key file %q does not exist", path)
		}
		if err != nil {
			return keys, notes, err
		}
		key := parseCustomerKey(text)
		clear(text)
		if key == nil {
			return keys, notes, hinted(fmt.Errorf("SSE-C key file %q holds no key", path),
				"a key is 32 bytes, or their base64 or hexadecimal text: openssl rand -out FILE 32 makes one")
		}
		keys = append(keys, key)
		if warn != "" {
			notes = append(notes, warn)
		}
	}
	return keys, notes, nil
}

// parseCustomerKey returns the key in a key file, or nil.
func parseCustomerKey(text []byte) []byte {
	if len(text) == secret.Size {
		return append([]byte(nil), text...)
	}
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text = text[:n-1]
	}
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = text[:n-1]
	}
	key := make([]byte, secret.Size+1)
	var n int
	var err error
	switch len(text) {
	case hex.EncodedLen(secret.Size):
		n, err = hex.Decode(key, text)
	case base64.StdEncoding.EncodedLen(secret.Size):
		n, err = base64.StdEncoding.Strict().Decode(key, text)
	case base64.RawStdEncoding.EncodedLen(secret.Size):
		n, err = base64.RawStdEncoding.Strict().Decode(key, text)
	}
	if err != nil || n != secret.Size {
		clear(key)
		return nil
	}
	return key[:secret.Size]
}

// RunLend lends the keys in files to a mount, or takes them back: with no files
// all of them. The daemon that serves the mount is found by it.
func RunLend(ctx context.Context, dir string, files []string, back bool) (reply LendReply, notes []string, err error) {
	dir, err = resolveMountpoint(dir)
	if err != nil {
		return reply, nil, err
	}
	keys, notes, err := readCustomerKeys(files)
	if err != nil {
		return reply, notes, err
	}
	defer wipeAll(keys)
	table, err := mountTable()
	if err != nil {
		return reply, notes, err
	}
	e := findMount(table, dir)
	if e == nil || !e.isOurs() {
		if _, err := os.Lstat(dir); err != nil {
			return reply, notes, mountpointError(dir, err)
		}
		return reply, notes, hinted(fmt.Errorf("no coffer store is mounted on %q", dir), "coffer status lists the mounts")
	}
	c, _, err := findDaemon(ctx, e)
	if err != nil {
		return reply, notes, err
	}
	path := "/v1/key/lend"
	if back {
		path = "/v1/key/return"
	}
	err = c.call(ctx, path, LendRequest{Mountpoint: dir, Keys: keys}, &reply)
	return reply, notes, err
}
