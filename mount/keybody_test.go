package mount

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func testKeys() [][]byte {
	return [][]byte{bytes.Repeat([]byte{0xfb}, 32), bytes.Repeat([]byte{'k'}, 32), {}}
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func TestRequestsWithKeysAreEncodedAsOthers(t *testing.T) {
	for _, keys := range [][][]byte{nil, testKeys()[:1], testKeys()} {
		lend := LendRequest{Mountpoint: `/a "b"`, Keys: keys}
		mount := MountRequest{Mountpoint: "/m", Bucket: "b", ReadOnly: true, Cache: CacheAuto, SSECKeys: keys, UID: 7}
		for _, q := range []any{lend, mount, backgroundConfig{Config{Store: "/s"}, mount}, struct{ A int }{3}} {
			got, err := encodeRequest(q)
			if err != nil {
				t.Fatal(err)
			}
			var have, want any
			text, _ := json.Marshal(q)
			if json.Unmarshal(got, &have) != nil || json.Unmarshal(text, &want) != nil {
				t.Fatalf("%s", got)
			}
			a, _ := json.Marshal(have)
			if b, _ := json.Marshal(want); !bytes.Equal(a, b) {
				t.Errorf("%s\nis not\n%s", got, text)
			}
		}
	}
}

// spy remembers the buffers that a body was read into.
type spy struct {
	io.Reader
	buffers [][]byte
}

func (s *spy) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.buffers = append(s.buffers, p[:n])
	return n, err
}

func (s *spy) wiped() bool {
	for _, b := range s.buffers {
		if !zero(b) {
			return false
		}
	}
	return len(s.buffers) > 0
}

func TestDaemonWipesRequestsWithKeys(t *testing.T) {
	request := LendRequest{Mountpoint: strings.Repeat("/m", 5000), Keys: testKeys()}
	text, _ := json.Marshal(request)
	var got [][]byte
	handler := answer(func(_ context.Context, r LendRequest) (LendReply, error) {
		got = r.Keys
		if len(got) != 3 || !bytes.Equal(got[0], request.Keys[0]) || !bytes.Equal(got[1], request.Keys[1]) {
			t.Errorf("%x", got)
		}
		return LendReply{}, errors.New("refused")
	})
	for what, c := range map[string]struct {
		body   string
		status int
	}{
		"whole":       {string(text), 409},
		"cut":         {string(text[:len(text)-1]), 400},
		"another":     {strings.Replace(string(text), `"keys"`, `"mountpoint":3,"keys"`, 1), 400},
		"of no bytes": {"", 400},
		"too long":    {string(text) + strings.Repeat(" ", maxAdminBody), 400},
	} {
		got = nil
		body := &spy{Reader: strings.NewReader(c.body)}
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest("POST", "/v1/key/lend", body))
		if w.Code != c.status || !body.wiped() {
			t.Errorf("%s: %d, buffers wiped: %v", what, w.Code, body.wiped())
		}
		for _, k := range got {
			if !zero(k) {
				t.Errorf("%s: a key is left", what)
			}
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestClientWipesRequestsWithKeys(t *testing.T) {
	want := LendRequest{Mountpoint: "/m", Keys: testKeys()}
	for _, read := range []int{0, 10, 1 << 20} {
		var text []byte
		c := &client{http: http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			text = r.Body.(*wipedReader).rest
			if zero(text) || int64(len(text)) != r.ContentLength {
				t.Errorf("%d of %d bytes", len(text), r.ContentLength)
			}
			if sent, _ := io.ReadAll(io.LimitReader(r.Body, int64(read))); read > len(text) && !bytes.Contains(sent, []byte(`"keys":["`)) {
				t.Errorf("%s", sent)
			}
			return nil, errors.New("gone")
		})}}
		if err := c.call(t.Context(), "/v1/key/lend", want, nil); err == nil || !zero(text) {
			t.Errorf("%v after %d bytes: %s", err, read, text)
		}
	}
}

func TestReaderIsWipedWhenWritten(t *testing.T) {
	text := []byte("secret")
	var out bytes.Buffer
	r := &wipedReader{rest: text}
	if n, err := io.Copy(&out, r); n != 6 || err != nil || out.String() != "secret" || !zero(text) {
		t.Errorf("%d, %v, %q, %q", n, err, out.String(), text)
	}
}

func TestOfKeysThatCannotAllBeLentNoneIs(t *testing.T) {
	d, _ := startDaemon(t, testConfig(t))
	keys := [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 31), bytes.Repeat([]byte{3}, 32)}
	if err := d.lendAll(7, keys); err == nil || d.store.engine.LentKeys(7) != 0 {
		t.Errorf("%v, %d are lent", err, d.store.engine.LentKeys(7))
	}
	for _, k := range keys {
		if !zero(k) {
			t.Error("a key is left")
		}
	}
}
