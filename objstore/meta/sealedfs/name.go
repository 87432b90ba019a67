package sealedfs

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// kind is the kind of a file. The values are on disk.
type kind byte

const (
	kindLog      kind = 1
	kindManifest kind = 2
	kindTable    kind = 3
	kindBlob     kind = 4
	kindOther    kind = 5
	kindShutdown kind = 6
)

func (k kind) isLog() bool { return k == kindLog || k == kindManifest }

// anchored tells whether a file of this kind may go only after an anchor.
func (k kind) anchored() bool { return k >= kindLog && k <= kindBlob }

const (
	shutdownPrefix = "SHUTDOWN-"
	manifestPrefix = "MANIFEST-"
	markerPrefix   = "marker."
	tempSuffix     = ".dbtmp"
)

// classify takes apart a sealed file's name. ok is false for names that do not
// belong to a sealed file.
func classify(name string) (k kind, number uint64, ok bool) {
	name = path.Base(name)
	switch {
	case strings.HasPrefix(name, manifestPrefix):
		k, name = kindManifest, name[len(manifestPrefix):]
	case strings.HasPrefix(name, "OPTIONS-"):
		k, name = kindOther, name[len("OPTIONS-"):]
	case strings.HasPrefix(name, "temporary.") && strings.HasSuffix(name, tempSuffix):
		k, name = kindOther, strings.TrimSuffix(name[len("temporary."):], tempSuffix)
	case strings.HasPrefix(name, shutdownPrefix):
		k, name = kindShutdown, strings.TrimSuffix(name[len(shutdownPrefix):], tempSuffix)
	case strings.HasSuffix(name, ".log"):
		k, name = kindLog, strings.TrimSuffix(name, ".log")
	case strings.HasSuffix(name, ".sst"):
		k, name = kindTable, strings.TrimSuffix(name, ".sst")
	case strings.HasSuffix(name, ".blob"):
		k, name = kindBlob, strings.TrimSuffix(name, ".blob")
	default:
		return 0, 0, false
	}
	number, ok = parseNumber(name)
	return k, number, ok
}

// parseNumber accepts digits only: ParseUint would also take a sign.
func parseNumber(s string) (uint64, bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// marker takes apart the name of one of Pebble's marker files,
// marker.<name>.<iteration>.<value>.
func marker(name string) (which string, iteration uint64, value string, ok bool) {
	rest, found := strings.CutPrefix(path.Base(name), markerPrefix)
	if !found {
		return "", 0, "", false
	}
	parts := strings.SplitN(rest, ".", 3)
	if len(parts) != 3 {
		return "", 0, "", false
	}
	iteration, ok = parseNumber(parts[1])
	return parts[0], iteration, parts[2], ok
}

// markedManifest is the manifest number a marker's name carries.
func markedManifest(name string) (number uint64, ok bool) {
	which, _, value, ok := marker(name)
	if !ok || which != "manifest" {
		return 0, false
	}
	k, number, ok := classify(value)
	return number, ok && k == kindManifest
}

func shutdownName(number uint64) string { return fmt.Sprintf("%s%06d", shutdownPrefix, number) }
func logName(number uint64) string      { return fmt.Sprintf("%06d.log", number) }
func manifestName(number uint64) string { return fmt.Sprintf("%s%06d", manifestPrefix, number) }
