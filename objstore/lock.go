package objstore

import "fmt"

// LockMode is the mode of a retention. The values are on disk.
type LockMode uint8

const (
	LockNone       LockMode = 0
	LockGovernance LockMode = 1 // may be shortened, and overridden, by whoever is allowed to bypass it
	LockCompliance LockMode = 2 // by nobody
)

var lockModes = [...]string{"", "GOVERNANCE", "COMPLIANCE"}

// Known reports whether m is one of the modes above.
func (m LockMode) Known() bool { return int(m) < len(lockModes) }

func (m LockMode) String() string {
	if m.Known() {
		return lockModes[m]
	}
	return fmt.Sprintf("lock mode %d", uint8(m))
}

// ParseLockMode returns the mode of that name; ok is false for none.
func ParseLockMode(name string) (m LockMode, ok bool) {
	switch name {
	case "GOVERNANCE":
		return LockGovernance, true
	case "COMPLIANCE":
		return LockCompliance, true
	}
	return LockNone, false
}

// LegalHold is the state of a legal hold. The values are on disk.
type LegalHold uint8

const (
	HoldUnset LegalHold = 0 // it was never set
	HoldOn    LegalHold = 1
	HoldOff   LegalHold = 2 // it was taken back
)

// Known reports whether h is one of the states above.
func (h LegalHold) Known() bool { return h <= HoldOff }

// Retention protects a version until a time.
type Retention struct {
	Mode  LockMode
	Until Time // 0 without a mode
}

// LockRequest names the version whose lock is meant.
type LockRequest struct {
	Bucket, Key string
	Version     VersionID
	Check       Check
}

// Lock is what protects a version: a retention, a legal hold, both or none.
type Lock struct {
	Retention
	Hold LegalHold
}

// Holds reports whether the version must not be deleted at a time. With bypass a
// retention in governance mode does not count.
func (l Lock) Holds(now Time, bypass bool) bool {
	switch {
	case l.Hold == HoldOn:
		return true
	case l.Mode == LockNone || l.Until <= now:
		return false
	}
	return !(bypass && l.Mode == LockGovernance)
}

// Admits reports whether the retention may become next: anything where it is over,
// or in governance mode with bypass; otherwise only what protects as long or longer
// in the same mode. Another mode is an alteration of its settings, which governance
// mode leaves to whoever may bypass it ("Retention modes", S3 user guide).
func (r Retention) Admits(next Retention, now Time, bypass bool) bool {
	if r.Mode == LockNone || r.Until <= now || bypass && r.Mode == LockGovernance {
		return true
	}
	return next.Until >= r.Until && next.Mode == r.Mode
}

// DefaultRetention is the retention that a bucket gives to new objects, for so
// many days or so many years. One of the two is 0, both without a mode.
type DefaultRetention struct {
	Mode  LockMode
	Days  int
	Years int
}

// MaxRetentionDays and MaxRetentionYears bound a default retention, as S3 does.
const (
	MaxRetentionDays  = 36500
	MaxRetentionYears = 100
)

// From returns the retention of an object that is made at a time.
func (d DefaultRetention) From(now Time) Retention {
	if d.Mode == LockNone {
		return Retention{}
	}
	return Retention{Mode: d.Mode, Until: TimeOf(now.Std().AddDate(d.Years, 0, d.Days))}
}

// LockConfig is a bucket's Object Lock configuration.
type LockConfig struct {
	Enabled bool
	Default DefaultRetention
}
