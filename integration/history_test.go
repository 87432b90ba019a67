package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sys/unix"
)

// history is what one sequential writer did to one directory through both
// doors, as the sequence of states that the directory went through. After a
// crash the directory has to be in one of these states, not before the last
// that was acknowledged as durable: that is what "prefix of history" means.
type history struct {
	r    *rand.Rand
	root string // of the directory in the mount
	// bucket and prefix are the directory for the S3 door.
	bucket, prefix string
	s3             *S3

	names  map[string]int    // path below root -> inode
	inodes map[int][]byte    // content of files; nil: directory
	links  map[string]string // symbolic links
	next   int               // inode
	dirs   []string

	states []string // state after each step; states[0] is the empty directory
	what   []string // what led to it
	acked  int      // index of the last state that is known to be durable
	files  int      // names files
}

func newHistory(r *rand.Rand, root, bucket, prefix string, c *S3) *history {
	h := &history{r: r, root: root, bucket: bucket, prefix: prefix, s3: c,
		names: map[string]int{}, inodes: map[int][]byte{}, links: map[string]string{}, dirs: []string{""}}
	h.step("begin")
	return h
}

// describe is one line of a state: a name and what is there.
func describe(path string, b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%s file %d %x", path, len(b), sum[:8])
}

// step records the state that the model is in. It is called before the program
// is asked for it: what was asked for may have happened.
func (h *history) step(format string, args ...any) {
	lines := make([]string, 0, len(h.names)+len(h.links))
	for name, ino := range h.names {
		if b := h.inodes[ino]; b != nil {
			lines = append(lines, describe(name, b))
		} else {
			lines = append(lines, name+" dir")
		}
	}
	for name, to := range h.links {
		lines = append(lines, name+" -> "+to)
	}
	slices.Sort(lines)
	h.states = append(h.states, strings.Join(lines, "\n"))
	h.what = append(h.what, fmt.Sprintf(format, args...))
}

// stateOf reads the state that a directory is in.
func stateOf(root string) (string, error) {
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name := strings.TrimPrefix(path, root+"/")
		switch d.Type() {
		case fs.ModeDir:
			lines = append(lines, name+" dir")
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			lines = append(lines, name+" -> "+to)
		default:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			lines = append(lines, describe(name, b))
		}
		return nil
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n"), err
}

// check fails the test unless state is one of history's from acked on. It
// returns how many steps were lost.
func (h *history) check(t testing.TB, state string) int {
	t.Helper()
	for i := len(h.states) - 1; i >= 0; i-- {
		if h.states[i] != state {
			continue
		}
		if i >= h.acked {
			return len(h.states) - 1 - i
		}
		// The state may be the one of a later step that changed nothing.
		t.Errorf("acknowledged steps were lost: the directory is as after step %d (%s), but step %d (%s) was acknowledged",
			i, h.what[i], h.acked, h.what[h.acked])
		return 0
	}
	t.Errorf("the directory %s is in no state that it was ever in; acknowledged %d of %d steps", h.root, h.acked, len(h.states))
	for i := max(0, len(h.states)-8); i < len(h.states); i++ {
		t.Logf("step %d: %s", i, h.what[i])
	}
	best, at := -1, 0
	for i := h.acked; i < len(h.states); i++ {
		if n := len(difference(h.states[i], state)); best < 0 || n < best {
			best, at = n, i
		}
	}
	t.Logf("closest to step %d (%s), difference:\n%s", at, h.what[at], strings.Join(difference(h.states[at], state), "\n"))
	return 0
}

// difference are the lines that only one of two states has.
func difference(a, b string) (diff []string) {
	have := map[string]int{}
	for _, l := range strings.Split(a, "\n") {
		have[l]--
	}
	for _, l := range strings.Split(b, "\n") {
		have[l]++
	}
	for _, l := range slices.Sorted(maps.Keys(have)) {
		switch {
		case have[l] < 0:
			diff = append(diff, "- "+l)
		case have[l] > 0:
			diff = append(diff, "+ "+l)
		}
	}
	return diff
}

func (h *history) ack() { h.acked = len(h.states) - 1 }

func (h *history) path(name string) string { return filepath.Join(h.root, name) }

func (h *history) pick(file bool) (string, bool) {
	var found []string
	for name, ino := range h.names {
		if (h.inodes[ino] != nil) == file {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return "", false
	}
	slices.Sort(found) // the order of a map would not repeat with the seed
	return found[h.r.Intn(len(found))], true
}

func (h *history) fresh() string {
	h.files++
	dir := h.dirs[h.r.Intn(len(h.dirs))]
	return filepath.Join(dir, fmt.Sprintf("n%d", h.files))
}

func (h *history) body() []byte {
	n := h.r.Intn(3000)
	switch h.r.Intn(8) {
	case 0:
		n = 4096 * h.r.Intn(40)
	case 1:
		n = 1 // not 0: the state between create and write is the empty file
	}
	b := make([]byte, n)
	h.r.Read(b)
	return b
}

// write replaces a file's content through the mount; fsync decides whether it
// is acknowledged.
func (h *history) write(name string, b []byte, fsync bool) error {
	ino, ok := h.names[name]
	if !ok {
		h.next++
		ino = h.next
		h.names[name] = ino
	}
	h.inodes[ino] = []byte{}
	h.step("create or truncate %s", name)
	f, err := os.OpenFile(h.path(name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if len(b) > 0 {
		h.inodes[ino] = b
		h.step("write %s, fsync %v", name, fsync)
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	if fsync {
		if err := f.Sync(); err != nil {
			return err
		}
		h.ack()
	}
	return f.Close()
}

// do takes one random step, or a few that belong together.
func (h *history) do(ctx context.Context) error {
	file, haveFile := h.pick(true)
	switch n := h.r.Intn(100); {
	case n < 22 || !haveFile:
		return h.write(h.fresh(), h.body(), h.r.Intn(6) == 0)
	case n < 32:
		return h.write(file, h.body(), h.r.Intn(6) == 0)
	case n < 44: // write a new one and put it in the place of the old
		tmp := h.fresh()
		if err := h.write(tmp, h.body(), h.r.Intn(2) == 0); err != nil {
			return err
		}
		return h.rename(tmp, file)
	case n < 50:
		return h.rename(file, h.fresh())
	case n < 53:
		if other, _ := h.pick(true); other != file && h.names[other] != h.names[file] {
			h.names[file], h.names[other] = h.names[other], h.names[file]
			h.step("exchange %s and %s", file, other)
			return unix.Renameat2(unix.AT_FDCWD, h.path(file), unix.AT_FDCWD, h.path(other), unix.RENAME_EXCHANGE)
		}
	case n < 60:
		delete(h.names, file)
		h.step("unlink %s", file)
		return os.Remove(h.path(file))
	case n < 63:
		to := h.fresh()
		h.names[to] = h.names[file]
		h.step("link %s %s", file, to)
		return os.Link(h.path(file), h.path(to))
	case n < 66:
		name := h.fresh()
		h.links[name] = strings.Repeat("to/", h.r.Intn(40)) + name
		h.step("symlink %s", name)
		return os.Symlink(h.links[name], h.path(name))
	case n < 69 && len(h.dirs) < 8:
		name := h.fresh()
		h.next++
		h.names[name], h.inodes[h.next] = h.next, nil
		h.dirs = append(h.dirs, name)
		h.step("mkdir %s", name)
		return os.Mkdir(h.path(name), 0o755)
	case n < 72:
		return h.renameDir()
	case n < 75: // append
		f, err := os.OpenFile(h.path(file), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		more := h.body()
		if len(more) == 0 {
			return nil
		}
		ino := h.names[file]
		h.inodes[ino] = slices.Concat(h.inodes[ino], more)
		h.step("append to %s", file)
		if _, err := f.Write(more); err != nil {
			return err
		}
		return f.Close()
	case n < 78:
		size := h.r.Intn(len(h.inodes[h.names[file]]) + 1)
		ino := h.names[file]
		h.inodes[ino] = slices.Clone(h.inodes[ino][:size])
		h.step("truncate %s", file)
		return os.Truncate(h.path(file), int64(size))
	case n < 80: // fsync of a directory makes history durable
		d, err := os.Open(h.root)
		if err != nil {
			return err
		}
		defer d.Close()
		if err := d.Sync(); err != nil {
			return err
		}
		h.ack()
	default:
		return h.doS3(ctx, file, n)
	}
	return nil
}

// doS3 takes a step through the S3 door. Its answer acknowledges all of history
// up to it: a crash leaves a prefix.
func (h *history) doS3(ctx context.Context, file string, n int) (err error) {
	defer func() {
		if err == nil {
			h.ack()
		}
	}()
	name := file
	if h.r.Intn(2) == 0 {
		name = h.fresh()
	}
	set := func(b []byte, what string) {
		h.next++
		h.names[name], h.inodes[h.next] = h.next, b
		h.step("S3 %s %s", what, name)
	}
	key := h.prefix + name
	switch {
	case n < 88:
		b := h.body()
		set(b, "put")
		return h.s3.Put(ctx, h.bucket, key, b)
	case n < 92:
		delete(h.names, file)
		h.step("S3 delete %s", file)
		return h.s3.Delete(ctx, h.bucket, h.prefix+file)
	case n < 96:
		if name == file {
			name = h.fresh()
			key = h.prefix + name
		}
		set(h.inodes[h.names[file]], "copy to")
		source := h.bucket + "/" + h.prefix + file
		_, err := h.s3.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &h.bucket, Key: &key, CopySource: &source})
		return err
	default:
		b := h.body()
		return h.s3.multipart(ctx, h.bucket, key, [][]byte{b}, func() { set(b, "multipart") })
	}
}

// multipart stores an object in parts; before is called before the upload is
// completed.
func (c *S3) multipart(ctx context.Context, bucket, key string, parts [][]byte, before func()) error {
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	var done types.CompletedMultipartUpload
	for i, p := range parts {
		number := int32(i + 1)
		out, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: &number, Body: bytes.NewReader(p)})
		if err != nil {
			return err
		}
		done.Parts = append(done.Parts, types.CompletedPart{ETag: out.ETag, PartNumber: &number, ChecksumCRC32: out.ChecksumCRC32})
	}
	before()
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &done})
	return err
}

func (h *history) rename(from, to string) error {
	same := h.names[from] == h.names[to]
	h.names[to] = h.names[from]
	if !same { // rename(2): two names of one file both stay
		delete(h.names, from)
	}
	h.step("rename %s %s", from, to)
	return os.Rename(h.path(from), h.path(to))
}

// renameDir moves a directory with all that is below it.
func (h *history) renameDir() error {
	from, ok := h.pick(false)
	if !ok {
		return nil
	}
	to := h.fresh()
	if strings.HasPrefix(to, from+"/") {
		return nil // into itself
	}
	move := func(name string) string {
		if name == from || strings.HasPrefix(name, from+"/") {
			return to + strings.TrimPrefix(name, from)
		}
		return name
	}
	names, links := map[string]int{}, map[string]string{}
	for name, ino := range h.names {
		names[move(name)] = ino
	}
	for name, l := range h.links {
		links[move(name)] = l
	}
	for i, d := range h.dirs {
		h.dirs[i] = move(d)
	}
	h.names, h.links = names, links
	h.step("rename directory %s %s", from, to)
	return os.Rename(h.path(from), h.path(to))
}
