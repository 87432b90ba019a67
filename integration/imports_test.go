package integration

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/cofferfs/coffer/"

// house says what each package may import of ours and of others, outside tests.
// It is the table of the architecture: imports run downwards only.
var house = []struct {
	pkg   string
	ours  []string
	third []string
	why   string
}{
	{"cmd/coffer", []string{"mount", "objstore"}, []string{"github.com/urfave/cli/v2"},
		"the command parses, calls and prints: what it decides belongs into mount, where others can call it"},
	{"mount", []string{"*"}, []string{"github.com/hanwen/go-fuse/v2", "golang.org/x/sys", "golang.org/x/sync"},
		"mount puts the store together; it may know everything but the command line"},
	{"fs", []string{"objstore", "objstore/engine", "fs/ring"}, []string{"github.com/hanwen/go-fuse/v2", "golang.org/x/sys"},
		"a door knows the engine and the contract alone: were it to reach metadata, data or keys, there would be two truths"},
	{"fs/ring", nil, []string{"github.com/hanwen/go-fuse/v2", "golang.org/x/sys"},
		"it brings requests from the kernel and knows nothing of what answers them"},
	{"objstore/s3api", []string{"objstore", "objstore/engine", "objstore/iam", "objstore/s3api/sigv4", "objstore/lifecycle", "objstore/checksum", "crypto/secret"}, nil,
		"a door knows the engine and the contract alone: were it to reach metadata, data or keys, there would be two truths"},
	{"objstore/s3api/sigv4", []string{"objstore/checksum"}, nil,
		"signatures are checked by pure functions of the request, which can be tested and fuzzed without a store"},
	{"objstore/iam", []string{"objstore", "objstore/engine", "objstore/policy", "crypto", "crypto/secret"}, nil,
		"who may do what is decided above the engine, which holds what it is told to for anybody, and below the doors"},
	{"objstore/engine", []string{"objstore", "objstore/extent", "objstore/record", "objstore/meta", "objstore/data", "objstore/engine/keyring", "objstore/engine/watch", "objstore/lifecycle", "objstore/checksum", "crypto", "crypto/kms", "crypto/secret"}, []string{"golang.org/x/sync", "golang.org/x/sys"},
		"the engine knows the three seams by their contracts, never a driver and never a door"},
	{"objstore/engine/keyring", []string{"objstore", "objstore/record", "crypto/kms", "crypto/secret"}, nil, "it keeps keys and opens nothing with them: no metadata, no data, no key service"},
	{"objstore/engine/watch", []string{"objstore"}, nil, "who is told of changes needs to know no more than these"},
	{"objstore/extent", []string{"objstore", "objstore/record", "objstore/meta", "objstore/data", "crypto", "crypto/secret"}, []string{"golang.org/x/sync"},
		"the only place where keys meet bytes on disk: what it knows is what has to be reviewed for that"},
	{"objstore/meta", nil, nil, "a contract that every driver implements depends on none"},
	{"objstore/meta/sealedfs", []string{"objstore/meta", "crypto", "crypto/secret", "objstore/durable"}, []string{"github.com/cockroachdb/pebble/v2"},
		"it seals files and knows nothing of what is in them"},
	{"objstore/meta/pebblekv", []string{"objstore/meta", "objstore/meta/sealedfs", "objstore/durable", "crypto", "crypto/secret"}, []string{"github.com/cockroachdb/pebble/v2", "golang.org/x/sys"},
		"metadata and data never know each other: where they meet is one closure in mount"},
	{"objstore/data", nil, nil, "a contract that every driver implements depends on none"},
	{"objstore/data/localdata", []string{"objstore/data", "objstore/durable"}, []string{"golang.org/x/sys", "golang.org/x/sync"},
		"segments hold sealed bytes: keys, names and metadata are none of their business"},
	{"objstore/record", []string{"objstore", "objstore/checksum"}, nil,
		"records are encoded and parsed by pure functions, which know no keys"},
	{"objstore/checksum", []string{"objstore/checksum/lanes"}, []string{"github.com/minio/crc64nvme", "github.com/cespare/xxhash/v2", "github.com/zeebo/xxh3"}, "checksums are pure"},
	{"objstore/checksum/lanes", nil, []string{"golang.org/x/sys"}, "MD5 of several streams at once, pure as the others"},
	{"objstore/policy", nil, nil, "policies are evaluated by pure functions of the request, which know no user, no bucket and no clock"},
	{"objstore/lifecycle", []string{"objstore"}, nil, "lifecycle rules are evaluated by pure functions, which know no store and no clock"},
	{"objstore/durable", nil, []string{"golang.org/x/sys"}, "files that are synced: for every driver, about none"},
	{"objstore", []string{"crypto/secret", "objstore/checksum"}, nil, "the contract between doors and engine depends on neither"},
	{"crypto", []string{"crypto/secret", "crypto/kms"}, []string{"github.com/minio/sio", "golang.org/x/crypto"},
		"bytes in, bytes out: no files, no clock, nothing of the store"},
	{"crypto/kms", []string{"crypto/secret"}, []string{"golang.org/x/crypto", "golang.org/x/sys"},
		"a key service knows keys and contexts, not what they are for"},
	{"crypto/secret", nil, nil, "the leaf that everything with a key in it needs"},
	{"objstore/meta/metatest", []string{"objstore/meta"}, []string{"pgregory.net/rapid"}, "a contract suite knows the contract alone"},
	{"objstore/data/datatest", []string{"objstore/data", "objstore/data/localdata"}, []string{"pgregory.net/rapid"}, "a contract suite knows the contract, and the file layer that it forgets for"},
	{"crypto/kms/kmstest", []string{"crypto/kms", "crypto/secret"}, []string{"pgregory.net/rapid"}, "a contract suite knows the contract alone"},
	{"objstore/engine/storetest", []string{"objstore/engine", "objstore/data/localdata", "objstore/meta/pebblekv", "crypto/kms", "crypto/secret"}, nil,
		"it puts a store together as mount does, for the tests of what stands on the engine"},
	{"integration", nil, []string{"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", "golang.org/x/sys"},
		"it runs the program: a test from outside that looks inside proves less"},
	{"objstore/extent/extenttest", []string{"objstore", "objstore/extent", "objstore/record", "objstore/meta", "objstore/data", "crypto", "crypto/secret"}, []string{"pgregory.net/rapid"}, "test parts for the extent layer and the engine know what that layer knows"},
	{"integration/bench", []string{"crypto", "crypto/secret", "fs/ring"}, []string{"github.com/hanwen/go-fuse/v2", "github.com/aws/aws-sdk-go-v2", "github.com/minio/sio", "golang.org/x/sys", "golang.org/x/sync"},
		"it measures the program from outside, beside its peers and the parts' own limits; its null file system has the transport of the mount"},
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func goList(t *testing.T, args ...string) (pkgs []listed) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Standard"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func TestImportsRunDownwards(t *testing.T) {
	for _, p := range goList(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		row := -1
		for i := range house {
			if house[i].pkg == name {
				row = i
			}
		}
		if row < 0 {
			t.Errorf("package %s is not in the table of the architecture: say what it may import, and why", name)
			continue
		}
		r := house[row]
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module); ok {
				if !allowed(ours, r.ours, false) {
					t.Errorf("%s imports %s: %s", name, ours, r.why)
				}
			} else if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && !allowed(imp, r.third, true) {
				t.Errorf("%s imports %s: %s", name, imp, r.why)
			}
		}
	}
}

func allowed(imp string, list []string, below bool) bool {
	for _, a := range list {
		if a == "*" || imp == a || below && strings.HasPrefix(imp, a+"/") {
			return true
		}
	}
	return false
}

// sio has traps that dare.go guards; nobody else may meet them.
func TestOneFileImportsSio(t *testing.T) {
	cmd := exec.Command("grep", "-rl", "--include=*.go", `"github.com/minio/sio"`, ".")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(out)) {
		if f != "./crypto/dare.go" && !strings.HasSuffix(f, "_test.go") && !strings.HasPrefix(f, "./integration/bench/") {
			t.Errorf("%s imports sio: crypto/dare.go is the only file that may, since it guards the library's limits", f)
		}
	}
}

// What the program is linked from must not oblige those who ship it.
func TestNothingUnderAGPLIsLinked(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Dir}}{{end}}", "./cmd/coffer")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, dir := range strings.Fields(string(out)) {
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if text, _ := exec.Command("sh", "-c", `cat "$1"/LICENSE* "$1"/COPYING* 2>/dev/null | head -c 4000`, "sh", dir).Output(); strings.Contains(strings.ToUpper(string(text)), "AFFERO GENERAL PUBLIC LICENSE\n") {
			t.Errorf("%s is under the AGPL", dir)
		}
	}
	if len(seen) < 5 {
		t.Errorf("only %d modules found", len(seen))
	}
}
