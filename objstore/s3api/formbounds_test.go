package s3api

import (
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// TestFilenameInKeyIsBounded: a key of many variables and a long file name are
// each within the limits of a form, and together would be 50 MB.
func TestFilenameInKeyIsBounded(t *testing.T) {
	name := func(key, filename string) string {
		f := &form{values: map[string]string{"key": key}}
		f.name(filename, true)
		return f.values["key"]
	}
	variables := strings.Repeat("${filename}", maxFieldBytes/11)
	for _, n := range []int{0, 1, 2, 100, objstore.MaxKeyLen, objstore.MaxKeyLen + 1, maxFormBytes / 2} {
		key := name(variables, strings.Repeat("x", n))
		if len(key) > 2*maxFieldBytes || n > 0 && len(key) <= objstore.MaxKeyLen {
			t.Errorf("a file name of %d bytes makes a key of %d", n, len(key))
		}
	}
	if key := name("a/${filename}/${filename}", "x"); key != "a/x/x" {
		t.Error(key)
	}
	long := strings.Repeat("x", objstore.MaxKeyLen/2)
	if key := name("${filename}${filename}", long); key != long+long {
		t.Errorf("%d bytes", len(key))
	}
}
