package s3api

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// panicking is a body that panics when it is first read, and then ends.
type panicking struct{ did bool }

func (p *panicking) Read([]byte) (int, error) {
	if !p.did {
		p.did = true
		panic("a fault of the program")
	}
	return 0, io.EOF
}

func (*panicking) Close() error { return nil }

func TestPanicIsAnsweredAndTold(t *testing.T) {
	told := 0
	d := openDoor(t, func(o *Options) { o.Panicked = func() { told++ } })
	d.bucket("bucket")
	r := d.unsigned("PUT", "/bucket/k", []byte("text"))
	r.Host, r.TLS, r.Body = r.URL.Host, &tls.ConnectionState{}, &panicking{}
	w := httptest.NewRecorder()
	d.server.Config.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || told != 1 {
		t.Errorf("status %d, told %d times: %s", w.Code, told, w.Body)
	}
	d.drain(d.unsigned("PUT", "/bucket/k", []byte("text")))
}
