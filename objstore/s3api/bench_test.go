package s3api

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// benchDoor is a door without log, with one connection per client.
func benchDoor(b *testing.B) *door {
	d := openDoor(b, func(o *Options) { o.Logger = slog.New(slog.DiscardHandler) })
	d.bucket("bucket")
	d.server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	return d
}

// unsigned makes a request whose payload is not hashed by the client, so that
// the server is what is measured. headers are name, value, and so on.
func (d *door) unsigned(method, target string, body []byte, headers ...string) *http.Request {
	d.t.Helper()
	r, err := http.NewRequest(method, d.server.URL+target, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.ContentLength = 0 // which is signed when it is set
	defer func() { r.ContentLength = int64(len(body)) }()
	r.Header.Set("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(context.Background(), d.creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now()); err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *door) drain(r *http.Request) {
	resp, err := d.server.Client().Do(r)
	if err != nil {
		d.t.Error(err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		d.t.Errorf("%s: %d, %v", r.URL.Path, resp.StatusCode, err)
	}
}

// BenchmarkTLSHandler is the limit of the next two: an empty handler.
func BenchmarkTLSHandler(b *testing.B) {
	d := benchDoor(b)
	data := make([]byte, 64<<20)
	rand.Read(data)
	d.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Write(data)
			return
		}
		io.Copy(io.Discard, r.Body)
	})
	for _, method := range []string{"PUT", "GET"} {
		b.Run(method, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					body := data
					if method == "GET" {
						body = nil
					}
					d.drain(d.unsigned(method, "/bucket/k", body))
				}
			})
		})
	}
}

func Benchmark64MiB(b *testing.B) {
	d := benchDoor(b)
	data := make([]byte, 64<<20)
	rand.Read(data)
	d.drain(d.unsigned("PUT", "/bucket/k", data))
	var n atomic.Int64
	b.Run("PUT", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.SetParallelism(2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d.drain(d.unsigned("PUT", fmt.Sprintf("/bucket/k%d", n.Add(1)%4), data))
			}
		})
	})
	b.Run("GET", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.SetParallelism(2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d.drain(d.unsigned("GET", "/bucket/k", nil))
			}
		})
	})
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header               { return d.header }
func (d *discard) Write(p []byte) (int, error)       { return len(p), nil }
func (d *discard) WriteHeader(int)                   {}
func (d *discard) SetReadDeadline(t time.Time) error { return nil }

func (d *discard) SetWriteDeadline(t time.Time) error { return nil }

// BenchmarkHandler is what the door and the store do for one request of 4 KiB,
// without HTTP and TLS: for its allocations above all, and for what a customer's key
// costs.
func BenchmarkHandler(b *testing.B) {
	d := benchDoor(b)
	data := make([]byte, 4<<10)
	rand.Read(data)
	key := bytes.Repeat([]byte{1}, 32)
	sum := md5.Sum(key)
	for _, mode := range []struct {
		name    string
		headers []string
	}{
		{"SSE-S3", nil},
		{"SSE-C", []string{
			customerHeaders.algorithm, "AES256", customerHeaders.key, base64.StdEncoding.EncodeToString(key),
			customerHeaders.sum, base64.StdEncoding.EncodeToString(sum[:]),
		}},
	} {
		for _, method := range []string{"PUT", "GET", "HEAD"} {
			b.Run(mode.name+"/"+method, func(b *testing.B) {
				b.ReportAllocs()
				d.drain(d.unsigned("PUT", "/bucket/"+mode.name, data, mode.headers...))
				requests := make([]*http.Request, b.N)
				for i := range requests {
					target, body := "/bucket/"+mode.name, []byte(nil)
					if method == "PUT" {
						target, body = fmt.Sprintf("/bucket/%s%d/k%d", mode.name, i/100, i), data
					}
					r := d.unsigned(method, target, body, mode.headers...)
					r.Host, r.TLS = r.URL.Host, &tls.ConnectionState{}
					if body == nil {
						r.Body = http.NoBody
					}
					requests[i] = r
				}
				b.ResetTimer()
				for _, r := range requests {
					d.server.Config.Handler.ServeHTTP(&discard{http.Header{}}, r)
				}
			})
		}
	}
}

// Benchmark4KiB has 8 clients.
func Benchmark4KiB(b *testing.B) {
	d := benchDoor(b)
	data := make([]byte, 4<<10)
	rand.Read(data)
	d.drain(d.unsigned("PUT", "/bucket/k", data))
	var n atomic.Int64
	for _, method := range []string{"PUT", "GET"} {
		b.Run(method, func(b *testing.B) {
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if method == "PUT" {
						d.drain(d.unsigned("PUT", fmt.Sprintf("/bucket/dir%d/k%d", n.Load()%100, n.Add(1)), data))
						continue
					}
					d.drain(d.unsigned("GET", "/bucket/k", nil))
				}
			})
		})
	}
}
