package s3api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
	"github.com/cofferfs/coffer/objstore/iam"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

const (
	testKeyID  = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// door is an S3 door over a new store, on TLS on the loopback.
type door struct {
	t      testing.TB
	dir    string
	store  *engine.Store
	iam    *iam.Service
	server *httptest.Server
	s3     *s3.Client
	log    *lockedBuffer
	creds  aws.Credentials
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openIAM(t testing.TB, store *engine.Store) *iam.Service {
	t.Helper()
	s, err := iam.Open(context.Background(), store, iam.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openDoor(t testing.TB, change ...func(*Options)) *door {
	t.Helper()
	return openDoorOf(t, storetest.Open(t, storetest.Options{}), change...)
}

// openDoorOf opens a door over a store.
func openDoorOf(t testing.TB, s *storetest.Store, change ...func(*Options)) *door {
	t.Helper()
	d := &door{
		t: t, dir: s.Dir, store: s.Store, iam: openIAM(t, s.Store), log: &lockedBuffer{},
		creds: aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret},
	}
	o := Options{
		Store: d.store,
		IAM:   d.iam,
		Credentials: func(_ context.Context, id string) ([]byte, error) {
			if id != testKeyID {
				return nil, sigv4.ErrUnknownKey
			}
			return []byte(testSecret), nil
		},
		Domains: []string{"localhost"},
		Logger:  slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&o)
	}
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.server = httptest.NewUnstartedServer(handler)
	d.server.Config = handler.HTTPServer()
	d.server.StartTLS()
	t.Cleanup(d.server.Close)
	d.s3 = d.client()
	return d
}

func (d *door) client(change ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(d.server.URL),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider(testKeyID, testSecret, ""),
		HTTPClient:   d.server.Client(),
		UsePathStyle: true,
		Retryer:      aws.NopRetryer{},
	}, change...)
}

func (d *door) bucket(name string) {
	d.t.Helper()
	if _, err := d.s3.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) put(bucket, key, body string) *s3.PutObjectOutput {
	d.t.Helper()
	out, err := d.s3.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

func (d *door) get(bucket, key string) string {
	d.t.Helper()
	out, err := d.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// reply is a response, with the elements of an error document.
type reply struct {
	status int
	header http.Header
	body   string
	fields map[string]string
}

func (a reply) String() string { return http.StatusText(a.status) + " " + a.body }

// want checks a reply that is an error: status and code, and with a message all
// elements of the document.
func (a reply) want(t testing.TB, what string, status int, code, message string, fields ...string) {
	t.Helper()
	if a.status != status || a.fields["Code"] != code || message != "" && a.fields["Message"] != message {
		t.Errorf("%s: %d %s, want %d %s %q", what, a.status, a.body, status, code, message)
		return
	}
	rest := 4 // Code, Message, RequestId, HostId
	for i := 0; i < len(fields); i += 2 {
		rest++
		if got, ok := a.fields[fields[i]]; !ok || got != fields[i+1] {
			t.Errorf("%s: %s is %q, want %q in %s", what, fields[i], got, fields[i+1], a.body)
		}
	}
	if message != "" && len(a.fields) != rest {
		t.Errorf("%s: other elements than %v: %s", what, fields, a.body)
	}
	if a.fields["RequestId"] != a.header.Get("x-amz-request-id") || a.fields["HostId"] != a.header.Get("x-amz-id-2") {
		t.Errorf("%s: ids differ: %s", what, a.body)
	}
}

func (a reply) ok(t testing.TB, what string, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: %d %s, want %d", what, a.status, a.body, status)
	}
}

// request makes a signed request. Headers are name, value, ...; the target is
// sent as it is.
func (d *door) request(method, target, body string, headers ...string) *http.Request {
	d.t.Helper()
	u, err := url.Parse(d.server.URL)
	if err != nil {
		d.t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	if u.Path, err = url.PathUnescape(path); err != nil {
		d.t.Fatal(err)
	}
	u.RawPath, u.RawQuery = path, query
	r, err := http.NewRequest(method, u.String(), strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.URL = u
	for i := 0; i < len(headers); i += 2 {
		if strings.EqualFold(headers[i], "Host") {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	if h := r.Header.Get("x-amz-content-sha256"); h != "" {
		hash = h
	} else {
		r.Header.Set("x-amz-content-sha256", hash)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(context.Background(), d.creds, r, hash, "s3", "us-east-1", time.Now()); err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *door) do(method, target, body string, headers ...string) reply {
	d.t.Helper()
	return d.send(d.request(method, target, body, headers...))
}

func (d *door) send(r *http.Request) reply {
	d.t.Helper()
	resp, err := d.server.Client().Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.read(resp)
}

// read takes a response.
func (d *door) read(resp *http.Response) reply {
	d.t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	a := reply{status: resp.StatusCode, header: resp.Header, body: string(b), fields: map[string]string{}}
	if resp.StatusCode >= 300 && len(b) > 0 {
		dec := xml.NewDecoder(bytes.NewReader(b))
		var name string
		for {
			t, err := dec.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				d.t.Fatalf("error document %q: %v", b, err)
			}
			switch t := t.(type) {
			case xml.StartElement:
				name = t.Name.Local
				if name != "Error" {
					a.fields[name] = ""
				}
			case xml.CharData:
				if name != "Error" && name != "" {
					a.fields[name] += string(t)
				}
			case xml.EndElement:
				name = ""
			}
		}
	}
	return a
}

// code is the S3 code of an SDK's error.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func element(body, name string) string {
	_, rest, ok := strings.Cut(body, "<"+name+">")
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, "</"+name+">")
	return v
}
