package mount

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/durable"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/iam"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/pebblekv"
	"github.com/cofferfs/coffer/objstore/record"
)

// firstStoreKey is the id of a new store's store key.
const firstStoreKey = 1

// store is an open store with all that it stands on. The order of the fields
// is the order of opening; closing goes the other way round.
type store struct {
	cfg    *Config
	log    *slog.Logger
	lock   *durable.Lock // owned by store from openStore on
	sb     *record.Superblock
	unlock *unlock
	kms    *kms.Builtin
	keys   map[uint32]*secret.Key
	data   *localdata.Store
	meta   *pebblekv.Store
	engine *engine.Store
	iam    *iam.Service
	creds  *credentials

	made  bool // by this process
	ended bool // by endAbove

	files     sync.Mutex        // held while keystore, superblock or a copy is written, or compared
	originals map[string][]byte // the first two as they were read and found good; until mendCopies
}

// openStore opens the store of cfg, or makes it where there is none. The caller
// holds lock, which is the store's from now on: it is given up when openStore
// fails and by close.
func openStore(ctx context.Context, cfg *Config, lock *durable.Lock, log *slog.Logger) (_ *store, err error) {
	s := &store{cfg: cfg, log: log, lock: lock}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	state, sb, err := inspect(cfg)
	if err != nil {
		return nil, err
	}
	if state == dirStore {
		if err := s.unlockStore(ctx, sb); err != nil {
			return nil, err
		}
		// Who has no log leaves it to the next one to tell of what was found.
		if log.Enabled(ctx, slog.LevelWarn) {
			s.mendCopies(log)
		}
		if err := s.openBelow(ctx, false); err != nil {
			return nil, err
		}
		if err := s.openEngine(ctx); err != nil {
			return nil, err
		}
		s.creds, err = loadCredentials(ctx, s.engine)
		return s, err
	}
	if cfg.ReadOnly {
		return nil, errNoStore(cfg)
	}
	if err := s.create(ctx, sb); err != nil {
		if state == dirAbsent {
			s.unmake()
		}
		if state == dirHalf {
			err = hinted(fmt.Errorf("finish the store %q, whose making was interrupted: %w", cfg.Store, err),
				"nothing has been stored in it yet: if this does not go away, remove the directory and start again")
		}
		return nil, err
	}
	return s, nil
}

func errNoStore(cfg *Config) error {
	return hinted(fmt.Errorf("there is no store at %q", cfg.Store), "coffer init, or coffer mount without --read-only, makes one")
}

// unlockStore opens keystore and store keys, and authenticates the superblock.
// It changes nothing.
func (s *store) unlockStore(ctx context.Context, sb *superblockFile) error {
	text, err := readKeystore(s.cfg)
	if err == nil {
		err = s.unlockWith(ctx, sb, text)
	}
	if err != nil {
		return s.cfg.advise(err, s.unlock)
	}
	s.originals = map[string][]byte{nameKeystore: text, nameSuperblock: sb.text}
	return nil
}

// unlockWith is unlockStore with a keystore that was read. Errors: *damage, others.
func (s *store) unlockWith(ctx context.Context, sb *superblockFile, text []byte) error {
	kind, err := kms.KeystoreUnlockKind(text)
	if err != nil {
		return s.keystoreError(err)
	}
	if s.unlock == nil {
		if s.unlock, err = openUnlock(s.cfg, sb.StoreID, kind); err != nil {
			return err
		}
	}
	if s.kms, err = kms.OpenKeystore(text, s.unlock, s.saveKeystore); err != nil {
		return s.keystoreError(err)
	}
	s.keys = make(map[uint32]*secret.Key, len(sb.Keys))
	for _, k := range sb.Keys {
		key, err := s.kms.Decrypt(ctx, k.Sealed, storeKeyContext(sb.StoreID))
		if err != nil {
			return damagedSuperblock(s.cfg, fmt.Errorf("%w: store key %d does not open: %w", record.ErrSuperblock, k.ID, err))
		}
		s.keys[k.ID] = key
	}
	s.sb = sb.Superblock
	return sb.verify(s.cfg, s.keys[sb.Keys[0].ID])
}

func (s *store) keystoreError(err error) error {
	switch {
	case errors.Is(err, kms.ErrWrongKey):
		return hinted(fmt.Errorf("%s does not open the store %q", s.unlock.What, s.cfg.Store),
			"it belongs to another store, or is not the current one; nothing was changed")
	case errors.Is(err, kms.ErrVersion):
		return hinted(fmt.Errorf("store %q: %w", s.cfg.Store, err), "it was made by a newer coffer: use that one")
	}
	err = fmt.Errorf("store %q: %w", s.cfg.Store, err)
	if errors.Is(err, kms.ErrCorrupt) {
		return &damage{nameKeystore, err}
	}
	return err
}

func storeKeyContext(id [16]byte) kms.Context {
	return kms.Context{"purpose": "store-key", "store": hex.EncodeToString(id[:])}
}

// openBelow opens what the engine stands on. This is where data and metadata
// meet: the metadata driver makes nothing durable before data.Sync returned.
func (s *store) openBelow(ctx context.Context, create bool) (err error) {
	files, err := shareDescriptors()
	if err != nil {
		return err
	}
	size := diskSize(s.cfg.Store)
	segment := min(maxSegment, max(minSegment, size/32))
	s.data, err = localdata.Open(ctx, localdata.Options{
		Dir:          s.cfg.path(nameData),
		Create:       create,
		ReadOnly:     s.cfg.ReadOnly,
		ReserveBytes: min(max(minReserve, size/50), maxReserve, size/4),
		SpareBytes:   segment/2 + segment/8,
		KeepRoom:     true,
		SegmentBytes: int64(segment),
		OpenFiles:    files.segments,
		Logger:       s.log.With("part", "data"),
	})
	if err != nil {
		return fmt.Errorf("store %q: %w", s.cfg.Store, err)
	}
	s.meta, err = pebblekv.Open(ctx, pebblekv.Options{
		Dir:        s.cfg.path(nameMeta),
		StoreKeys:  s.keys,
		CurrentKey: s.sb.Keys[0].ID,
		Create:     create,
		ReadOnly:   s.cfg.ReadOnly,
		OpenFiles:  files.tables,
		BeforeDurable: func() error {
			return s.syncData(context.WithoutCancel(ctx))
		},
		Logger: s.log.With("part", "meta"),
	})
	if err != nil {
		return fmt.Errorf("store %q: %w", s.cfg.Store, err)
	}
	return nil
}

// syncData makes durable what the metadata point to. Where the disk is full, what was
// appended waits in memory, and the metadata have to do so with it.
func (s *store) syncData(ctx context.Context) error {
	err := s.data.Sync(ctx)
	if errors.Is(err, data.ErrNoSpace) {
		return fmt.Errorf("%w: %w", meta.ErrNoSpace, err)
	}
	return err
}

func (s *store) engineOptions() engine.Options {
	return engine.Options{
		Meta:     s.meta,
		Data:     s.data,
		KMS:      s.kms,
		StoreID:  s.sb.StoreID,
		Region:   Region,
		StatFS:   s.statFS,
		ReadOnly: s.cfg.ReadOnly,
		Logger:   s.log.With("part", "engine"),
	}
}

// openEngine opens the engine and what knows who may do what in it.
func (s *store) openEngine(ctx context.Context) (err error) {
	if s.engine, err = engine.Open(ctx, s.engineOptions()); err != nil {
		return fmt.Errorf("store %q: %w", s.cfg.Store, err)
	}
	if s.iam, err = iam.Open(ctx, s.engine, iam.Options{Logger: s.log.With("part", "iam")}); err != nil {
		return fmt.Errorf("store %q: %w", s.cfg.Store, err)
	}
	return nil
}

// create makes a store, or goes on with one whose making was interrupted, of
// which half is the superblock. See the package comment for the order.
func (s *store) create(ctx context.Context, half *superblockFile) error {
	for _, name := range []string{nameSuperblock, nameKeystore, copyOf(nameSuperblock), copyOf(nameKeystore)} {
		if err := durable.RemoveTemp(s.cfg.path(name)); err != nil {
			return err
		}
	}
	_, err := os.Lstat(s.cfg.path(nameKeystore))
	switch {
	case half != nil && err == nil:
		if err = s.unlockStore(ctx, half); err == nil {
			s.mendCopies(s.log)
		}
	case err == nil || errors.Is(err, os.ErrNotExist):
		err = s.createKeys(ctx, half)
	}
	if err != nil {
		return err
	}
	s.made = true
	if err := s.createBelow(ctx); err != nil {
		return err
	}
	if err := engine.Initialise(ctx, s.engineOptions()); err != nil {
		return fmt.Errorf("store %q: %w", s.cfg.Store, err)
	}
	if err := s.openEngine(ctx); err != nil {
		return err
	}
	if err := s.ownRoot(ctx); err != nil {
		return err
	}
	if s.creds, err = makeCredentials(ctx, s.engine); err != nil {
		return err
	}
	certs, err := newCertSource(ctx, s.engine, namesFor(s.cfg.listenHost()), time.Now, s.log)
	if err != nil {
		return err
	}
	certs.Close()
	if err := s.engine.Sync(ctx); err != nil {
		return err
	}
	if err := durable.SyncDir(s.cfg.Store); err != nil {
		return err
	}
	s.sb.Initialised = true
	return s.saveSuperblock(s.sb)
}

// ownRoot gives the directory of the buckets to the user who makes the store,
// who could make no bucket through a mount otherwise.
func (s *store) ownRoot(ctx context.Context) error {
	uid, gid := requester()
	if uid == 0 {
		return nil
	}
	set := objstore.SetAttr{UID: &uid, GID: &gid}
	_, err := s.engine.SetAttr(ctx, objstore.Caller{}, objstore.RootInode, set)
	return err
}

// createBelow makes data and metadata, or opens what an interrupted making
// left. Metadata that was left half made is removed: the superblock, which has
// been authenticated, says that the store was never in use, and there is no
// data that it could refer to.
func (s *store) createBelow(ctx context.Context) error {
	dir := s.cfg.path(nameMeta)
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return s.openBelow(ctx, true)
	}
	segments, err := os.ReadDir(s.cfg.path(nameData))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err = s.openBelow(ctx, false)
	if err == nil || len(segments) > 0 {
		return err
	}
	s.log.Warn("metadata of an interrupted making does not open, making it anew", "error", err)
	if s.data != nil {
		if err := s.data.Close(); err != nil {
			return err
		}
		s.data = nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return s.openBelow(ctx, true)
}

// createKeys makes the keystore and the store key, and writes the superblock,
// not initialised, and then the keystore.
func (s *store) createKeys(ctx context.Context, half *superblockFile) (err error) {
	sb := &record.Superblock{Epoch: 1, Created: objstore.TimeOf(time.Now())}
	if half != nil {
		// A crash came between the superblock and the keystore: nothing else
		// can be there.
		for _, name := range []string{nameMeta, nameData} {
			if _, err := os.Lstat(s.cfg.path(name)); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("store %q has %s but no keystore", s.cfg.Store, name)
			}
		}
		sb.StoreID = half.StoreID
	} else {
		rand.Read(sb.StoreID[:])
	}
	if s.unlock, err = newUnlock(s.cfg, sb.StoreID); err != nil {
		return err
	}
	var held []byte // the keystore, until the superblock stands
	holding := true
	s.kms, err = kms.NewKeystore(s.unlock, func(b []byte) error {
		if holding {
			held = slices.Clone(b)
			return nil
		}
		return s.saveKeystore(b)
	})
	if err != nil {
		return err
	}
	for _, id := range []kms.KeyID{engine.EKStore, engine.EKSSES3} {
		if err := s.kms.Create(ctx, id); err != nil {
			return err
		}
	}
	dek, err := s.kms.GenerateDataKey(ctx, engine.EKStore, storeKeyContext(sb.StoreID))
	if err != nil {
		return err
	}
	s.keys = map[uint32]*secret.Key{firstStoreKey: dek.Plain}
	sb.Keys = []record.StoreKey{{ID: firstStoreKey, Sealed: dek.Sealed}}
	// A directory that was there before may be open to others; all in it is sealed,
	// but nobody needs to see it. Whose directory it is decides.
	_ = os.Chmod(s.cfg.Store, 0o700)
	if err := s.saveSuperblock(sb); err != nil {
		return err
	}
	s.sb = sb
	holding = false
	return s.saveKeystore(held)
}

// close makes everything durable and releases the store. It returns all that
// went wrong, and goes on to the end whatever it is. The engine, the metadata
// and the data are each closed only after those above them.
func (s *store) close() error {
	errs := []error{s.endAbove()}
	if s.kms != nil {
		errs = append(errs, s.kms.Close())
	}
	for _, k := range s.keys {
		k.Wipe()
	}
	if s.unlock != nil {
		s.unlock.wipe()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// endAbove is the part of close that takes time: when it returns everything is
// durable, and the lock is still held. A second call does nothing.
func (s *store) endAbove() error {
	if s.ended {
		return nil
	}
	s.ended = true
	var errs []error
	if s.engine != nil {
		errs = append(errs, s.engine.Close())
	}
	if s.meta != nil {
		errs = append(errs, s.meta.Close())
	}
	if s.data != nil {
		errs = append(errs, s.data.Close())
	}
	return errors.Join(errs...)
}

const (
	// maxReserve is what is kept free on the disk for the metadata, in bytes,
	// so that a full disk leaves room to delete; a fiftieth of small disks. With less
	// than 16 MiB the metadata do not even take deletions (pebblekv), and writes that
	// fail there have left their data: minReserve is twice that.
	maxReserve = 64 << 20
	minReserve = 32 << 20
	// A segment is compacted when less than half of it is live: room for that, and
	// some more for what is under way, is kept besides.
	//
	// Segments have a thirty-second of the disk within these bounds, in bytes:
	// one that is being written gives no room back.
	minSegment = 8 << 20
	maxSegment = 256 << 20
)

// diskSize returns the size in bytes of the file system below dir; one that
// cannot be told counts as large.
func diskSize(dir string) uint64 {
	disk, err := durable.DiskOf(dir)
	if err != nil || disk.Size == 0 {
		return 1 << 40
	}
	return disk.Size
}

// statFS gives the figures of the disk below the store. What is kept free of it is
// not available.
func (s *store) statFS() (objstore.StatFS, error) {
	disk, err := durable.DiskOf(s.cfg.Store)
	if err != nil {
		return objstore.StatFS{}, err
	}
	kept := max(s.data.KeptFree(), pebblekv.LowWater)
	return objstore.StatFS{
		Total:     disk.Size,
		Free:      disk.Free,
		Available: disk.Available - min(disk.Available, kept),
		Inodes:    disk.Files,
		NameMax:   objstore.MaxComponentLen,
	}, nil
}
