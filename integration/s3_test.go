package integration

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// content is n bytes that differ with the seed.
func content(seed int64, n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return b
}

// writeFile writes a file of the house, for a client to send.
func (h *House) writeFile(name string, b []byte) string {
	h.t.Helper()
	h.Mkdir(filepath.Dir(name))
	if err := os.WriteFile(h.Path(name), b, 0o644); err != nil {
		h.t.Fatal(err)
	}
	return h.Path(name)
}

// mustHold fails the test unless the file holds want.
func mustHold(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s holds %s, want %s", path, brief(got), brief(want))
	}
}

// brief describes bytes in a failure.
func brief(b []byte) string {
	if len(b) <= 48 {
		return fmt.Sprintf("%d bytes %q", len(b), b)
	}
	sum := md5.Sum(b)
	return fmt.Sprintf("%d bytes %q... (MD5 %x)", len(b), b[:32], sum)
}

// The sizes around what aws-cli does in one request (8 MiB) and what the store
// keeps in an inode, a package, an extent and a chunk.
var sizes = []int{0, 1, 4096, 65536, 65537, 4<<20 + 1, 8<<20 - 1, 8 << 20, 8<<20 + 1, 67<<20 + 13}

func TestAWSCLICopiesBothWays(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	if out := aws.OK("s3", "mb", "s3://photos"); !strings.Contains(out, "photos") {
		t.Errorf("mb says %q", out)
	}
	if st, err := os.Stat(filepath.Join(mnt, "photos")); err != nil || !st.IsDir() {
		t.Fatalf("the new bucket in the mount: %v", err)
	}
	for i, size := range sizes {
		want := content(int64(i), size)
		key := fmt.Sprintf("deep/er/size %d", size)
		src := h.writeFile("src", want)
		aws.OK("s3", "cp", "--no-progress", src, "s3://photos/"+key)
		mustHold(t, filepath.Join(mnt, "photos", key), want)
		back := h.Path("back")
		aws.OK("s3", "cp", "--no-progress", "s3://photos/"+key, back)
		mustHold(t, back, want)

		// And what the mount wrote.
		name := fmt.Sprintf("from mount %d", size)
		if err := os.WriteFile(filepath.Join(mnt, "photos", name), want, 0o644); err != nil {
			t.Fatal(err)
		}
		aws.OK("s3", "cp", "--no-progress", "s3://photos/"+name, back)
		mustHold(t, back, want)
	}
	list := aws.OK("s3", "ls", "--recursive", "s3://photos/")
	for _, size := range sizes {
		for _, name := range []string{fmt.Sprintf("%d deep/er/size %d\n", size, size), fmt.Sprintf("%d from mount %d\n", size, size)} {
			if !strings.Contains(list, " "+name) {
				t.Errorf("ls lacks %q:\n%s", name, list)
			}
		}
	}
	if out := aws.OK("s3", "ls", "s3://photos/"); !strings.Contains(out, "PRE deep/\n") {
		t.Errorf("ls shows no common prefix:\n%s", out)
	}
	if r := aws.Run("s3", "rb", "s3://photos"); r.Code == 0 || !strings.Contains(r.Stderr, "BucketNotEmpty") {
		t.Errorf("rb of a full bucket: %v", r)
	}
	aws.OK("s3", "mv", "s3://photos/deep/er/size 4096", "s3://photos/moved")
	mustHold(t, filepath.Join(mnt, "photos/moved"), content(2, 4096))
	if _, err := os.Stat(filepath.Join(mnt, "photos/deep/er/size 4096")); !os.IsNotExist(err) {
		t.Errorf("moved away, and: %v", err)
	}
	aws.OK("s3", "rm", "--recursive", "s3://photos/")
	entries, err := os.ReadDir(filepath.Join(mnt, "photos"))
	if err != nil || len(entries) != 0 {
		t.Errorf("after rm: %v, %v", entries, err)
	}
	aws.OK("s3", "rb", "s3://photos")
	if _, err := os.Stat(filepath.Join(mnt, "photos")); !os.IsNotExist(err) {
		t.Errorf("after rb: %v", err)
	}
	h.Umount()
}

func TestAWSCLISyncs(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	names := map[string][]byte{}
	for i := range 40 {
		name := fmt.Sprintf("d%d/e %d/f%d.txt", i%3, i%5, i)
		names[name] = content(int64(i), i*37)
		h.writeFile("tree/"+name, names[name])
	}
	names["ünï/κόσμε +&?#%.txt"] = []byte("odd name")
	h.writeFile("tree/ünï/κόσμε +&?#%.txt", []byte("odd name"))
	aws.OK("s3", "mb", "s3://tree")
	aws.OK("s3", "sync", "--no-progress", h.Path("tree"), "s3://tree/x")
	for name, want := range names {
		mustHold(t, filepath.Join(mnt, "tree/x", name), want)
	}
	if out := aws.OK("s3", "sync", h.Path("tree"), "s3://tree/x"); out != "" {
		t.Errorf("a second sync copied again:\n%s", out)
	}
	// A change and a deletion in the mount, and sync back.
	if err := os.WriteFile(filepath.Join(mnt, "tree/x/new"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(mnt, "tree/x/d0/e 0/f0.txt")); err != nil {
		t.Fatal(err)
	}
	aws.OK("s3", "sync", "--no-progress", "--delete", "s3://tree/x", h.Path("tree"))
	delete(names, "d0/e 0/f0.txt")
	names["new"] = []byte("new")
	for name, want := range names {
		mustHold(t, h.Path("tree/"+name), want)
	}
	if _, err := os.Stat(h.Path("tree/d0/e 0/f0.txt")); !os.IsNotExist(err) {
		t.Errorf("sync --delete: %v", err)
	}
	// A source tree through the mount, fetched with the client.
	out := h.Exec(nil, "cp", "-a", h.Path("tree"), filepath.Join(mnt, "tree/copy"))
	if out.Code != 0 {
		t.Fatalf("cp -a: %v", out)
	}
	aws.OK("s3", "sync", "--no-progress", "s3://tree/copy", h.Path("fetched"))
	if out := h.Exec(nil, "diff", "-r", h.Path("tree"), h.Path("fetched")); out.Code != 0 {
		t.Errorf("diff: %v", out)
	}
	h.Umount()
}

func TestAWSCLISpeaksTheAPI(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	aws.OK("s3api", "create-bucket", "--bucket", "api")
	body := []byte("hello, world\n")
	src := h.writeFile("src", body)
	put := aws.JSON("s3api", "put-object", "--bucket", "api", "--key", "a/b", "--body", src,
		"--content-type", "text/x-greeting", "--metadata", "colour=blue", "--cache-control", "max-age=60", "--checksum-algorithm", "SHA256")
	sum := md5.Sum(body)
	if got := strings.Trim(fmt.Sprint(put["ETag"]), `"`); got != hex.EncodeToString(sum[:]) {
		t.Errorf("ETag %s", got)
	}
	head := aws.JSON("s3api", "head-object", "--bucket", "api", "--key", "a/b", "--checksum-mode", "ENABLED")
	for name, want := range map[string]string{
		"ContentLength": "13", "ContentType": "text/x-greeting", "CacheControl": "max-age=60", "Metadata": "map[colour:blue]",
		"ServerSideEncryption": "AES256", "ETag": fmt.Sprint(put["ETag"]), "ChecksumSHA256": fmt.Sprint(put["ChecksumSHA256"]),
	} {
		if got := fmt.Sprint(head[name]); got != want {
			t.Errorf("head: %s is %q, want %q", name, got, want)
		}
	}
	// The metadata is an xattr of the file.
	value := make([]byte, 64)
	n, err := syscall.Getxattr(filepath.Join(mnt, "api/a/b"), "user.s3.meta.colour", value)
	if err != nil || string(value[:max(n, 0)]) != "blue" {
		t.Errorf("xattr: %q, %v", value[:max(n, 0)], err)
	}
	if err := syscall.Setxattr(filepath.Join(mnt, "api/a/b"), "user.s3.meta.colour", []byte("green"), 0); err != nil {
		t.Error(err)
	}
	head = aws.JSON("s3api", "head-object", "--bucket", "api", "--key", "a/b")
	if got := fmt.Sprint(head["Metadata"]); got != "map[colour:green]" {
		t.Errorf("metadata set in the mount: %s", got)
	}
	aws.OK("s3api", "get-object", "--bucket", "api", "--key", "a/b", "--range", "bytes=7-11", h.Path("part"))
	mustHold(t, h.Path("part"), []byte("world"))
	if r := aws.Run("s3api", "get-object", "--bucket", "api", "--key", "a/b", "--if-none-match", fmt.Sprint(put["ETag"]), h.Path("part")); r.Code == 0 || !strings.Contains(r.Stderr, "304") {
		t.Errorf("if-none-match: %v", r)
	}
	if r := aws.Run("s3api", "head-object", "--bucket", "api", "--key", "none"); r.Code == 0 || !strings.Contains(r.Stderr, "404") {
		t.Errorf("head of nothing: %v", r)
	}
	aws.OK("s3api", "copy-object", "--bucket", "api", "--key", "copy", "--copy-source", "api/a/b")
	mustHold(t, filepath.Join(mnt, "api/copy"), body)
	aws.OK("s3api", "put-object", "--bucket", "api", "--key", "made/")
	if st, err := os.Stat(filepath.Join(mnt, "api/made")); err != nil || !st.IsDir() {
		t.Errorf("the directory that put-object made: %v", err)
	}
	if err := os.Mkdir(filepath.Join(mnt, "api/dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	list := aws.JSON("s3api", "list-objects-v2", "--bucket", "api")
	var keys []string
	contents, _ := list["Contents"].([]any)
	for _, c := range contents {
		keys = append(keys, fmt.Sprint(c.(map[string]any)["Key"]))
	}
	if want := []string{"a/b", "copy", "dir/", "made/"}; !slices.Equal(keys, want) {
		t.Errorf("list: %q, want %q", keys, want)
	}
	list = aws.JSON("s3api", "list-objects-v2", "--bucket", "api", "--delimiter", "/", "--no-paginate", "--max-keys", "2")
	if list["NextContinuationToken"] == nil || list["IsTruncated"] != true {
		t.Errorf("a cut listing has no token: %v", list)
	}
	if got := fmt.Sprint(aws.JSON("s3api", "get-bucket-location", "--bucket", "api")["LocationConstraint"]); got != "<nil>" {
		t.Errorf("location %s", got)
	}
	del := aws.JSON("s3api", "delete-objects", "--bucket", "api", "--delete", `{"Objects":[{"Key":"copy"},{"Key":"made/"},{"Key":"nothing"}]}`)
	if got := fmt.Sprint(len(del["Deleted"].([]any))); got != "3" {
		t.Errorf("deleted: %v", del)
	}
	if _, err := os.Stat(filepath.Join(mnt, "api/copy")); !os.IsNotExist(err) {
		t.Errorf("deleted, and: %v", err)
	}
	h.Umount()
}

func TestAWSCLIMultipart(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://parts")
	up := aws.JSON("s3api", "create-multipart-upload", "--bucket", "parts", "--key", "whole", "--metadata", "a=b")
	id := fmt.Sprint(up["UploadId"])
	parts := [][]byte{content(1, 5<<20), content(2, 6<<20+1), content(3, 99)}
	aws.OK("s3", "cp", "--no-progress", h.writeFile("p2", parts[1]), "s3://parts/source")
	var etags []string
	for i, p := range parts {
		args := []string{"--bucket", "parts", "--key", "whole", "--upload-id", id, "--part-number", fmt.Sprint(i + 1)}
		if i == 1 {
			out := aws.JSON(append([]string{"s3api", "upload-part-copy", "--copy-source", "parts/source"}, args...)...)
			etags = append(etags, fmt.Sprint(out["CopyPartResult"].(map[string]any)["ETag"]))
			continue
		}
		out := aws.JSON(append([]string{"s3api", "upload-part", "--body", h.writeFile("part", p)}, args...)...)
		etags = append(etags, fmt.Sprint(out["ETag"]))
	}
	if _, err := os.Stat(filepath.Join(mnt, "parts/whole")); !os.IsNotExist(err) {
		t.Errorf("an upload under way is visible: %v", err)
	}
	listed := aws.JSON("s3api", "list-parts", "--bucket", "parts", "--key", "whole", "--upload-id", id)
	if got, _ := listed["Parts"].([]any); len(got) != 3 {
		t.Errorf("parts: %v", listed)
	}
	uploads := aws.JSON("s3api", "list-multipart-uploads", "--bucket", "parts")
	if got, _ := uploads["Uploads"].([]any); len(got) != 1 {
		t.Errorf("uploads: %v", uploads)
	}
	var doc []string
	for i, e := range etags {
		doc = append(doc, fmt.Sprintf(`{"PartNumber":%d,"ETag":%q}`, i+1, e))
	}
	aws.OK("s3api", "complete-multipart-upload", "--bucket", "parts", "--key", "whole", "--upload-id", id,
		"--multipart-upload", `{"Parts":[`+strings.Join(doc, ",")+`]}`)
	mustHold(t, filepath.Join(mnt, "parts/whole"), bytes.Join(parts, nil))

	up = aws.JSON("s3api", "create-multipart-upload", "--bucket", "parts", "--key", "never")
	aws.OK("s3api", "upload-part", "--bucket", "parts", "--key", "never", "--upload-id", fmt.Sprint(up["UploadId"]), "--part-number", "1", "--body", h.Path("part"))
	aws.OK("s3api", "abort-multipart-upload", "--bucket", "parts", "--key", "never", "--upload-id", fmt.Sprint(up["UploadId"]))
	if r := aws.Run("s3api", "list-parts", "--bucket", "parts", "--key", "never", "--upload-id", fmt.Sprint(up["UploadId"])); r.Code == 0 || !strings.Contains(r.Stderr, "NoSuchUpload") {
		t.Errorf("parts of an aborted upload: %v", r)
	}
	h.Umount()
}
