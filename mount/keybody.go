package mount

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Requests with customers' keys on their way between two processes of coffer. A
// key is never a string, and every buffer that is ours is wiped when it was used:
// encoding/json would keep what it makes of a key in buffers of its own, so keys
// are written around it, and are read out of a buffer that it does not keep. What
// net/http and the kernel buffer cannot be reached.

// encodeRequest is json.Marshal for requests, which may have customers' keys. The
// caller wipes what it returns.
func encodeRequest(q any) ([]byte, error) {
	switch r := q.(type) {
	case LendRequest:
		keys := r.Keys
		r.Keys = nil
		return encodeWithKeys(r, "keys", keys)
	case fsckRequest:
		return encodeWithKeys(struct{}{}, "keys", r.Keys)
	case MountRequest:
		keys := r.SSECKeys
		r.SSECKeys = nil
		return encodeWithKeys(r, "sse_c_keys", keys)
	case backgroundConfig:
		request, err := encodeRequest(r.Request)
		if err != nil {
			return nil, err
		}
		defer clear(request)
		config, err := json.Marshal(r.Config)
		if err != nil {
			return nil, err
		}
		return bytes.Join([][]byte{[]byte(`{"Config":`), config, []byte(`,"Request":`), request, []byte("}")}, nil), nil
	}
	return json.Marshal(q)
}

// encodeWithKeys encodes a request that is an object and lacks the field with the keys.
func encodeWithKeys(without any, name string, keys [][]byte) ([]byte, error) {
	head, err := json.Marshal(without)
	if err != nil || len(keys) == 0 {
		return head, err
	}
	head = head[:len(head)-1]
	size := len(head) + len(name) + len(`,"":[]}`)
	for _, k := range keys {
		size += base64.StdEncoding.EncodedLen(len(k)) + len(`"",`)
	}
	b := append(make([]byte, 0, size), head...) // never moved: a copy would stay behind
	if len(head) > 1 {
		b = append(b, ',')
	}
	b = append(b, `"`+name+`":[`...)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(base64.StdEncoding.AppendEncode(append(b, '"'), k), '"')
	}
	return append(b, "]}"...), nil
}

// wipeRequest wipes the customers' keys of a request.
func wipeRequest(q any) {
	switch r := q.(type) {
	case *LendRequest:
		wipeAll(r.Keys)
	case *fsckRequest:
		wipeAll(r.Keys)
	case *MountRequest:
		wipeAll(r.SSECKeys)
	case *backgroundConfig:
		wipeAll(r.Request.SSECKeys)
	}
}

// decodeRequest decodes what in has, up to its end, into q and wipes what it read.
func decodeRequest(in io.Reader, q any) error {
	text, err := readWiping(in, maxAdminBody)
	defer clear(text)
	if err == nil {
		err = json.Unmarshal(text, q)
	}
	if err != nil {
		wipeRequest(q)
	}
	return err
}

// readWiping is io.ReadAll of up to max bytes that leaves no copies behind.
func readWiping(in io.Reader, max int) ([]byte, error) {
	b := make([]byte, 0, 4096)
	for {
		n, err := in.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		case len(b) > max:
			return b, fmt.Errorf("it is longer than %d bytes", max)
		case len(b) == cap(b):
			larger := append(make([]byte, 0, 2*cap(b)), b...)
			clear(b)
			b = larger
		}
	}
}

// wipedReader reads a text that is wiped as it is read; Close wipes the rest. It
// can be closed while it is read from.
type wipedReader struct {
	mu   sync.Mutex
	rest []byte // guarded by mu
}

func (r *wipedReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	clear(r.rest[:n])
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo spares io.Copy a buffer.
func (r *wipedReader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := w.Write(r.rest)
	clear(r.rest)
	r.rest = nil
	return int64(n), err
}

func (r *wipedReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.rest)
	r.rest = nil
	return nil
}
