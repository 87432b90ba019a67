package s3api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// handler is a door without a network: requests go to it as they were parsed.
type handler struct {
	t      testing.TB
	server *Server
	log    *lockedBuffer
}

func newHandler(t testing.TB, store *engine.Store) *handler {
	h := &handler{t: t, log: &lockedBuffer{}}
	var err error
	h.server, err = New(Options{
		Store: store,
		IAM:   openIAM(t, store),
		Credentials: func(_ context.Context, id string) ([]byte, error) {
			if id != testKeyID {
				return nil, sigv4.ErrUnknownKey
			}
			return []byte(testSecret), nil
		},
		Logger: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// serve signs and answers a request. Headers are lines. It returns nil for what
// net/http would not let through.
func (h *handler) serve(method, target, headers, body string) *httptest.ResponseRecorder {
	h.t.Helper()
	raw := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n"
	for line := range strings.SplitSeq(headers, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" {
			raw += line + "\r\n"
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body)))
	if err != nil || len(raw) > maxHeaderBytes {
		return nil
	}
	return h.answer(r)
}

// answer signs r, as if it had come over TLS, unless it brings its own signature.
func (h *handler) answer(r *http.Request) (w *httptest.ResponseRecorder) {
	h.t.Helper()
	if r.Header.Get("Authorization") == "" && !strings.Contains(r.URL.RawQuery, "X-Amz-") && !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		hash := r.Header.Get("X-Amz-Content-Sha256")
		if hash == "" {
			hash = "UNSIGNED-PAYLOAD"
			r.Header.Set("X-Amz-Content-Sha256", hash)
		}
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		creds := aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret}
		if err := signer.SignHTTP(context.Background(), creds, r, hash, "s3", "us-east-1", time.Now()); err != nil {
			return nil
		}
	}
	r.TLS, r.RemoteAddr = &tls.ConnectionState{}, "127.0.0.1:1"
	w = httptest.NewRecorder()
	defer func() {
		// The connection ends because of the rest of the body, not because of the answer.
		if p := recover(); p != nil && (p != http.ErrAbortHandler || r.Method != http.MethodHead && w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len())) {
			panic(p)
		}
	}()
	h.server.ServeHTTP(w, r)
	return w
}

// check holds an answer to what every answer must be: no fault of the server,
// and an error told as S3 tells it.
func (h *handler) check(what, method string, w *httptest.ResponseRecorder) {
	h.t.Helper()
	if w == nil {
		return
	}
	if w.Code >= 500 && w.Code != http.StatusNotImplemented || w.Code < 200 {
		h.t.Fatalf("%s: %d %s\n%s", what, w.Code, w.Body, h.log)
	}
	if w.Code < 400 || method == http.MethodHead {
		return
	}
	var doc struct {
		XMLName                          xml.Name
		Code, Message, RequestID, HostID string
	}
	if err := xml.Unmarshal(plainXML(w.Body.Bytes()), &doc); err != nil || doc.XMLName.Local != "Error" && doc.XMLName.Local != "ErrorResponse" {
		h.t.Fatalf("%s: %d %q: %v", what, w.Code, w.Body, err)
	}
}

// plainXML takes out references to characters that XML 1.0 does not have and S3
// writes all the same.
func plainXML(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if end := bytes.IndexByte(b[i:], ';'); b[i] == '&' && end > 0 && b[i+1] == '#' {
			i += end
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// fixture is a store with something in it.
func fixture(t testing.TB) *engine.Store {
	store := storetest.Open(t, storetest.Options{}).Store
	h := newHandler(t, store)
	for _, target := range []string{"/bucket", "/bucket/k", "/bucket/dir/k", "/bucket/dir/"} {
		if w := h.serve("PUT", target, "", "data"[:4*min(1, strings.Count(target, "/")-1)]); w == nil || w.Code != 200 {
			t.Fatal(target, w)
		}
	}
	return store
}
