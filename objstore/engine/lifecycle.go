package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/lifecycle"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Lifecycle rules are carried out once a day, from midnight UTC on, as AWS does:
// those that were set by then. A run goes over a bucket page by page. Each page is
// one snapshot that names what is to go; each object goes in a transaction of its
// own that looks again; then how far it has come is kept. So a run ends what
// another one began, a crash repeats a page at most, and nothing goes that was
// changed meanwhile. After each page it rests for longer than the page took: what
// people wait for comes first.
const (
	// lifecyclePage is how many keys a snapshot goes over.
	lifecyclePage = 512
	// lifecycleRest is how many times as long as a page took the rest after it is,
	// lifecycleMaxRest its bound.
	lifecycleRest    = 4
	lifecycleMaxRest = time.Second
	// lifecycleStart is how long after Open the first look is, at most.
	lifecycleStart = time.Minute
)

// LifecycleReport counts what lifecycle rules did.
type LifecycleReport struct {
	Buckets    int // that had rules to be carried out
	Seen       int // objects, versions and delete markers that were looked at
	Expired    int // current versions; in a versioned bucket they became noncurrent
	Noncurrent int // noncurrent versions that were removed
	Markers    int // delete markers that were all that was left of their keys
	Aborted    int // uploads
	Locked     int // what Object Lock keeps
	Failed     int // what could not go; the next run tries again
}

func (a *LifecycleReport) add(b LifecycleReport) {
	a.Buckets += b.Buckets
	a.Seen += b.Seen
	a.Expired += b.Expired
	a.Noncurrent += b.Noncurrent
	a.Markers += b.Markers
	a.Aborted += b.Aborted
	a.Locked += b.Locked
	a.Failed += b.Failed
}

// runLifecycle carries out lifecycle rules until ctx ends.
func (s *Store) runLifecycle(ctx context.Context) {
	if s.o.LifecycleInterval < 0 {
		return
	}
	t := time.NewTimer(min(s.o.LifecycleInterval, lifecycleStart))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			t.Reset(s.o.LifecycleInterval)
		}
		if _, err := s.Lifecycle(ctx, false); err != nil && ctx.Err() == nil && !objstore.IsKind(err, objstore.KindShutdown) {
			s.log.Warn("lifecycle rules could not be carried out", "err", err)
		}
	}
}

// Lifecycle carries out what is due of all buckets' lifecycle rules: those of
// today that no run has carried out yet. With now it carries out all rules anew,
// those that were set today, too. It returns what it did, and the first error of a
// bucket, with which it goes on to the next one. One runs at a time.
func (s *Store) Lifecycle(ctx context.Context, now bool) (all LifecycleReport, first error) {
	if err := s.writable("lifecycle", ""); err != nil {
		return all, err
	}
	s.lifecycleMu.Lock()
	defer s.lifecycleMu.Unlock()
	names, err := s.configured(ctx, objstore.ConfigLifecycle)
	if err != nil {
		return all, err
	}
	for _, name := range names {
		run, err := s.openLifecycle(ctx, name, now)
		if run != nil && err == nil {
			start := time.Now()
			err = run.all(ctx)
			all.add(run.report)
			run.log(time.Since(start), err)
		}
		if objstore.IsKind(err, objstore.KindNoSuchBucket) {
			err = nil // it went meanwhile
		}
		if ctx.Err() != nil {
			return all, s.wrap("lifecycle", "", ctx.Err())
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return all, first
}

// configured returns the names of the buckets that have a configuration document.
func (s *Store) configured(ctx context.Context, name objstore.ConfigName) (names []string, err error) {
	err = s.view(ctx, "list buckets", "", func(r reader) error {
		names = nil
		for d, err := range r.buckets("") {
			if err != nil {
				return err
			}
			b, known := r.cache.bucketAt(r.token, d.root)
			if !known {
				rec, err := r.bucket(d.root)
				if err != nil {
					return err
				}
				b = *rec
			}
			if b.Configs&name.Of() != 0 {
				names = append(names, d.name)
			}
		}
		return nil
	})
	return names, err
}

// lifecycleRun is one run over a bucket.
type lifecycleRun struct {
	s      *Store
	bucket string
	root   objstore.InodeID
	rules  []lifecycle.Rule
	now    objstore.Time
	at     record.LifecycleRun
	report LifecycleReport

	versioning objstore.Versioning
	cursor     versionCursor
}

// openLifecycle returns what is due of a bucket's rules, nil when nothing is.
func (s *Store) openLifecycle(ctx context.Context, bucket string, now bool) (run *lifecycleRun, err error) {
	at := objstore.TimeOf(s.o.Now())
	today := lifecycle.Midnight(at)
	err = s.view(ctx, "lifecycle", bucket, func(r reader) error {
		run = nil
		root, err := r.bucketRoot(bucket)
		if err != nil {
			return err
		}
		b, err := r.settings(root)
		if err != nil {
			return err
		}
		v, err := r.Get(record.ConfigKey(root, objstore.ConfigLifecycle))
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		doc, err := record.ParseConfig(v)
		if err != nil {
			return err
		}
		rules, err := lifecycle.Parse(doc.Document)
		if err != nil {
			return objstore.Wrap(objstore.KindCorrupt, "lifecycle", bucket, err)
		}
		run = &lifecycleRun{s: s, bucket: bucket, root: root, rules: rules, now: at, versioning: b.Versioning, at: record.LifecycleRun{Day: today, Rules: doc.Modified}}
		if now {
			return nil
		}
		if doc.Modified > today {
			run = nil // from the next midnight on
			return nil
		}
		v, err = r.Get(record.LifecycleRunKey(root))
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		last, err := record.ParseLifecycleRun(v)
		switch {
		case err != nil:
			return err
		case last.Day > today, last.Day == today && last.Rules == doc.Modified && last.Phase == record.LifecycleDone:
			run = nil
		case last.Day == today && last.Rules == doc.Modified:
			run.at = *last
		}
		return nil
	})
	return run, err
}

// log tells the operator what a run did.
func (l *lifecycleRun) log(took time.Duration, err error) {
	r := &l.report
	attrs := []any{"bucket", l.bucket, "seen", r.Seen, "expired", r.Expired, "noncurrent", r.Noncurrent, "markers", r.Markers, "aborted", r.Aborted, "locked", r.Locked, "failed", r.Failed, "duration", took}
	level := slog.LevelInfo
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, "err", err)
	}
	l.s.log.Log(context.Background(), level, "lifecycle rules were carried out", attrs...)
}

// all goes over the bucket from where the run stands.
func (l *lifecycleRun) all(ctx context.Context) error {
	l.report.Buckets = 1
	for l.at.Phase != record.LifecycleDone {
		start := time.Now()
		var err error
		switch l.at.Phase {
		case record.LifecycleObjects:
			err = l.objects(ctx)
		case record.LifecycleVersions:
			err = l.versions(ctx)
		case record.LifecycleUploads:
			err = l.uploads(ctx)
		}
		if err == nil {
			err = l.keep(ctx)
		}
		if err != nil {
			return err
		}
		rest(ctx, min(lifecycleRest*time.Since(start), lifecycleMaxRest))
	}
	return l.s.durable(ctx)
}

// rest waits.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// keep keeps how far the run has come, if the bucket and its rules are still there.
func (l *lifecycleRun) keep(ctx context.Context) error {
	return l.s.update(ctx, objstore.Caller{}, "lifecycle", l.bucket, func(x *tx) error {
		if err := l.still(x); err != nil {
			return err
		}
		x.txn.Set(record.LifecycleRunKey(l.root), l.at.Append(nil))
		return nil
	})
}

// still fails when the run's rules are no longer those of the bucket.
func (l *lifecycleRun) still(x *tx) error {
	root, b, err := x.bucketRecord(l.bucket)
	if err != nil {
		return err
	}
	if root != l.root || b.Configs&objstore.ConfigLifecycle.Of() == 0 {
		return errRulesWent
	}
	v, err := x.Get(record.ConfigKey(root, objstore.ConfigLifecycle))
	if err != nil {
		return absent(err, "lifecycle configuration")
	}
	if doc, err := record.ParseConfig(v); err != nil {
		return err
	} else if doc.Modified != l.at.Rules {
		return errRulesWent
	}
	return nil
}

// errRulesWent ends a run: what there is now has a run of its own.
var errRulesWent = objstore.E(objstore.KindConflict, "lifecycle", "", "the rules were changed meanwhile")

// failed counts what could not go. It returns err when the run is to end with it.
func (l *lifecycleRun) failed(ctx context.Context, err error, what, key string) error {
	switch {
	case objstore.IsKind(err, objstore.KindNoSuchBucket), errors.Is(err, errRulesWent), ctx.Err() != nil:
		return err
	case objstore.IsKind(err, objstore.KindLocked):
		l.report.Locked++
	default:
		l.report.Failed++
		l.s.log.Warn(what, "bucket", l.bucket, "key", key, "err", err)
	}
	return nil
}

// next goes on with another phase.
func (l *lifecycleRun) next(phase record.LifecyclePhase) { l.at.Phase, l.at.From = phase, "" }

// expiring says whether a rule lets current versions go.
func expiring(r *lifecycle.Rule) bool { return r.Days > 0 || r.Date != 0 }

func aborting(r *lifecycle.Rule) bool { return r.Abort > 0 }

// objects takes a page of the bucket's objects.
func (l *lifecycleRun) objects(ctx context.Context) error {
	prefix, from, ok := l.span(expiring)
	if !ok {
		l.next(record.LifecycleVersions)
		return nil
	}
	var due []string
	last, more := "", false
	err := l.s.view(ctx, "lifecycle", l.bucket, func(r reader) (err error) {
		due, last, more, err = l.dueObjects(ctx, r, prefix, from)
		return err
	})
	if err != nil {
		return err
	}
	for _, key := range due {
		gone, err := l.expire(ctx, key)
		switch {
		case err == nil && gone:
			l.report.Expired++
		case err == nil:
		default:
			if err := l.failed(ctx, err, "an object could not expire", key); err != nil {
				return err
			}
		}
	}
	l.at.From = last + "\x00"
	if !more {
		l.at.From = behind(prefix)
	}
	return nil
}

// span returns the first prefix of rules that still has keys to look at, and
// where in it to go on; ok is false when there is none.
func (l *lifecycleRun) span(want func(*lifecycle.Rule) bool) (prefix, from string, ok bool) {
	for _, p := range lifecycle.Prefixes(l.rules, want) {
		if l.at.From < behind(p) {
			return p, max(p, l.at.From), true
		}
	}
	return "", "", false
}

// dueObjects returns the keys of a page that are to go, the last key of the page
// and whether there are more.
func (l *lifecycleRun) dueObjects(ctx context.Context, r reader, prefix, from string) (due []string, last string, more bool, err error) {
	var page []found
	w := walker{ctx: ctx, s: l.s, r: r, from: from, prefix: prefix, visit: func(f found) (string, error) {
		if len(page) == l.s.lifecyclePage {
			more = true
			return "", errEnough
		}
		page = append(page, f)
		return f.key + "\x00", nil
	}}
	if err := w.walk(l.root, ""); err != nil && !errors.Is(err, errEnough) {
		return nil, "", false, err
	}
	for _, f := range page {
		last = f.key
		if f.ino == 0 {
			continue // a directory that nobody has put: see expired
		}
		l.report.Seen++
		list, err := l.s.intact(r, "lifecycle", []objstore.InodeID{f.ino})
		if err != nil {
			return nil, "", false, err
		}
		if n := list[0]; n != nil {
			if goes, err := l.expired(r, f.key, f.ino, n); err != nil {
				return nil, "", false, err
			} else if goes {
				due = append(due, f.key)
			}
		}
	}
	return due, last, more, nil
}

// expired says whether an object is to go. The key of a directory that was made in
// the mount is none: somebody may stand in it.
func (l *lifecycleRun) expired(r reader, key string, ino objstore.InodeID, n *record.Inode) (bool, error) {
	o := lifecycle.Object{Key: key, Size: n.Size, Since: since(n)}
	if n.TagCount > 0 && lifecycle.NeedTags(l.rules) {
		var err error
		if o.Tags, err = r.tags(ino, n); err != nil {
			return false, err
		}
	}
	rule, at := lifecycle.Expiration(l.rules, &o)
	return rule != nil && at <= l.now, nil
}

// expire lets an object go if it still is to go.
func (l *lifecycleRun) expire(ctx context.Context, key string) (gone bool, err error) {
	err = l.s.update(ctx, objstore.Caller{}, "lifecycle", key, func(x *tx) error {
		gone = false
		if err := l.still(x); err != nil {
			return err
		}
		ino, n, err := x.findKey(l.root, key)
		if objstore.IsKind(err, objstore.KindNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if own, err := x.inode(ino); err != nil || own.Type != objstore.TypeRegular {
			return err
		}
		goes, err := l.expired(x.reader, key, ino, n)
		if err != nil || !goes {
			return err
		}
		res, err := x.deleteKey(l.root, key)
		gone = res.Existed
		return err
	})
	return gone, err
}
