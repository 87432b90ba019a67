package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLifecycleOfARunningStore: rules that aws-cli sets are carried out by the
// daemon, for both doors, and again after it was killed amidst.
func TestLifecycleOfARunningStore(t *testing.T) {
	h := NewHouse(t)
	mnt := h.Mount()
	aws := h.NewAWS()
	aws.OK("s3", "mb", "s3://photos")
	rules := h.writeFile("rules.json", []byte(`{"Rules": [
		{"ID": "past", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Date": "2020-01-01T00:00:00Z"}},
		{"ID": "tagged", "Status": "Enabled", "Filter": {"Tag": {"Key": "keep", "Value": "no"}}, "Expiration": {"Date": "2020-01-01T00:00:00Z"}},
		{"ID": "later", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}]}`))
	const n = 1500 // three pages
	for _, dir := range []string{"old/deep", "kept"} {
		if err := os.MkdirAll(filepath.Join(mnt, "photos", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(mnt, "photos/old/deep", fmt.Sprint(i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body := h.writeFile("body", []byte("kept"))
	aws.OK("s3", "cp", "--no-progress", body, "s3://photos/old/by-s3")
	aws.OK("s3", "cp", "--no-progress", body, "s3://photos/kept/by-s3")
	aws.OK("s3api", "put-object", "--bucket", "photos", "--key", "kept/tagged", "--body", body, "--tagging", "keep=no")
	if err := os.WriteFile(filepath.Join(mnt, "photos/kept/by-mount"), []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	aws.OK("s3api", "create-multipart-upload", "--bucket", "photos", "--key", "begun")
	aws.OK("s3api", "put-bucket-lifecycle-configuration", "--bucket", "photos", "--lifecycle-configuration", "file://"+rules)
	if e, _ := aws.JSON("s3api", "head-object", "--bucket", "photos", "--key", "kept/by-s3")["Expiration"].(string); !strings.Contains(e, `rule-id="later"`) {
		t.Errorf("expiration is told as %q", e)
	}

	// Killed while it works.
	done := make(chan Result)
	go func() { done <- h.Coffer("bucket", "lifecycle") }()
	h.Await("the first objects to go", func() bool {
		list, err := os.ReadDir(filepath.Join(mnt, "photos/old/deep"))
		return err == nil && len(list) < n
	})
	h.Signal(syscall.SIGKILL)
	<-done
	h.Umount()

	mnt = h.Mount()
	aws = h.NewAWS()
	var r struct{ Buckets, Expired, Failed int }
	if out := h.OK("bucket", "lifecycle", "--json"); json.Unmarshal([]byte(out), &r) != nil || r.Buckets != 1 || r.Expired == 0 || r.Failed != 0 {
		t.Errorf("lifecycle says %q", out)
	}
	list, err := os.ReadDir(filepath.Join(mnt, "photos/old/deep"))
	if err != nil || len(list) != 0 {
		t.Errorf("%d files are left, %v", len(list), err)
	}
	got := aws.etags("photos")
	for _, key := range []string{"kept/by-s3", "kept/by-mount"} {
		if got[key] == "" {
			t.Errorf("%s is gone", key)
		}
		mustHold(t, filepath.Join(mnt, "photos", key), []byte("kept"))
	}
	for key := range got {
		if strings.HasPrefix(key, "old/") && !strings.HasSuffix(key, "/") || key == "kept/tagged" {
			t.Errorf("%s is still there", key)
		}
	}
	if up := aws.JSON("s3api", "list-multipart-uploads", "--bucket", "photos")["Uploads"]; up == nil {
		t.Error("an upload of today was aborted")
	}
	if !strings.Contains(h.Logs(), "lifecycle rules were carried out") {
		t.Error("the log does not tell")
	}
	h.Umount()
}
