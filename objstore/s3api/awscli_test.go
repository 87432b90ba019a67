package s3api

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cli runs the AWS command line against the door.
type cli struct {
	t    *testing.T
	path string
	dir  string
	env  []string
	url  string
}

// newCLI skips the test where there is no aws, or no time for it: each command
// takes about a second to start.
func newCLI(t *testing.T, d *door) *cli {
	t.Helper()
	if os.Getenv("COFFER_LONG") == "" {
		t.Skip("COFFER_LONG is not set")
	}
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("aws is not installed")
	}
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	// Where S3 once took it, this version of aws presigns with Signature Version 2.
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte("[default]\ns3 =\n    signature_version = s3v4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &cli{t: t, path: path, dir: dir, url: d.server.URL, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "AWS_CA_BUNDLE=" + ca, "AWS_CONFIG_FILE=" + config, "AWS_ACCESS_KEY_ID=" + testKeyID, "AWS_SECRET_ACCESS_KEY=" + testSecret,
		"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
	}}
}

func (c *cli) try(args ...string) (string, error) {
	cmd := exec.Command(c.path, append([]string{"--endpoint-url", c.url}, args...)...)
	cmd.Env, cmd.Dir = c.env, c.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cli) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *cli) file(name string, data []byte) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *cli) same(name string, want []byte) {
	c.t.Helper()
	got, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil || !bytes.Equal(got, want) {
		c.t.Errorf("%s: %d bytes, want %d, %v", name, len(got), len(want), err)
	}
}

func TestAWSCommandLine(t *testing.T) {
	d := openDoor(t)
	c := newCLI(t, d)
	c.run("s3", "mb", "s3://photos")
	if out := c.run("s3", "ls"); !strings.Contains(out, "photos") {
		t.Error(out)
	}

	small := []byte("hello, world\n")
	big := make([]byte, 64<<20+4321) // several parts of 8 MiB
	rand.Read(big)
	c.run("s3", "cp", c.file("small.txt", small), "s3://photos/a b/\u00e9+%.txt")
	c.run("s3", "cp", c.file("big.bin", big), "s3://photos/big.bin", "--no-progress")
	c.run("s3", "cp", "s3://photos/a b/\u00e9+%.txt", "back.txt")
	c.same("back.txt", small)
	c.run("s3", "cp", "s3://photos/big.bin", "back.bin", "--no-progress")
	c.same("back.bin", big)
	c.run("s3", "cp", "s3://photos/big.bin", "s3://photos/copy.bin", "--no-progress")
	c.run("s3", "cp", "s3://photos/copy.bin", "back2.bin", "--no-progress")
	c.same("back2.bin", big)
	out := c.run("s3", "ls", "--recursive", "s3://photos")
	if !strings.Contains(out, "a b/\u00e9+%.txt") || !strings.Contains(out, "67113185 big.bin") {
		t.Error(out)
	}
	if out := c.run("s3", "ls", "s3://photos"); !strings.Contains(out, "PRE a b/") {
		t.Error(out)
	}

	for _, f := range []string{"tree/one", "tree/sub/two", "tree/sub/deep/three", "tree/empty"} {
		data := []byte(f)
		if f == "tree/empty" {
			data = nil
		}
		// aws compares with S3's times, which are whole seconds.
		old := time.Now().Add(-time.Minute)
		if err := os.Chtimes(c.file(f, data), old, old); err != nil {
			t.Fatal(err)
		}
	}
	c.run("s3", "sync", "tree", "s3://photos/tree")
	if out := c.run("s3", "sync", "tree", "s3://photos/tree"); strings.TrimSpace(out) != "" {
		t.Errorf("the second sync has work to do: %s", out)
	}
	c.run("s3", "sync", "s3://photos/tree", "tree2")
	c.same("tree2/sub/deep/three", []byte("tree/sub/deep/three"))
	c.same("tree2/empty", nil)
	if err := os.Remove(filepath.Join(c.dir, "tree", "one")); err != nil {
		t.Fatal(err)
	}
	if out := c.run("s3", "sync", "--delete", "tree", "s3://photos/tree"); !strings.Contains(out, "delete: s3://photos/tree/one") {
		t.Error(out)
	}
	c.run("s3", "mv", "s3://photos/tree/empty", "s3://photos/moved")

	if out := c.run("s3api", "put-object", "--bucket", "photos", "--key", "k", "--body", "small.txt", "--metadata", "a=b", "--checksum-algorithm", "SHA256", "--server-side-encryption", "AES256"); !strings.Contains(out, "ChecksumSHA256") {
		t.Error(out)
	}
	if out := c.run("s3api", "head-object", "--bucket", "photos", "--key", "k", "--checksum-mode", "ENABLED"); !strings.Contains(out, `"a": "b"`) || !strings.Contains(out, "ChecksumSHA256") || !strings.Contains(out, `"AES256"`) {
		t.Error(out)
	}
	c.run("s3api", "get-object", "--bucket", "photos", "--key", "k", "--range", "bytes=0-4", "range.txt")
	c.same("range.txt", small[:5])
	if out, err := c.try("s3api", "head-object", "--bucket", "photos", "--key", "none"); err == nil || !strings.Contains(out, "(404)") {
		t.Error(out)
	}
	if out, err := c.try("s3api", "get-object", "--bucket", "photos", "--key", "none", "x"); err == nil || !strings.Contains(out, "(NoSuchKey)") {
		t.Error(out)
	}
	if out := c.run("s3api", "get-object-attributes", "--bucket", "photos", "--key", "big.bin", "--object-attributes", "ObjectSize", "ObjectParts", "ETag"); !strings.Contains(out, `"TotalPartsCount": 9`) {
		t.Error(out)
	}
	if out := c.run("s3api", "get-bucket-encryption", "--bucket", "photos"); !strings.Contains(out, "AES256") {
		t.Error(out)
	}
	if out := c.run("s3api", "list-objects-v2", "--bucket", "photos", "--max-items", "2", "--page-size", "1"); !strings.Contains(out, "NextToken") {
		t.Error(out)
	}
	link := strings.TrimSpace(c.run("s3", "presign", "s3://photos/k"))
	if resp, err := d.server.Client().Get(link); err != nil || resp.StatusCode != 200 {
		t.Errorf("%s: %v, %v", link, resp, err)
	} else {
		resp.Body.Close()
	}
	if out, err := c.try("s3", "rb", "s3://photos"); err == nil || !strings.Contains(out, "BucketNotEmpty") {
		t.Error(out)
	}
	c.run("s3", "rm", "s3://photos/k")
	c.run("s3", "rb", "--force", "s3://photos")
	if out := c.run("s3", "ls"); strings.Contains(out, "photos") {
		t.Error(out)
	}
}
