package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/cofferfs/coffer/objstore/engine"
)

// FsckReport counts what fsck has read. Its fields are the promise of `fsck --json`.
type FsckReport struct {
	Buckets     int   `json:"buckets"`
	Directories int   `json:"directories"`
	Files       int   `json:"files"`        // also links, pipes and the like
	Versions    int   `json:"versions"`     // that are not current
	Parts       int   `json:"parts"`        // of uploads under way
	Bytes       int64 `json:"bytes"`        // that were decrypted, all of them authentic
	KeyRequired int   `json:"key_required"` // under customers' keys that were not given: not read
	KeyLocked   int   `json:"key_locked"`   // under keys that are disabled or deleted: not read
	Damaged     int   `json:"damaged"`
}

// FsckDamage is something that cannot be read as it was written.
type FsckDamage struct {
	// Path is from the root of all buckets: bucket/key, with ?versionId= of a version
	// that is not current and ?uploadId= and &partNumber= of a part. Empty: metadata
	// that belong to no name.
	Path  string `json:"path"`
	Error string `json:"error"`
}

// FsckTold are the functions that RunFsck tells what happens; any can be nil.
type FsckTold struct {
	Damaged  func(FsckDamage)
	Progress func(FsckReport) // about ten times a second
	Note     func(string)     // about the key files
}

// fsckRequest asks for an fsck.
type fsckRequest struct {
	// Keys are customers' keys, with 32 bytes each.
	Keys [][]byte `json:"keys,omitempty"`
}

// fsckEvent is one of many in the answer; the last one has End or Failed.
type fsckEvent struct {
	Damaged  *FsckDamage `json:"damaged,omitempty"`
	Progress *FsckReport `json:"progress,omitempty"`
	End      *FsckReport `json:"end,omitempty"`
	Failed   *apiError   `json:"failed,omitempty"`
}

// fsckInterval is the time between two reports of progress.
const fsckInterval = 100 * time.Millisecond

// fsck reads everything in a store (checkFiles, engine.Scrub) with customers' keys, which it lends
// to an origin that nobody else has and wipes, and tells what happens.
func (s *store) fsck(ctx context.Context, origin uint32, keys [][]byte, tell func(fsckEvent)) (FsckReport, error) {
	taken, err := takeKeys(keys)
	if err == nil {
		err = s.engine.LendKeys(origin, taken...)
	}
	if err != nil {
		return FsckReport{}, err
	}
	defer s.engine.ReturnKeys(origin)
	own := 0 // damage to the files that Scrub knows nothing of
	s.checkFiles(func(err error) {
		own++
		tell(fsckEvent{Damaged: &FsckDamage{Error: err.Error()}})
	})
	last := time.Now()
	r, err := s.engine.Scrub(ctx, engine.ScrubOptions{
		Origin:  origin,
		Damaged: func(path string, err error) { tell(fsckEvent{Damaged: &FsckDamage{Path: path, Error: err.Error()}}) },
		Progress: func(r engine.ScrubReport) {
			if now := time.Now(); now.Sub(last) >= fsckInterval {
				last = now
				report := FsckReport(r)
				report.Damaged += own
				tell(fsckEvent{Progress: &report})
			}
		},
	})
	r.Damaged += own
	return FsckReport(r), err
}

// answerFsck streams what fsck finds, until it has come to its end, the client goes
// away or the daemon ends.
func (d *Daemon) answerFsck(w http.ResponseWriter, r *http.Request) {
	var q fsckRequest
	if err := decodeRequest(r.Body, &q); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("request: %w", err))
		return
	}
	defer wipeRequest(&q)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-d.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	out := json.NewEncoder(w)
	tell := func(e fsckEvent) {
		_ = out.Encode(e)
		_ = http.NewResponseController(w).Flush()
	}
	d.log.Info("reading the whole store")
	d.mountsMu.Lock()
	d.lastOrigin++
	origin := d.lastOrigin
	d.mountsMu.Unlock()
	report, err := d.store.fsck(ctx, origin, q.Keys, tell)
	if err != nil && d.stopping.Load() {
		err = &Problem{Err: errors.New("the daemon is ending"), Code: CodeStopping}
	}
	if err != nil {
		d.log.Warn("the store was not read to its end", "error", err)
		tell(fsckEvent{Failed: newAPIError(err)})
		return
	}
	d.log.Info("read the whole store", "files", report.Files, "versions", report.Versions, "bytes", report.Bytes, "damaged", report.Damaged)
	tell(fsckEvent{End: &report})
}

// RunFsck reads everything in a store and tells what is damaged: through the daemon
// that has it open or, if none has, in this process, which opens it read-only. files
// hold customers' keys.
func RunFsck(ctx context.Context, cfg Config, files []string, told FsckTold) (FsckReport, error) {
	keys, notes, err := readCustomerKeys(files)
	if told.Note != nil {
		for _, n := range notes {
			told.Note(n)
		}
	}
	if err != nil {
		return FsckReport{}, err
	}
	defer wipeAll(keys)
	return throughOrDo(ctx, cfg, func(c *client) (FsckReport, error) {
		return c.fsck(ctx, fsckRequest{Keys: keys}, told)
	}, func(cfg Config) (FsckReport, error) {
		return fsckDirectly(ctx, cfg, cloneAll(keys), told.tell)
	})
}

func (t *FsckTold) tell(e fsckEvent) {
	switch {
	case e.Damaged != nil && t.Damaged != nil:
		t.Damaged(*e.Damaged)
	case e.Progress != nil && t.Progress != nil:
		t.Progress(*e.Progress)
	}
}

// fsck asks the daemon.
func (c *client) fsck(ctx context.Context, q fsckRequest, told FsckTold) (FsckReport, error) {
	body, err := c.ask(ctx, "/v1/fsck", q)
	if err != nil {
		return FsckReport{}, err
	}
	defer body.Close()
	for in := json.NewDecoder(body); ; {
		var e fsckEvent
		err := in.Decode(&e)
		switch {
		case err != nil && ctx.Err() != nil:
			return FsckReport{}, ctx.Err()
		case err != nil:
			return FsckReport{}, c.silent(err)
		case e.Failed != nil:
			return FsckReport{}, e.Failed.problem()
		case e.End != nil:
			return *e.End, nil
		}
		told.tell(e)
	}
}

// fsckDirectly reads a store that no daemon has open, and changes nothing.
func fsckDirectly(ctx context.Context, cfg Config, keys [][]byte, tell func(fsckEvent)) (_ FsckReport, err error) {
	cfg.ReadOnly = true
	lock, err := prepare(&cfg, func() error { return nil })
	if err != nil {
		return FsckReport{}, err
	}
	s, err := openStore(ctx, &cfg, lock, slog.New(slog.DiscardHandler))
	if err != nil {
		return FsckReport{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.fsck(ctx, 1, keys, tell)
}
