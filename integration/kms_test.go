package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const photosARN = "arn:aws:kms:us-east-1:000000000000:key/photos"

// underKey fails the test unless HEAD says that an object is under an external key.
func (a *AWS) underKey(bucket, key, arn string) {
	a.h.t.Helper()
	head := a.JSON("s3api", "head-object", "--bucket", bucket, "--key", key)
	if head["ServerSideEncryption"] != "aws:kms" || head["SSEKMSKeyId"] != arn {
		a.h.t.Errorf("%s is under %v %v, want %s", key, head["ServerSideEncryption"], head["SSEKMSKeyId"], arn)
	}
}

// TestKeyLifeIsSeenThroughBothDoors: what coffer key does to a key counts at
// once for objects and files under it, and for no others.
func TestKeyLifeIsSeenThroughBothDoors(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount("--http", "127.0.0.1:0")
	aws := h.NewAWS()
	if out := h.OK("key", "create", "photos", "--alias", "holidays"); out != photosARN+"\n" {
		t.Fatal(out)
	}
	aws.OK("s3", "mb", "s3://box")
	data := content(1, 300_000)
	file := h.writeFile("data", data)
	for key, id := range map[string]string{"name": "photos", "alias": "alias/holidays", "arn": photosARN, "default": ""} {
		args := []string{"s3", "cp", "--no-progress", file, "s3://box/" + key, "--sse", "aws:kms"}
		arn := "arn:aws:kms:us-east-1:000000000000:key/aws-s3"
		if id != "" {
			args, arn = append(args, "--sse-kms-key-id", id), photosARN
		}
		aws.OK(args...)
		aws.underKey("box", key, arn)
	}
	aws.OK("s3", "cp", "--no-progress", file, "s3://box/other")
	box := func(name string) string { return filepath.Join(mnt, "box", name) }
	opens := func(names ...string) {
		t.Helper()
		for _, name := range names {
			holds(t, box(name), data)
			back := h.Path("back")
			aws.OK("s3", "cp", "--no-progress", "s3://box/"+name, back)
			if p, err := os.ReadFile(back); err != nil || !bytes.Equal(p, data) {
				t.Errorf("%s comes back otherwise, %v", name, err)
			}
		}
	}
	opens("name", "default")

	// In the mount it is a file under its key, also when it is written anew.
	if err := os.WriteFile(box("arn"), data, 0); err != nil {
		t.Fatal(err)
	}
	aws.underKey("box", "arn", photosARN)

	if out := h.OK("key", "rotate", "photos"); !strings.Contains(out, "version 2 now, and 1 data keys were moved") {
		t.Error(out)
	}
	opens("name")

	// Disabled: locked through both doors, the open file but, and nothing else is.
	kept, err := os.Open(box("alias"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	h.OK("key", "disable", "photos")
	get := []string{"s3api", "get-object", "--bucket", "box", "--key", "name", h.Path("x")}
	put := []string{"s3", "cp", "--no-progress", file, "s3://box/new", "--sse", "aws:kms", "--sse-kms-key-id", "photos"}
	aws.refuses(get, "KMS.DisabledException", photosARN+" is disabled.")
	aws.refuses(put, "KMS.DisabledException", photosARN+" is disabled.")
	for _, name := range []string{"name", "alias", "arn"} {
		locked(t, box(name), len(data))
	}
	if n := resident(t, kept, len(data)); n != 0 {
		t.Errorf("the kernel still has %d pages", n)
	}
	p := make([]byte, 1000)
	if _, err := kept.ReadAt(p, 200_000); err != nil || !bytes.Equal(p, data[200_000:201_000]) {
		t.Errorf("what was open: %v", err)
	}
	kept.Close()
	opens("other", "default")
	if err := errors.Join(os.Rename(box("alias"), box("moved")), os.Remove(box("moved"))); err != nil {
		t.Errorf("what needs no key: %v", err)
	}
	if list, _ := aws.JSON("s3api", "list-objects-v2", "--bucket", "box")["Contents"].([]any); len(list) != 4 {
		t.Errorf("%v", list)
	}
	// The next daemon knows of it too.
	h.Umount()
	h.Mount("--http", "127.0.0.1:0")
	aws, plain := h.NewAWS(), h.plain()
	locked(t, box("name"), len(data))
	h.OK("key", "enable", "photos")
	opens("name")

	h.OK("key", "delete", "photos", "--pending-days", "7")
	aws.refuses(get, "KMS.KMSInvalidStateException", photosARN+" is pending deletion.")
	aws.refuses(put, "KMS.KMSInvalidStateException", photosARN+" is pending deletion.")
	locked(t, box("name"), len(data))
	h.OK("key", "cancel-delete", "photos")
	locked(t, box("name"), len(data))
	h.OK("key", "enable", "photos")
	opens("name")
	aws.refuses([]string{"s3", "cp", file, "s3://box/new", "--sse", "aws:kms", "--sse-kms-key-id", "fake-key-id"}, "KMS.NotFoundException", "Invalid keyId 'fake-key-id'")
	aws.refuses([]string{"s3", "cp", file, "s3://box/new", "--sse", "aws:kms", "--sse-kms-key-id", "sse-s3"}, "KMS.NotFoundException", "Invalid keyId 'sse-s3'")

	// Without TLS nothing under it is served or stored.
	const secure = "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection."
	plain.refuses(get, "InvalidArgument", secure)
	plain.refuses(put, "InvalidArgument", secure)
	plain.OK("s3api", "head-object", "--bucket", "box", "--key", "name")
	plain.OK("s3", "cp", "--no-progress", "s3://box/other", h.Path("x"))
	rule := map[string]any{"Rules": []any{map[string]any{"ApplyServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/holidays"}}}}
	text, err := json.Marshal(rule)
	if err != nil {
		t.Fatal(err)
	}
	aws.OK("s3api", "put-bucket-encryption", "--bucket", "box", "--server-side-encryption-configuration", string(text))
	plain.refuses([]string{"s3", "cp", file, "s3://box/new"}, "InvalidArgument", secure)
	plain.OK("s3", "cp", "--no-progress", file, "s3://box/new", "--sse", "AES256")
	// A file made in the mount takes the bucket's default.
	if err := os.WriteFile(box("made"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	aws.underKey("box", "made", photosARN)
	upload := aws.JSON("s3api", "create-multipart-upload", "--bucket", "box", "--key", "parts")
	if upload["SSEKMSKeyId"] != photosARN {
		t.Errorf("%v", upload)
	}
	plain.refuses([]string{"s3api", "upload-part", "--bucket", "box", "--key", "parts", "--part-number", "1",
		"--upload-id", upload["UploadId"].(string), "--body", file}, "InvalidArgument", secure)

	// Nobody waits a week here: that the daemon erases the key then is tested in
	// package mount, and what is left of its objects in the engine.
	h.OK("key", "delete", "alias/holidays")
	if _, err := os.ReadFile(box("made")); !errors.Is(err, syscall.ENOKEY) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(box("made")); err != nil {
		t.Error(err)
	}
	if f, err := os.Create(box("made")); !errors.Is(err, syscall.ENOKEY) {
		t.Errorf("made under a key that is to be deleted: %v, %v", f, err)
	}
	if _, err := os.Lstat(box("made")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	h.Umount()
}
