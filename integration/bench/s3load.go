package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// endpoint is an HTTPS server with a client for it.
type endpoint struct {
	url, region, caFile  string
	accessKey, secretKey string
	http                 *http.Client
	sdk                  *s3.Client
	signer               *v4.Signer
}

// connect makes the clients of an endpoint. HTTP/1.1, so that each worker has
// a connection of its own.
func (e *endpoint) connect(ca []byte) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return errors.New("no certificate")
	}
	e.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		MaxIdleConnsPerHost: 16,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		DisableCompression:  true,
	}}
	e.signer = v4.NewSigner()
	e.sdk = s3.New(s3.Options{
		BaseEndpoint: aws.String(e.url), Region: e.region, UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(e.credentials), HTTPClient: e.http,
	})
	return nil
}

func (e *endpoint) credentials(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: e.accessKey, SecretAccessKey: e.secretKey}, nil
}

// endpoint asks coffer env.
func (c *cofferPeer) endpoint(ctx context.Context) (*endpoint, error) {
	out, err := command(ctx, c.env, c.s.c.coffer, "env", "--store", c.store)
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			vars[name] = strings.Trim(value, "'\"")
		}
	}
	e := &endpoint{
		url: vars["AWS_ENDPOINT_URL"], region: vars["AWS_DEFAULT_REGION"], caFile: vars["AWS_CA_BUNDLE"],
		accessKey: vars["AWS_ACCESS_KEY_ID"], secretKey: vars["AWS_SECRET_ACCESS_KEY"],
	}
	ca, err := os.ReadFile(e.caFile)
	if err != nil {
		return nil, err
	}
	return e, e.connect(ca)
}

// emptyReady is what the helper says when it serves.
type emptyReady struct {
	Addr string
	CA   []byte
}

func (s *stage) startTLS() error {
	var ready emptyReady
	p, err := startHelper(&ready, "tls")
	if err != nil {
		return err
	}
	s.atEnd("end "+nameTLS, p.end)
	s.tls = &endpoint{url: "https://" + ready.Addr, region: "us-east-1", accessKey: "x", secretKey: "y"}
	return s.tls.connect(ready.CA)
}

// serveEmpty serves HTTPS until hold ends: it throws bodies away, and answers
// GET with as many bytes as the path's last component says.
func serveEmpty(hold io.Reader, ready io.Writer) error {
	der, key, err := selfSigned()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	body := make([]byte, block)
	rand.Read(body)
	server := &http.Server{
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := discard(r.Body); err != nil {
				return
			}
			w.Header().Set("ETag", `"0"`)
			if r.Method != http.MethodGet {
				return
			}
			n, _ := strconv.ParseInt(r.URL.Path[strings.LastIndexByte(r.URL.Path, '-')+1:], 10, 64)
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
			for n > 0 {
				k, err := w.Write(body[:min(n, block)])
				if err != nil {
					return
				}
				n -= int64(k)
			}
		}),
	}
	go func() {
		io.Copy(io.Discard, hold)
		server.Close()
	}()
	err = json.NewEncoder(ready).Encode(emptyReady{
		Addr: l.Addr().String(), CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	})
	if err != nil {
		return err
	}
	if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// selfSigned makes a certificate for the loopback that is its own authority.
func selfSigned() (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "coffer-bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return der, key, err
}

// onlyWriter hides io.ReaderFrom, so that the buffer given is used.
type onlyWriter struct{ io.Writer }

// buffers lends memory for bodies: fresh memory for each small request would be
// most of what the clients do, and they share the processors with the server.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// discard reads a body to its end.
func discard(body io.Reader) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(onlyWriter{io.Discard}, body, *buf)
}

// do sends a signed request whose payload TLS alone protects, and throws the
// answer's body away. It returns the number of its bytes. headers are name, value,
// and so on.
func (e *endpoint) do(ctx context.Context, method, bucket, key string, body []byte, headers ...string) (int64, error) {
	req, err := e.sign(ctx, method, bucket, key, body, headers...)
	if err != nil {
		return 0, err
	}
	return e.send(req)
}

// sign makes the request that do sends. It can be sent once, within 15 minutes.
func (e *endpoint) sign(ctx context.Context, method, bucket, key string, body []byte, headers ...string) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, e.url+"/"+bucket+"/"+key, r)
	if err != nil {
		return nil, err
	}
	const unsigned = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", unsigned)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	creds, _ := e.credentials(ctx)
	return req, e.signer.SignHTTP(ctx, creds, req, unsigned, "s3", e.region, time.Now())
}

func (e *endpoint) send(req *http.Request) (int64, error) {
	resp, err := e.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return 0, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, text)
	}
	return discard(resp.Body)
}

const (
	objectClients = 4
	objectsEach   = 2
	smallClients  = 8
)

func (s *stage) objectKey(i int) string { return fmt.Sprintf("object-%d-%d", i, s.c.object) }

func (s *stage) largeObjectGroup() group {
	return group{
		name: "large objects", rows: []row{rowPut, rowPutOpaque, rowGet, rowPutSDK, rowGetSDK},
		contestants: []contestant{
			{nameCoffer, func(ctx context.Context, m *meter) error { return s.largeObjects(ctx, s.coffer.s3, m) }},
			{nameTLS, func(ctx context.Context, m *meter) error { return s.largeObjects(ctx, s.tls, m) }},
		},
	}
}

func (s *stage) largeObjects(ctx context.Context, e *endpoint, m *meter) error {
	defer e.http.CloseIdleConnections()
	body := noiseOf(s.c.object)
	all := func(f func(key string) error) error {
		return parallel(objectClients, func(i int) error {
			for j := range objectsEach {
				if err := f(s.objectKey(i*objectsEach + j)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	put := func(key string) error {
		_, err := e.do(ctx, http.MethodPut, bucket, key, body)
		return err
	}
	get := func(key string) error {
		n, err := e.do(ctx, http.MethodGet, bucket, key, nil)
		if err == nil && n != s.c.object {
			err = fmt.Errorf("GET %s: %d bytes", key, n)
		}
		return err
	}
	putSDK := func(key string) error {
		_, err := e.sdk.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), Body: bytes.NewReader(body)})
		return err
	}
	getSDK := func(key string) error {
		out, err := e.sdk.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		n, err := discard(out.Body)
		if err == nil && n != s.c.object {
			err = fmt.Errorf("GET %s: %d bytes", key, n)
		}
		return err
	}
	amount := mib(s.c.object) * objectClients * objectsEach
	var err error
	for _, v := range []struct {
		put, get     row
		doPut, doGet func(string) error
	}{{rowPut, rowGet, put, get}, {rowPutSDK, rowGetSDK, putSDK, getSDK}} {
		if !m.wants(v.put, v.get) {
			continue
		}
		if err = m.measure(v.put, amount, func() error { return all(v.doPut) }); err != nil {
			break
		}
		if m.wants(v.get) {
			if err = m.measure(v.get, amount, func() error { return all(v.doGet) }); err != nil {
				break
			}
		}
	}
	remove := func(bucket string) error {
		return all(func(key string) error {
			_, err := e.do(context.WithoutCancel(ctx), http.MethodDelete, bucket, key, nil)
			return err
		})
	}
	err = errors.Join(err, remove(bucket))
	if err != nil || !m.wants(rowPutOpaque) {
		return err
	}
	m.step = rowPutOpaque.name
	if e != s.tls {
		if err := s.coffer.makeOpaque(ctx); err != nil {
			return err
		}
	}
	err = m.measure(rowPutOpaque, amount, func() error {
		return all(func(key string) error {
			_, err := e.do(ctx, http.MethodPut, bucketOpaque, key, body)
			return err
		})
	})
	return errors.Join(err, remove(bucketOpaque))
}

// makeOpaque makes the bucket of opaque ETags, unless there is one.
func (c *cofferPeer) makeOpaque(ctx context.Context) error {
	if err := os.Mkdir(filepath.Join(c.mountpoint, bucketOpaque), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	_, err := command(ctx, c.env, c.s.c.coffer, "bucket", "etag", "--store", c.store, bucketOpaque, "opaque")
	return err
}

func (s *stage) smallObjectGroup() group {
	return group{
		name: "small objects", rows: []row{rowPutSmall},
		contestants: []contestant{
			{nameCoffer, func(ctx context.Context, m *meter) error { return s.smallObjects(ctx, s.coffer.s3, m) }},
			{nameSync, func(ctx context.Context, m *meter) error { return s.appendSync(ctx, m, rowPutSmall) }},
			{nameTLS, func(ctx context.Context, m *meter) error { return s.smallObjects(ctx, s.tls, m) }},
		},
	}
}

func (s *stage) smallObjects(ctx context.Context, e *endpoint, m *meter) error {
	defer e.http.CloseIdleConnections()
	var sent atomic.Int64
	key := func(i int64) string { return fmt.Sprintf("small/%d/put-%d", i/perDir, i) }
	err := m.count(rowPutSmall, func() (int, error) {
		end := time.Now().Add(s.c.duration)
		err := parallel(smallClients, func(int) error {
			for time.Now().Before(end) {
				i := sent.Add(1) - 1
				if _, err := e.do(ctx, http.MethodPut, bucket, key(i), noise[i%1024*page:][:page]); err != nil {
					return err
				}
			}
			return nil
		})
		return int(sent.Load()), err
	})
	if e != s.tls {
		err = errors.Join(err, os.RemoveAll(s.coffer.mountpoint+"/"+bucket+"/small"))
	}
	return err
}
