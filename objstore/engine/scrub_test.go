package engine

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/extent/extenttest"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// rottenData reads one byte of one segment wrongly.
type rottenData struct {
	data.Store
	at atomic.Pointer[data.Location] // one byte; nil: none
}

func (d *rottenData) ReadAt(ctx context.Context, l data.Location, p []byte, off int64) error {
	err := d.Store.ReadAt(ctx, l, p, off)
	if at := d.at.Load(); at != nil && at.Segment == l.Segment {
		if i := int64(at.Offset) - int64(l.Offset) - off; i >= 0 && i < int64(len(p)) {
			p[i] ^= 1
		}
	}
	return err
}

// scrubStack is a stack with a little of everything.
func scrubStack(t *testing.T) (k *stack, rotten *rottenData, want ScrubReport, key *secret.Key) {
	t.Helper()
	rotten = &rottenData{}
	k, root := newStack(t, func(k *stack) {
		k.wrap = func(d data.Store) data.Store { rotten.Store = d; return rotten }
	})
	put(t, k.s, "empty", nil)
	put(t, k.s, "dir/sub/small", bytesOf(1, 100))
	put(t, k.s, "dir/large", bytesOf(2, 300_000))
	put(t, k.s, "gone/dir/old", bytesOf(3, 50_000))
	want = ScrubReport{Buckets: 1, Directories: 2, Files: 3, Bytes: 100 + 300_000}

	f := fileAt(t, k.s, root, "sparse")
	mustWrite(t, f, bytesOf(4, 20_000), 1<<40)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	a, err := k.s.Lookup(bg, root, "sparse")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.Link(bg, mountC, a.Inode, root, "again"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.Symlink(bg, mountC, root, "link", "dir"); err != nil {
		t.Fatal(err)
	}
	want.Files, want.Bytes = want.Files+2, want.Bytes+20_000

	key = secret.Random()
	putSSEC(t, k, root, "secret", bytesOf(5, 70_000), key)
	want.Files, want.KeyRequired = want.Files+1, 1

	u := newUpload(t, k, "whole")
	first, last := u.part("whole", 1, bytesOf(6, 5<<20)), u.part("whole", 2, bytesOf(7, 10))
	if _, err := u.complete("whole", first, last); err != nil {
		t.Fatal(err)
	}
	u = newUpload(t, k, "parts")
	u.part("parts", 3, bytesOf(8, 40_000))
	want.Files, want.Parts, want.Bytes = want.Files+1, 1, want.Bytes+5<<20+10+40_000

	k.versioning(objstore.VersioningEnabled)
	put(t, k.s, "dir/large", bytesOf(9, 200_000))
	for _, key := range []string{"gone/dir/old", "dir/sub/small"} {
		if _, err := deleteKey(k.s, root, key); err != nil {
			t.Fatal(err)
		}
	}
	// gone/dir is no more, and its versions still have it in their path; so is dir/sub.
	want.Directories--
	want.Files--
	want.Versions, want.Bytes = 3, want.Bytes+50_000+200_000
	return k, rotten, want, key
}

// scrubbed returns the report and the paths of what is damaged.
func scrubbed(t *testing.T, s *Store, origin uint32) (ScrubReport, []string) {
	t.Helper()
	var paths []string
	progress := ScrubReport{}
	report, err := s.Scrub(bg, ScrubOptions{
		Origin: origin,
		Damaged: func(path string, err error) {
			if err == nil {
				t.Errorf("%s: no error", path)
			}
			paths = append(paths, path)
		},
		Progress: func(r ScrubReport) { progress = r },
	})
	if err != nil {
		t.Fatal(err)
	}
	if report != progress || report.Damaged != len(paths) {
		t.Errorf("reported %+v, told %+v, damaged %q", report, progress, paths)
	}
	sort.Strings(paths)
	return report, paths
}

func TestScrubReadsEverything(t *testing.T) {
	k, _, want, key := scrubStack(t)
	got, paths := scrubbed(t, k.s, 0)
	if got != want || len(paths) > 0 {
		t.Errorf("got  %+v %q\nwant %+v", got, paths, want)
	}
	if err := k.s.LendKeys(9, key); err != nil {
		t.Fatal(err)
	}
	want.KeyRequired, want.Bytes = 0, want.Bytes+70_000
	if got, _ := scrubbed(t, k.s, 9); got != want {
		t.Errorf("with the customer's key\ngot  %+v\nwant %+v", got, want)
	}
}

// TestScrubFindsWhatCannotBeRead: whichever extent is damaged, the scrub names what is
// read from it, and nothing else.
func TestScrubFindsWhatCannotBeRead(t *testing.T) {
	k, rotten, _, _ := scrubStack(t)
	k.reopen() // nothing is staged, no key is kept
	var at []data.Location
	err := k.kv.View(bg, func(r meta.Reader) error {
		return extenttest.Each(r, 'e', func(_, val []byte) error {
			x, err := record.ParseExtent(val)
			if err == nil {
				run := x.Runs[0]
				at = append(at, data.Location{Segment: data.SegmentID(run.Segment), Offset: run.Offset + 100, Length: 1})
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, at := range at {
		rotten.at.Store(&at)
		report, paths := scrubbed(t, k.s, 0)
		if len(paths) > 1 {
			t.Errorf("%v: %q", at, paths)
		}
		for _, path := range paths {
			all[path] = true
		}
		if report.Damaged == 0 {
			all["-"] = true // that of the customer's key is not read
		}
	}
	rotten.at.Store(nil)
	version := ""
	for path := range all {
		if rest, ok := bytes.CutPrefix([]byte(path), []byte("bucket/gone/dir/old?versionId=")); ok {
			version = string(rest)
		}
	}
	p, _, err := get(k.s, objstore.GetRequest{Key: "gone/dir/old", Version: objstore.VersionID(version)})
	if err != nil || !bytes.Equal(p, bytesOf(3, 50_000)) {
		t.Errorf("version %q cannot be read by its name: %v", version, err)
	}
	var names []string
	for path := range all {
		name, _, _ := bytes.Cut([]byte(path), []byte("?"))
		names = append(names, string(name))
	}
	slices.Sort(names)
	want := []string{"-", "bucket/again", "bucket/dir/large", "bucket/dir/large", "bucket/gone/dir/old", "bucket/parts", "bucket/whole"}
	if !slices.Equal(names, want) {
		t.Errorf("damaged were %q, want %q", names, want)
	}
	if _, paths := scrubbed(t, k.s, 0); len(paths) > 0 {
		t.Errorf("mended, but %q", paths)
	}
}

// TestScrubFindsMissingAndDamagedRecords, and goes on behind them.
func TestScrubFindsMissingAndDamagedRecords(t *testing.T) {
	for family, want := range map[byte]string{
		'i': "bucket/again", // sparse is read as one of its names
		'D': "bucket/dir/sub/small?versionId=null",
		'P': "bucket/whole",
	} {
		t.Run(string(family), func(t *testing.T) {
			k, _, clean, _ := scrubStack(t)
			var keys [][]byte
			err := k.kv.View(bg, func(r meta.Reader) error {
				return extenttest.Each(r, family, func(key, _ []byte) error {
					keys = append(keys, bytes.Clone(key))
					return nil
				})
			})
			if err != nil || len(keys) == 0 {
				t.Fatal(len(keys), err)
			}
			if family == 'i' {
				a, err := k.s.Lookup(bg, bucketRootOf(t, k.s, "bucket"), "sparse")
				if err != nil {
					t.Fatal(err)
				}
				keys = [][]byte{record.InodeKey(a.Inode)}
				clean.Files-- // what a name leads to is not known then
			}
			for _, how := range []string{"missing", "damaged"} {
				for _, key := range keys {
					var old []byte
					err := k.kv.Update(bg, func(x meta.Txn) error {
						v, err := x.Get(key)
						if err != nil {
							return err
						}
						old = bytes.Clone(v)
						if how == "missing" {
							x.Delete(key)
							return nil
						}
						x.Set(key, v[:1]) // its version alone
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					k.reopen()
					got, paths := scrubbed(t, k.s, 0)
					if len(paths) == 0 || paths[0] != want || got.Files+got.Versions != clean.Files+clean.Versions {
						t.Errorf("%s %q: damaged are %q, %+v", how, key, paths, got)
					}
					if err := k.kv.Update(bg, func(x meta.Txn) error { x.Set(key, old); return nil }); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestScrubEnds when it is told to, and with what a locked key says.
func TestScrubEnds(t *testing.T) {
	k, _, want, _ := scrubStack(t)
	ctx, cancel := context.WithCancel(bg)
	n := 0
	_, err := k.s.Scrub(ctx, ScrubOptions{
		Damaged: func(path string, err error) { t.Errorf("%s: %v", path, err) },
		Progress: func(ScrubReport) {
			if n++; n == 3 {
				cancel()
			}
		},
	})
	if !objstore.IsKind(err, objstore.KindCanceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := k.keys.Disable(bg, EKSSES3); err != nil {
		t.Fatal(err)
	}
	k.s.ForgetKeys("")
	got, paths := scrubbed(t, k.s, 0)
	if got.KeyLocked == 0 || got.Bytes != 0 || len(paths) > 0 || got.Files != want.Files {
		t.Errorf("with a disabled key: %+v %q", got, paths)
	}
}

// TestScrubBesideChanges: nothing is taken for damage that comes, goes and moves while
// it is read.
func TestScrubBesideChanges(t *testing.T) {
	k, root := newStack(t, func(k *stack) { k.options.CollectInterval = time.Millisecond })
	k.versioning(objstore.VersioningEnabled)
	changes := 150
	if raceDetector && !long {
		changes = 80 // each of what is done with each size
	}
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for i := range changes {
				key := fmt.Sprintf("%d/%d/k", w, i%4)
				put(t, k.s, key, bytesOf(uint64(i), []int{0, 100, 40_000, 300_000}[i/4%4]))
				switch i % 5 {
				case 1:
					_, _ = deleteKey(k.s, root, key)
				case 2:
					_ = k.s.Rename(bg, mountC, root, fmt.Sprint(w), root, fmt.Sprint(w, "moved"), 0)
				case 3:
					up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: key})
					if err != nil {
						t.Error(err)
						return
					}
					_, _, err = k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{
						Bucket: "bucket", Key: key, Upload: up.ID, Number: 1, Body: bytes.NewReader(bytesOf(9, 30_000)), Size: 30_000,
					})
					if err == nil {
						err = k.s.AbortUpload(bg, s3C, "bucket", key, up.ID)
					}
					if err != nil {
						t.Error(err)
						return
					}
				case 4:
					list, err := k.s.ListVersions(bg, s3C, objstore.ListVersionsRequest{Bucket: "bucket", MaxKeys: 20})
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range list.Entries {
						_, _ = k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: e.Key, Version: e.Version})
					}
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	read := int64(0)
	for going := true; going; {
		select {
		case <-ended:
			going = false // once more, at rest
		default:
		}
		report, paths := scrubbed(t, k.s, 0)
		if len(paths) > 0 {
			t.Errorf("damaged are %q", paths)
		}
		read += report.Bytes
	}
	if read == 0 {
		t.Error("nothing was read")
	}
}
