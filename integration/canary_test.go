package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// forms are the ways in which a marker could stand in a file: as it is, with
// two bytes for each letter, in hexadecimal, and in base64 at each of the three
// offsets that it can have there.
func forms(marker string) (all [][]byte) {
	all = append(all, []byte(marker), []byte(strings.ToUpper(marker)))
	var le, be []byte
	for _, u := range utf16.Encode([]rune(marker)) {
		le = binary.LittleEndian.AppendUint16(le, u)
		be = binary.BigEndian.AppendUint16(be, u)
	}
	all = append(all, le, be, []byte(hex.EncodeToString([]byte(marker))), []byte(strings.ToUpper(hex.EncodeToString([]byte(marker)))))
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString([]byte(strings.Repeat("x", shift) + marker))
			// The first and last letters depend on what stands beside the marker.
			all = append(all, []byte(text[4:len(text)-3]))
		}
	}
	return all
}

// mustNotHold fails the test for each file below dir that has a marker in its
// name or content. It returns how many bytes it looked at.
func mustNotHold(t *testing.T, dir string, markers map[string]string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		text := []byte(path)
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			total += int64(len(b))
			text = append(text, b...)
		}
		for what, marker := range markers {
			for i, form := range forms(marker) {
				if at := bytes.Index(text, form); at >= 0 {
					t.Errorf("%s has the %s (form %d) at %d", path, what, i, at-len(path))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func TestNothingReadableReachesTheDisk(t *testing.T) {
	d := openDoors(t)
	env := d.Env()
	marker := func(n int) string { return fmt.Sprintf("canary%x%02d", content(int64(os.Getpid())<<8+int64(n), 9), n) }
	markers := map[string]string{
		"S3 secret": env["AWS_SECRET_ACCESS_KEY"], "file name": marker(1), "directory name": marker(2), "bucket name": marker(3),
		"xattr name": marker(4), "xattr value": marker(5), "link target": marker(6), "content": marker(7), "long content": marker(8),
		"key": marker(9), "metadata name": marker(10), "metadata value": marker(11), "upload key": marker(12), "part": marker(13),
		"deleted name": marker(14), "deleted content": marker(15), "content type": marker(16), "link name": marker(17), "buffered content": marker(18),
		"implicit directory": marker(19),
	}
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(d.mnt, markers["bucket name"])
	must(os.Mkdir(other, 0o755))
	dir := filepath.Join(other, markers["directory name"])
	must(os.Mkdir(dir, 0o755))
	file := filepath.Join(dir, markers["file name"])
	must(os.WriteFile(file, []byte(markers["content"]), 0o644))
	must(syscall.Setxattr(file, "user."+markers["xattr name"], []byte(markers["xattr value"]), 0))
	must(os.Symlink(markers["link target"], filepath.Join(dir, markers["link name"])))
	must(os.WriteFile(filepath.Join(dir, "long"), bytes.Repeat([]byte(markers["long content"]), 400000), 0o644))
	name := filepath.Join(dir, markers["deleted name"])
	must(os.WriteFile(name, bytes.Repeat([]byte(markers["deleted content"]), 50000), 0o644))
	must(os.Remove(name))
	for i := range 300 { // enough for metadata to leave memory
		must(os.WriteFile(filepath.Join(dir, fmt.Sprint(markers["file name"], i)), []byte(markers["content"]), 0o644))
	}
	_, err := d.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: ptr(bucket), Key: ptr(markers["implicit directory"] + "/" + markers["key"]),
		Body: strings.NewReader(markers["content"]), ContentType: ptr("text/" + markers["content type"]),
		Metadata: map[string]string{markers["metadata name"]: markers["metadata value"]}})
	must(err)
	must(d.s3.multipart(ctx, bucket, markers["upload key"], [][]byte{bytes.Repeat([]byte(markers["part"]), 300000), []byte(markers["part"])}, func() {}))
	_, err = d.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: ptr(bucket), Key: ptr(markers["upload key"] + "never")})
	must(err)
	f, err := os.Create(filepath.Join(dir, "buffered"))
	must(err)
	_, err = f.WriteString(markers["buffered content"])
	must(err)
	must(f.Sync())
	d.Signal(syscall.SIGKILL)
	f.Close()
	mustNotHold(t, d.Path("store"), markers)

	// And once more around a clean end, which brings metadata into tables.
	d.mnt = d.Mount()
	d.s3 = d.NewS3()
	mustHold(t, file, []byte(markers["content"]))
	must(os.Remove(filepath.Join(dir, "long")))
	mustNotHold(t, d.Path("store"), markers) // while it runs, too
	d.Umount()
	total := mustNotHold(t, d.Path("store"), markers)
	d.Mount() // replays the log into a table
	d.Umount()
	mustNotHold(t, d.Path("store"), markers)
	if total < 5<<20 {
		t.Errorf("only %d bytes were looked at", total)
	}
	// The log may name objects, and never has a secret or content.
	for _, what := range []string{"S3 secret", "content", "xattr value", "part", "long content"} {
		if strings.Contains(d.Logs(), markers[what]) {
			t.Errorf("the log has the %s", what)
		}
	}
	// The search itself finds what is there.
	for i, form := range forms("canary0123456789") {
		if len(form) < 8 {
			t.Errorf("form %d is too short to be looked for: %q", i, form)
		}
	}
	key, _ := filepath.Glob(d.Path("config/coffer/keys/*.key"))
	if len(key) != 1 {
		t.Fatalf("key files: %v", key)
	}
	text, err := os.ReadFile(key[0])
	must(err)
	if parts := strings.Split(strings.TrimSpace(string(text)), ":"); len(parts) > 1 && len(parts[1]) >= 32 {
		mustNotHold(t, d.Path("store"), map[string]string{"key file": parts[1]})
	}
}
