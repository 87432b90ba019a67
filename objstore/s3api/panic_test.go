package s3api

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

// panicking is a body that panics when it is read.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a fault of the program") }
func (panicking) Close() error             { return nil }

func TestPanicIsAnsweredAndTold(t *testing.T) {
	told := 0
	d := openDoor(t, func(o *Options) { o.Panicked = func() { told++ } })
	d.bucket("bucket")
	r := d.unsigned("PUT", "/bucket/k", []byte("text"))
	r.Host, r.TLS, r.Body = r.URL.Host, &tls.ConnectionState{}, panicking{}
	w := httptest.NewRecorder()
	d.server.Config.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || told != 1 {
		t.Errorf("status %d, told %d times: %s", w.Code, told, w.Body)
	}
	d.drain(d.unsigned("PUT", "/bucket/k", []byte("text")))
}
