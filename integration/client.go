package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// Env is what `coffer env` exports, by name.
func (h *House) Env() map[string]string {
	h.t.Helper()
	h.OK("env")
	r := h.Exec(nil, "sh", "-c", `eval "$('`+program+`' env)" && env -0`)
	if r.Code != 0 {
		h.t.Fatalf("env: %v", r)
	}
	vars := map[string]string{}
	for _, v := range strings.Split(r.Stdout, "\x00") {
		if name, value, ok := strings.Cut(v, "="); ok && strings.HasPrefix(name, "AWS_") {
			vars[name] = value
		}
	}
	return vars
}

// awsPath finds a real aws-cli: the system's, whatever else is on the PATH.
func awsPath(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("COFFER_AWS"), "/usr/bin/aws", "/usr/local/bin/aws", "aws"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "aws-cli is not installed (package awscli)")
	return ""
}

// AWS runs aws-cli against the daemon's S3 door. The region, credentials and
// certificate authority are those of `coffer env`; the endpoint is given as a
// flag too, since aws-cli before 2.13 does not read AWS_ENDPOINT_URL.
type AWS struct {
	h    *House
	path string
	env  []string
	url  string
}

// NewAWS returns aws-cli for the running daemon.
func (h *House) NewAWS() *AWS {
	h.t.Helper()
	a := &AWS{h: h, path: awsPath(h.t), env: []string{"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1"}}
	for name, value := range h.Env() {
		a.env = append(a.env, name+"="+value)
		if name == "AWS_ENDPOINT_URL" {
			a.url = value
		}
	}
	return a
}

// Run runs aws-cli.
func (a *AWS) Run(args ...string) Result {
	return a.h.Exec(a.env, a.path, append([]string{"--endpoint-url", a.url}, args...)...)
}

// OK runs aws-cli, fails the test unless it ends with 0, and returns its
// standard output.
func (a *AWS) OK(args ...string) string {
	a.h.t.Helper()
	r := a.Run(args...)
	if r.Code != 0 {
		a.h.t.Fatalf("aws %s: %v", strings.Join(args, " "), r)
	}
	return r.Stdout
}

// JSON runs aws-cli and decodes its answer.
func (a *AWS) JSON(args ...string) map[string]any {
	a.h.t.Helper()
	text := a.OK(append([]string{"--output", "json"}, args...)...)
	m := map[string]any{}
	if strings.TrimSpace(text) == "" {
		return m
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		a.h.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return m
}

// S3 is a client of the running daemon by the Go SDK, which never retries, so
// that a test sees every answer. It is safe for concurrent use.
type S3 struct {
	*s3.Client
	http *http.Client
}

// NewS3 returns a client for the running daemon.
func (h *House) NewS3() *S3 {
	h.t.Helper()
	env := h.Env()
	pem, err := os.ReadFile(env["AWS_CA_BUNDLE"])
	if err != nil {
		h.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		h.t.Fatalf("no certificate in %s", env["AWS_CA_BUNDLE"])
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 16,
	}}
	h.t.Cleanup(client.CloseIdleConnections)
	return &S3{http: client, Client: s3.New(s3.Options{
		Region:       env["AWS_DEFAULT_REGION"],
		BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]),
		Credentials:  credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""),
		UsePathStyle: true,
		HTTPClient:   client,
		Retryer:      aws.NopRetryer{},
	})}
}

// Put stores an object.
func (c *S3) Put(ctx context.Context, bucket, key string, body []byte) error {
	_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	return err
}

// Get returns an object's content.
func (c *S3) Get(ctx context.Context, bucket, key string) ([]byte, error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// Delete removes an object.
func (c *S3) Delete(ctx context.Context, bucket, key string) error {
	_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return err
}

// Keys lists all keys with a prefix, page by page.
func (c *S3) Keys(ctx context.Context, bucket, prefix string) ([]string, error) {
	var keys []string
	p := s3.NewListObjectsV2Paginator(c.Client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

// errorCode is the S3 error code of err, empty if it has none.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
