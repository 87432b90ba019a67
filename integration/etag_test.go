package integration

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// etags are the ETags of a bucket's objects by key, without quotes, as aws-cli
// lists them.
func (a *AWS) etags(bucket string) map[string]string {
	a.h.t.Helper()
	tags := map[string]string{}
	list, _ := a.JSON("s3api", "list-objects-v2", "--bucket", bucket)["Contents"].([]any)
	for _, o := range list {
		o := o.(map[string]any)
		tags[o["Key"].(string)] = strings.Trim(o["ETag"].(string), `"`)
	}
	return tags
}

// TestAWSCLIInABucketOfOpaqueETags: in one request and in parts, up, down and
// across, and chosen while the daemon runs.
func TestAWSCLIInABucketOfOpaqueETags(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://photos")
	back := h.Path("back")
	small, large := content(1, 100_000), content(2, 20<<20) // 3 parts of up to 8 MiB
	src := map[string]string{"small": h.writeFile("small", small), "large": h.writeFile("large", large)}
	aws.OK("s3", "cp", "--no-progress", src["small"], "s3://photos/before")
	h.OK("bucket", "etag", "photos", "opaque")
	for key, p := range map[string][]byte{"small": small, "large": large} {
		aws.OK("s3", "cp", "--no-progress", src[key], "s3://photos/"+key)
		aws.OK("s3", "cp", "--no-progress", "s3://photos/"+key, back)
		mustHold(t, back, p)
		mustHold(t, filepath.Join(mnt, "photos", key), p)
		// The large one by UploadPartCopy.
		aws.OK("s3", "cp", "--no-progress", "s3://photos/"+key, "s3://photos/copy of "+key)
		mustHold(t, filepath.Join(mnt, "photos/copy of "+key), p)
	}
	// The parts are listed only if aws-cli sent checksums with them, as it does from 1.37 and 2.23 on.
	if parts, _ := aws.JSON("s3api", "get-object-attributes", "--bucket", "photos", "--key", "large", "--object-attributes", "ObjectParts")["ObjectParts"].(map[string]any); fmt.Sprint(parts["TotalPartsCount"]) != "3" {
		t.Errorf("the large object was uploaded in %v", parts)
	}
	sent := func(b []byte) string { s := md5.Sum(b); return base64.StdEncoding.EncodeToString(s[:]) }
	put := []string{"s3api", "put-object", "--bucket", "photos", "--key", "verified", "--body", src["small"], "--content-md5"}
	if r := aws.Run(append(put, sent(large))...); r.Code == 0 || !strings.Contains(r.Stderr, "BadDigest") {
		t.Errorf("a wrong Content-MD5: %v", r)
	}
	if _, err := os.Stat(filepath.Join(mnt, "photos/verified")); !os.IsNotExist(err) {
		t.Errorf("after a wrong Content-MD5: %v", err)
	}
	aws.OK(append(put, sent(small))...)
	mustHold(t, filepath.Join(mnt, "photos/verified"), small)

	tags := aws.etags("photos")
	opaque := regexp.MustCompile(`^[0-9a-f]{32}-1$`)
	sum := fmt.Sprintf("%x", md5.Sum(small))
	seen := map[string]string{}
	for key, tag := range tags {
		if key != "before" && (!opaque.MatchString(tag) || strings.HasPrefix(tag, sum)) || seen[tag] != "" {
			t.Errorf("%q has the ETag %s, %q too", key, tag, seen[tag])
		}
		seen[tag] = key
	}
	if len(tags) != 6 || tags["before"] != sum {
		t.Errorf("ETags: %v; before the choice it was %s", tags, sum)
	}

	h.Umount()
	h.Mount()
	aws = h.NewAWS()
	if out := h.OK("bucket", "etag", "photos"); out != "opaque\n" {
		t.Errorf("after a restart it is %q", out)
	}
	h.OK("bucket", "etag", "photos", "md5")
	aws.OK("s3", "cp", "--no-progress", src["small"], "s3://photos/after")
	tags["after"] = sum
	if now := aws.etags("photos"); !maps.Equal(now, tags) {
		t.Errorf("after a restart, and chosen back, ETags are\n%v, want\n%v", now, tags)
	}
	h.Umount()
}
