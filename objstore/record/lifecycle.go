package record

import (
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

// LifecyclePhase is what a run over a bucket looks at. The values are on disk.
type LifecyclePhase uint8

const (
	LifecycleObjects LifecyclePhase = 0
	LifecycleUploads LifecyclePhase = 1
	LifecycleDone    LifecyclePhase = 2
	// LifecycleVersions comes behind the objects.
	LifecycleVersions LifecyclePhase = 3
)

// LifecycleRun says how far the carrying out of a bucket's lifecycle rules has
// come. It is kept with the bucket's configuration documents, under a name that
// none of those has, and it may be lost: what was done is not found again.
type LifecycleRun struct {
	Day   objstore.Time // midnight UTC of the day
	Rules objstore.Time // when the rules were set
	Phase LifecyclePhase
	From  string // key from which it goes on
}

// LifecycleRunKey is the key of a bucket's LifecycleRun.
func LifecycleRunKey(root objstore.InodeID) []byte { return ConfigKey(root, "lifecycle.run") }

// Append encodes r behind dst.
func (r *LifecycleRun) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.int(1, int64(r.Day))
	e.int(2, int64(r.Rules))
	e.uint(3, uint64(r.Phase))
	e.str(4, r.From)
	return e.b
}

// ParseLifecycleRun parses a LifecycleRun.
func ParseLifecycleRun(b []byte) (*LifecycleRun, error) {
	r := &LifecycleRun{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			r.Day = objstore.Time(d.int())
		case 2:
			r.Rules = objstore.Time(d.int())
		case 3:
			r.Phase = LifecyclePhase(d.uint8())
		case 4:
			r.From = d.str()
		default:
			d.unknown()
		}
	}
	if d.err == nil && r.Phase > LifecycleVersions {
		d.err = fmt.Errorf("%w: phase %d", ErrVersion, r.Phase)
	}
	if d.err != nil {
		return nil, fmt.Errorf("lifecycle run: %w", d.err)
	}
	return r, nil
}
