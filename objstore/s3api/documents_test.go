package s3api

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

// Long documents are read for so many requests at once as there is memory for, however
// slowly they come; short ones always.
func TestLongDocumentsAreFew(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const document = `<Delete><Object><Key>k</Key></Object></Delete>`
	const filler = maxXMLToken / 2
	long := strings.Repeat("<!--"+strings.Repeat("x", filler)+"-->", maxDeleteBytes/filler-1) + document
	digest := md5Base64(long)
	answer := func() (string, int) {
		t.Helper()
		a := d.do("POST", "/bucket?delete", long, "Content-MD5", digest)
		return a.fields["Code"], a.status
	}
	if _, status := answer(); status != 200 {
		t.Fatalf("%d for one", status)
	}
	var stalled sync.WaitGroup
	var pipes []*io.PipeWriter
	for range maxDocumentsBytes / maxDeleteBytes {
		r := d.unsigned("POST", "/bucket?delete", nil, "Content-MD5", digest)
		body, w := io.Pipe()
		r.Body, r.ContentLength = body, maxDeleteBytes
		pipes = append(pipes, w)
		stalled.Go(func() {
			if resp, err := d.server.Client().Do(r); err == nil {
				resp.Body.Close()
			}
		})
		if _, err := io.WriteString(w, long[:filler]); err != nil { // its head goes with it
			t.Fatal(err)
		}
	}
	defer stalled.Wait()
	defer func() {
		for _, w := range pipes {
			w.CloseWithError(errors.New("gone"))
		}
	}()
	await := func(want string) {
		t.Helper()
		for range 100 {
			if code, _ := answer(); code == want {
				return
			}
		}
		t.Fatalf("never %q", want)
	}
	await("SlowDown")
	d.do("POST", "/bucket?delete", document, "Content-MD5", md5Base64(document)).ok(t, "a short one", 200)
	pipes[0].CloseWithError(errors.New("gone"))
	await("")
}
