package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestFullDiskIsSaidByBothDoorsAndLosesNothing: what was acknowledged stays, both doors
// show one file where a write failed, and programs go on when there is room again, on
// the descriptors that they have.
func TestFullDiskIsSaidByBothDoorsAndLosesNothing(t *testing.T) {
	NeedRoot(t, "a small file system")
	for _, cache := range []string{"auto", "through"} {
		t.Run(cache, func(t *testing.T) { fullDisk(t, cache) })
	}
}

func fullDisk(t *testing.T, cache string) {
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
	mnt := h.Mount("--cache=" + cache)
	d := &doors{House: h, mnt: mnt, s3: h.NewS3()}
	ctx := context.Background()
	if _, err := d.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: ptr(bucket)}); err != nil {
		t.Fatal(err)
	}
	body := content(1, 4<<20)
	first, synced, closed := content(2, 100_001), content(3, 50_001), content(4, 30_001)
	log, err := os.OpenFile(d.path("log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o444)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Write(first); err != nil {
		t.Fatal(err)
	}
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	var put []string
	var s3err error
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
	t.Logf("%d objects fitted; S3 says %v", len(put), s3err)

	// A file that is made on the full disk: told by fsync, and one by close.
	d.untilFull("synced", func(f *os.File) error {
		_, err := f.Write(body)
		return errors.Join(err, f.Sync(), f.Close())
	})
	d.untilFull("closed", func(f *os.File) error {
		_, err := f.Write(body)
		return errors.Join(err, f.Close())
	})
	// One that grows.
	whole := first
	for err = nil; err == nil && len(whole) < 10*len(body); {
		_, err = log.Write(body)
		if err = errors.Join(err, log.Sync()); err == nil {
			whole = slices.Concat(whole, body)
		}
	}
	if !isErrno(err, syscall.ENOSPC) {
		t.Errorf("appending on a full disk: %v", err)
	}
	whole = d.afterFailure("log", whole, body)
	if st, err := log.Stat(); err != nil || st.Size() != int64(len(whole)) {
		t.Errorf("the descriptor says %v, %v; want %d", st, err, len(whole))
	}
	d.mustAgree("log", whole)
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
	if _, err := log.Write(synced); err != nil {
		t.Error(err)
	}
	if err := log.Sync(); err != nil {
		t.Error(err)
	}
	whole = slices.Concat(whole, synced)
	d.mustAgree("log", whole)
	if _, err := log.Write(closed); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	whole = slices.Concat(whole, closed)
	d.mustAgree("log", whole)
	d.Umount()
	d.mnt, d.s3 = h.Mount(), h.NewS3()
	for _, key := range append(put, "after") {
		mustHold(t, d.path(key), body)
	}
	d.mustAgree("log", whole)
	d.Umount()
}

// untilFull makes files until one fails, for want of room, and checks that both doors
// have the same file then.
func (d *doors) untilFull(how string, fill func(*os.File) error) {
	d.t.Helper()
	for i := range 10 {
		key := fmt.Sprint(how, i)
		f, err := os.Create(d.path(key))
		if err == nil {
			err = fill(f)
			f.Close()
		}
		if err == nil {
			continue
		}
		if !isErrno(err, syscall.ENOSPC) {
			d.t.Errorf("the mount of a full disk says %v", err)
		}
		if got, err := d.s3.Get(context.Background(), bucket, key); errorCode(err) != "NoSuchKey" {
			if err != nil {
				d.t.Fatal(err)
			}
			d.mustAgree(key, got)
		} else if _, err := os.Stat(d.path(key)); !os.IsNotExist(err) {
			d.t.Errorf("%s: S3 has none, the mount says %v", key, err)
		}
		return
	}
	d.t.Error("the disk does not get full")
}

// afterFailure returns what S3 has of a file that was appended to until that failed:
// what was there before, and as much of the rest as was committed before the failure,
// which may have come when all that was missing was to make it durable.
func (d *doors) afterFailure(key string, before, rest []byte) []byte {
	d.t.Helper()
	got, err := d.s3.Get(context.Background(), bucket, key)
	if err != nil || !bytes.HasPrefix(got, before) || !bytes.HasPrefix(slices.Concat(before, rest), got) {
		d.t.Fatalf("%s: S3 has %s, %v; want %s and a part of %s", key, brief(got), err, brief(before), brief(rest))
	}
	return got
}

// mustAgree wants both doors to show one file, by HEAD and GET, stat and read.
func (d *doors) mustAgree(key string, want []byte) {
	d.t.Helper()
	head, err := d.s3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: ptr(bucket), Key: ptr(key)})
	if err != nil || *head.ContentLength != int64(len(want)) {
		d.t.Errorf("%s: S3 says %v, %v; want %d", key, head, err, len(want))
	}
	d.mustGet(key, want)
	if st, err := os.Stat(d.path(key)); err != nil || st.Size() != int64(len(want)) {
		d.t.Errorf("%s: the mount says %v, %v; want %d", key, st, err, len(want))
	}
	if got, err := os.ReadFile(d.path(key)); err != nil || !bytes.Equal(got, want) {
		d.t.Errorf("%s: the mount reads %s, %v; want %s", key, brief(got), err, brief(want))
	}
}
