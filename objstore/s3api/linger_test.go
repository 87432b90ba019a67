package s3api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// refusals are requests that are refused before their body is read. The key, the
// query and the headers are of a PUT with a body of some length.
var refusals = []struct {
	name, target string
	status       int
	code         string
	headers      []string
}{
	{"no bucket", "/none/k", 404, "NoSuchBucket", nil},
	{"no upload", "/bucket/k?partNumber=1&uploadId=gone", 404, "NoSuchUpload", nil},
	{"no part", "/bucket/k?partNumber=0&uploadId=gone", 400, "InvalidArgument", nil},
	{"long key", "/bucket/" + strings.Repeat("k", 1025), 400, "KeyTooLongError", nil},
	{"storage class", "/bucket/k", 400, "InvalidStorageClass", []string{"x-amz-storage-class", "COLD"}},
	{"client's keep-alive ends", "/none/k", 404, "NoSuchBucket", []string{"Connection", "close"}},
	{"sent without leave", "/none/k", 404, "NoSuchBucket", []string{"Expect", "100-continue"}},
}

// head is the head of a PUT of length bytes that are not hashed.
func (d *door) head(target string, length int64, headers ...string) string {
	var own []string // Connection and Expect are the connection's, and not signed
	var b strings.Builder
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Connection" || headers[i] == "Expect" {
			fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
		} else {
			own = append(own, headers[i], headers[i+1])
		}
	}
	r := d.unsigned("PUT", target, nil, own...)
	for name, v := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, v[0])
	}
	return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n", target, r.URL.Host, length, b.String())
}

// sendAll writes n bytes and does not look at what comes back.
func sendAll(conn net.Conn, n int64) error {
	piece := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(piece)) {
		if _, err := conn.Write(piece[:min(n, int64(len(piece)))]); err != nil {
			return err
		}
	}
	return nil
}

func TestRefusalReachesWhoFirstSendsAll(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const size = 64 << 20
	check := func(name string, conn net.Conn, declared int64, status int, code string, head string) {
		t.Helper()
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		if err := sendAll(conn, min(declared, size)); err != nil {
			t.Errorf("%s: while sending: %v", name, err)
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		d.read(resp).want(t, name, status, code, "")
	}
	for _, c := range refusals {
		check(c.name, d.dial(), size, c.status, c.code, d.head(c.target, size, c.headers...))
	}
	check("too large", d.dial(), maxPutSize+1, 400, "EntityTooLarge", d.head("/bucket/k", maxPutSize+1))
	check("no signature", d.dial(), size, 403, "AccessDenied",
		fmt.Sprintf("PUT /bucket/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size))
}

func TestConnectionIsKeptWhereLittleWasLeft(t *testing.T) {
	d := openDoor(t)
	conn := d.dial()
	br := bufio.NewReader(conn)
	for range 3 {
		// The answer comes before the body does.
		fmt.Fprint(conn, d.head("/none/k", 100<<10))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.read(resp).want(t, "refused", 404, "NoSuchBucket", "")
		if resp.Close {
			t.Fatal("the connection is closed")
		}
		if err := sendAll(conn, 100<<10); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLingeringIsBounded(t *testing.T) {
	d := openDoor(t)
	const much = 1 << 40
	conn := d.dial()
	fmt.Fprint(conn, d.head("/none/k", much))
	sent := int64(0)
	piece := make([]byte, 1<<20)
	for sent < 2*lingerBytes {
		n, err := conn.Write(piece)
		sent += int64(n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
	}
	t.Errorf("the door took %d MiB", sent>>20)
}

func TestClientsReadARefusalWhileTheySend(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const size = 64 << 20
	ctx := context.Background()
	_, err := d.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("bucket"), Key: aws.String("k"), PartNumber: aws.Int32(1),
		UploadId: aws.String("gone"), Body: strings.NewReader(strings.Repeat("x", size))})
	if code(err) != "NoSuchUpload" {
		t.Errorf("SDK: %v", err)
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if curl, err := exec.LookPath("curl"); err == nil {
		for _, expect := range []string{"Expect:", "Expect: 100-continue"} {
			out, err := exec.Command(curl, "-sSk", "-H", expect, "-T", file, d.server.URL+"/bucket/k").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "<Code>AccessDenied</Code>") {
				t.Errorf("curl, %s: %v %s", expect, err, out)
			}
		}
	}
	cli := newCLI(t, d)
	out, err := cli.try("s3api", "upload-part", "--bucket", "bucket", "--key", "k", "--part-number", "1", "--upload-id", "gone", "--body", file)
	if err == nil || !strings.Contains(out, "(NoSuchUpload)") {
		t.Errorf("aws: %v %s", err, out)
	}
}
