package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tags are the tags of an object, as aws-cli tells them.
func (a *AWS) tags(bucket, key string) string {
	a.h.t.Helper()
	set, _ := a.JSON("s3api", "get-object-tagging", "--bucket", bucket, "--key", key)["TagSet"].([]any)
	var list []string
	for _, t := range set {
		t := t.(map[string]any)
		list = append(list, fmt.Sprint(t["Key"], "=", t["Value"]))
	}
	return strings.Join(list, " ")
}

// TestTagsAreAttributesThroughBothDoors: what one sets the other shows, through the
// kernel.
func TestTagsAreAttributesThroughBothDoors(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://photos")
	body := h.writeFile("body", []byte("x"))
	aws.OK("s3api", "put-object", "--bucket", "photos", "--key", "dir/k", "--body", body, "--tagging", "colour=red&empty=")
	file := filepath.Join(mnt, "photos/dir/k")
	get := func(name string) string {
		t.Helper()
		var buf [512]byte
		n, err := unix.Getxattr(file, "user.s3.tag."+name, buf[:])
		if err != nil {
			return err.Error()
		}
		return string(buf[:n])
	}
	if got := get("colour"); got != "red" {
		t.Errorf("the mount shows %q", got)
	}
	for name, want := range map[string]error{"size": nil, "a b": nil, "bad,key": unix.EINVAL, "aws:x": unix.EINVAL, strings.Repeat("k", 129): unix.EINVAL} {
		if err := unix.Setxattr(file, "user.s3.tag."+name, []byte("large"), 0); !errors.Is(err, want) {
			t.Errorf("setxattr %q: %v, want %v", name, err, want)
		}
	}
	if err := unix.Removexattr(file, "user.s3.tag.empty"); err != nil {
		t.Error(err)
	}
	if got := aws.tags("photos", "dir/k"); got != "a b=large colour=red size=large" {
		t.Errorf("S3 shows %q", got)
	}
	if n := aws.JSON("s3api", "get-object", "--bucket", "photos", "--key", "dir/k", h.Path("back"))["TagCount"]; fmt.Sprint(n) != "3" {
		t.Errorf("%v tags", n)
	}
	aws.OK("s3api", "put-object-tagging", "--bucket", "photos", "--key", "dir/k", "--tagging", "TagSet=[{Key=other,Value=1}]")
	var buf [4096]byte
	n, err := unix.Listxattr(file, buf[:])
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	sort.Strings(names)
	if fmt.Sprint(names) != "[user.s3.tag.other]" || get("other") != "1" {
		t.Errorf("the mount lists %q", names)
	}
	aws.OK("s3api", "delete-object-tagging", "--bucket", "photos", "--key", "dir/k")
	if got := get("other"); got != unix.ENODATA.Error() {
		t.Errorf("after they were deleted: %q", got)
	}
	h.Umount()
}
