package engine

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// appendTo appends and compares the whole object with want.
func appendTo(t *testing.T, s *Store, key string, have, more []byte) objstore.ObjectInfo {
	t.Helper()
	info, err := s.AppendObject(bg, s3C, objstore.PutRequest{
		Bucket: "bucket", Key: key, Body: bytes.NewReader(more), Size: int64(len(more)), Offset: int64(len(have)),
		Algorithms: []checksum.Algorithm{checksum.CRC64NVME}, Store: checksum.CRC64NVME,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Clone(have), more...)
	var got bytes.Buffer
	err = s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: key}, func(o *Object) error {
		_, err := o.WriteTo(&got)
		return err
	})
	if err != nil || !bytes.Equal(got.Bytes(), want) || info.Size != int64(len(want)) {
		t.Fatalf("%d bytes of %d, %v", got.Len(), len(want), err)
	}
	return info
}

func TestAppendGivesWhatOnePutWould(t *testing.T) {
	const chunk = record.MaxChunk
	for _, sizes := range [][]int{
		{0, 1, 2}, {1, extent.MaxInline - 1}, {1, extent.MaxInline}, {extent.MaxInline, 1}, {extent.MaxInline + 1, 1, 1},
		{extent.MaxInline, 5 << 20}, {100_000, 0, 5}, {4 << 20, 3, 4 << 20}, {chunk - 1, 1, 1}, {chunk, 1}, {chunk + 1, chunk - 2, 7},
		{5, 100, 20_000, 70_000, 3, 100},
	} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			if (testing.Short() || raceDetector && !long) && sizes[0] > 8<<20 {
				t.Skip("long, and of bytes rather than of threads")
			}
			k, _ := newStack(t, nil)
			have := bytesOf(1, sizes[0])
			was, err := k.s.PutObject(bg, s3C, objstore.PutRequest{
				Bucket: "bucket", Key: "o", Body: bytes.NewReader(have), Size: int64(len(have)),
				Algorithms: []checksum.Algorithm{checksum.CRC64NVME}, Store: checksum.CRC64NVME,
				Meta: objstore.ObjectMeta{ContentType: "x/y", User: map[string]string{"k": "v"}}, Tags: []objstore.Tag{{Key: "a", Value: "b"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			tags := map[objstore.ETag]bool{was.ETag: true}
			for i, n := range sizes[1:] {
				more := bytesOf(uint64(i+2), n)
				info := appendTo(t, k.s, "o", have, more)
				have = append(have, more...)
				h, _ := checksum.New(checksum.CRC64NVME)
				h.Write(have)
				if c := info.Checksum; c == nil || c.Value != checksum.Format(h.Sum(checksum.CRC64NVME)) || c.Type != checksum.FullObject {
					t.Errorf("checksum %+v", c)
				}
				if tags[info.ETag] || !strings.HasSuffix(string(info.ETag), "-1") {
					t.Errorf("ETag %s", info.ETag)
				}
				tags[info.ETag] = true
				if info.Meta.ContentType != "x/y" || info.Meta.User["k"] != "v" || info.Tags != 1 {
					t.Errorf("%+v", info)
				}
			}
			k.reopen()
			if err := checkStore(k.s); err != nil {
				t.Error(err)
			}
			if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "o"}); err != nil {
				t.Fatal(err)
			}
			if err := k.s.reapGarbage(bg); err != nil {
				t.Fatal(err)
			}
			countRecords(t, k.s, map[byte]int{'e': 0, 'g': 0, 'c': 0, 'k': 0, 'm': 0, 'K': 0, 'D': 0})
		})
	}
}

func TestLongAppendsRunInSteps(t *testing.T) {
	k, _ := newStack(t, nil)
	k.s.ingestStep, k.s.shareStep = 1, 1
	have := bytesOf(1, 100_000)
	put(t, k.s, "o", have)
	for i := range 4 {
		more := bytesOf(uint64(i+2), 9<<20)
		appendTo(t, k.s, "o", have, more)
		have = append(have, more...)
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'g': 0})
}

func TestAppendBehindAHole(t *testing.T) {
	sizes := []int64{0, 100, extent.MaxInline, extent.MaxInline + 1, 70 << 20}
	if raceDetector && !long {
		sizes[4] = 1 << 20 // the bytes of a chunk take long, and have no other threads
	}
	for _, size := range sizes {
		for _, more := range []int{0, 1, 50_000} {
			k, _ := newStack(t, nil)
			f, err := k.s.Open(bg, mountC, put(t, k.s, "o", nil).Inode, objstore.OpenFlags{Read: true, Write: true})
			if err != nil {
				t.Fatal(err)
			}
			var have []byte
			if size > 0 {
				have = append([]byte{7}, make([]byte, size-1)...)
				if _, err := f.WriteAt(bg, have[:1], 0); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := k.s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Size: &size}); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(bg); err != nil {
				t.Fatal(err)
			}
			appendTo(t, k.s, "o", have, bytesOf(2, more))
			if err := checkStore(k.s); err != nil {
				t.Error(err)
			}
			k.close()
		}
	}
}

func TestRefusedAppendChangesNothing(t *testing.T) {
	k, _ := newStack(t, nil)
	k.s.ingestStep = 1
	old := put(t, k.s, "o", bytesOf(1, 100_000))
	broken := &apiLike{"the body broke"}
	good := func() io.Reader { return bytes.NewReader(bytesOf(2, 9<<20)) }
	for what, c := range map[string]struct {
		key    string
		offset int64
		size   int64
		body   io.Reader
		pre    objstore.Precondition
		enc    objstore.Encryption
		verify func(checksum.Sums) error
		want   objstore.Kind
	}{
		"smaller offset": {"o", 99_999, 9 << 20, good(), objstore.Precondition{}, objstore.Encryption{}, nil, objstore.KindInvalidOffset},
		"greater offset": {"o", 100_001, 9 << 20, good(), objstore.Precondition{}, objstore.Encryption{}, nil, objstore.KindInvalidOffset},
		"new offset":     {"o", 0, 9 << 20, good(), objstore.Precondition{}, objstore.Encryption{}, nil, objstore.KindInvalidOffset},
		"no object":      {"x", 1, 9 << 20, good(), objstore.Precondition{}, objstore.Encryption{}, nil, objstore.KindNotFound},
		"another tag":    {"o", 100_000, 9 << 20, good(), objstore.Precondition{IfMatch: []string{"x"}}, objstore.Encryption{}, nil, objstore.KindPreconditionFailed},
		"other mode":     {"o", 100_000, 9 << 20, good(), objstore.Precondition{}, objstore.Encryption{Mode: objstore.SSEKMS}, nil, objstore.KindEncryptionMismatch},
		"too large":      {"o", 100_000, objstore.MaxObjectSize, good(), objstore.Precondition{}, objstore.Encryption{}, nil, objstore.KindTooLarge},
		"short body":     {"o", 100_000, 10 << 20, good(), objstore.Precondition{}, objstore.Encryption{}, nil, objstore.KindMalformed},
		"broken body":    {"o", 100_000, 10 << 20, io.MultiReader(good(), &failReader{n: 0, err: broken}), objstore.Precondition{}, objstore.Encryption{}, nil, objstore.KindInternal},
		"wrong checksum": {"o", 100_000, 9 << 20, good(), objstore.Precondition{}, objstore.Encryption{}, func(checksum.Sums) error { return broken }, objstore.KindInternal},
	} {
		if c.want == objstore.KindEncryptionMismatch && checkEncryption("", c.enc) != nil {
			c.want = objstore.KindNotSupported
		}
		_, err := k.s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: c.key, Body: c.body, Size: c.size, Offset: c.offset, Precondition: c.pre, Encryption: c.enc, Verify: c.verify})
		if kindOf(err) != c.want {
			t.Errorf("%s: %v", what, err)
		}
		nothingLeft(t, k, old)
	}
}

type apiLike struct{ s string }

func (e *apiLike) Error() string { return e.s }

func TestAppendOnlyToWhatIsStillThere(t *testing.T) {
	k, _ := newStack(t, nil)
	have := bytesOf(1, 100_000)
	put(t, k.s, "o", have)
	f, err := k.s.Open(bg, mountC, put(t, k.s, "open", have).Inode, objstore.OpenFlags{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	// Somebody overwrites it while the body comes.
	during := func(n int) error {
		body := &hookReader{r: bytes.NewReader(bytesOf(2, 50_000)), hook: func() { put(t, k.s, "o", bytesOf(3, n)) }}
		_, err := k.s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "o", Body: body, Size: 50_000, Offset: 100_000})
		return err
	}
	if err := during(100_000); !objstore.IsKind(err, objstore.KindConflict) {
		t.Error(err)
	}
	if err := during(7); !objstore.IsKind(err, objstore.KindInvalidOffset) {
		t.Error(err)
	}
	// Nobody makes it of nothing at the same time.
	body := &hookReader{r: strings.NewReader("x"), hook: func() { put(t, k.s, "new", []byte("theirs")) }}
	if _, err := k.s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "new", Body: body, Size: 1}); !objstore.IsKind(err, objstore.KindPreconditionFailed) {
		t.Error(err)
	}
	appendTo(t, k.s, "open", have, []byte("more"))
	p := make([]byte, len(have)+10)
	n, err := f.ReadAt(bg, p, 0)
	if n != len(have) || !bytes.Equal(p[:n], have) {
		t.Errorf("the open file has %d bytes, %v", n, err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// hookReader calls hook before its first byte.
type hookReader struct {
	r    io.Reader
	hook func()
}

func (r *hookReader) Read(p []byte) (int, error) {
	if r.hook != nil {
		r.hook()
		r.hook = nil
	}
	return r.r.Read(p)
}

func TestAppendsAreBounded(t *testing.T) {
	k, root := newStack(t, nil)
	appendTo(t, k.s, "o", nil, []byte("x"))
	err := k.s.update(bg, s3C, "test", "o", func(x *tx) error {
		ino, n, err := x.findKey(root, "o")
		if err != nil {
			return err
		}
		n.Content.Appends = maxAppends
		x.setInode(ino, n)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "o", DstBucket: "bucket", DstKey: "copy"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"o", "copy"} {
		if _, err := k.s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: key, Body: strings.NewReader("y"), Size: 1, Offset: 1}); !objstore.IsKind(err, objstore.KindTooManyParts) {
			t.Error(key, err)
		}
	}
}

// TestReadersOfAnObjectThatGrows: what a GET, a copy or an open file has is one
// committed state, although the content goes on in place.
func TestReadersOfAnObjectThatGrows(t *testing.T) {
	k, _ := newStack(t, nil)
	s := k.s
	const n = 60
	step := bytesOf(5, 50_000)
	state := func(size int64) []byte { return bytes.Repeat(step, int(size)/len(step)) }
	put(t, s, "o", step)
	done := make(chan struct{})
	var wg sync.WaitGroup
	reader := func(f func(i int) error) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if err := f(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	check := func(key string, i int) error {
		return s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: key}, func(o *Object) error {
			var got bytes.Buffer
			if _, err := o.WriteTo(&got); err != nil {
				return err
			}
			if int64(got.Len()) != o.Info.Size || !bytes.Equal(got.Bytes(), state(o.Info.Size)) {
				return fmt.Errorf("%s has %d bytes of %d", key, got.Len(), o.Info.Size)
			}
			return nil
		})
	}
	reader(func(i int) error { return check("o", i) })
	reader(func(i int) error {
		key := fmt.Sprint("copy-", i%3)
		_, err := s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "o", DstBucket: "bucket", DstKey: key})
		if objstore.IsKind(err, objstore.KindConflict) {
			return nil
		}
		if err != nil {
			return err
		}
		return check(key, i)
	})
	reader(func(int) error {
		info, err := s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "o"})
		if err != nil {
			return err
		}
		f, err := s.Open(bg, mountC, info.Inode, objstore.OpenFlags{Read: true})
		if err != nil {
			return nil // it was replaced meanwhile
		}
		defer f.Close(bg)
		a, err := s.GetAttr(bg, info.Inode)
		if err != nil {
			return err
		}
		got := make([]byte, a.Size+1)
		m, err := f.ReadAt(bg, got, 0)
		if err != nil && err != io.EOF || int64(m) != a.Size || !bytes.Equal(got[:m], state(a.Size)) {
			return fmt.Errorf("open: %d bytes of %d, %v", m, a.Size, err)
		}
		return nil
	})
	size := int64(len(step))
	for range n {
		_, err := s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "o", Body: bytes.NewReader(step), Size: int64(len(step)), Offset: size})
		if err != nil {
			t.Error(err)
			break
		}
		size += int64(len(step))
	}
	close(done)
	wg.Wait()
	if err := s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(s); err != nil {
		t.Error(err)
	}
}
