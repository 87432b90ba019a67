package integration

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestFullDiskIsSaidByBothDoorsAndLosesNothing(t *testing.T) {
	NeedRoot(t, "a small file system")
	h := NewHouse(t)
	disk := h.Mkdir("disk")
	if err := syscall.Mount("coffer-test", disk, "tmpfs", 0, "size=160m"); err != nil {
		missing(t, "no tmpfs here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	h.env = append(h.env, "COFFER_STORE="+disk+"/store")
	mnt := h.Mount("--cache=through")
	d := &doors{House: h, mnt: mnt, s3: h.NewS3()}
	ctx := context.Background()
	if _, err := d.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: ptr(bucket)}); err != nil {
		t.Fatal(err)
	}
	body := content(1, 4<<20)
	var put []string
	var s3err, fserr error
	for i := range 100 {
		key := fmt.Sprintf("k%d", i)
		if s3err = d.s3.Put(ctx, bucket, key, body); s3err != nil {
			break
		}
		put = append(put, key)
	}
	if s3err == nil || len(put) == 0 {
		t.Fatalf("%d objects fit, %v", len(put), s3err)
	}
	for i := range 10 {
		f, err := os.Create(d.path(fmt.Sprintf("f%d", i)))
		if err == nil {
			if _, err = f.Write(body); err == nil {
				err = f.Sync()
			}
			f.Close()
		}
		if fserr = err; err != nil {
			break
		}
	}
	if !isErrno(fserr, syscall.ENOSPC) {
		t.Errorf("the mount of a full disk says %v", fserr)
	}
	t.Logf("%d objects fitted; S3 says %v", len(put), s3err)
	for _, key := range put {
		d.mustGet(key, body)
		mustHold(t, d.path(key), body)
	}
	// There is room again.
	if err := syscall.Mount("coffer-test", disk, "tmpfs", syscall.MS_REMOUNT, "size=320m"); err != nil {
		t.Fatal(err)
	}
	d.put("after", body)
	d.mustGet("after", body)
	d.Umount()
	d.mnt = h.Mount()
	for _, key := range append(put, "after") {
		mustHold(t, d.path(key), body)
	}
	d.Umount()
}
