// Command miniogo plays a user of minio-go against the endpoint of the
// environment that `coffer env` makes. It ends with 0 if all is as it should be.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/minio/minio-go/v7/pkg/tags"
)

func must[T any](v T, err error) T {
	ok(err)
	return v
}

func ok(err error) {
	if err != nil {
		_ = log.Output(3, err.Error())
		os.Exit(1)
	}
}

func check(cond bool, format string, args ...any) {
	if !cond {
		_ = log.Output(2, fmt.Sprintf(format, args...))
		os.Exit(1)
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>16) ^ byte(i>>8) ^ byte(i)
	}
	return b
}

func main() {
	log.SetFlags(log.Lshortfile)
	ctx := context.Background()
	u := must(url.Parse(os.Getenv("AWS_ENDPOINT_URL")))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile(os.Getenv("AWS_CA_BUNDLE"))))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
	c := must(minio.New(u.Host, &minio.Options{
		Creds:     credentials.NewStaticV4(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
		Secure:    true,
		Region:    os.Getenv("AWS_DEFAULT_REGION"),
		Transport: transport,
	}))
	const bucket = "box"
	ok(c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}))
	check(must(c.BucketExists(ctx, bucket)), "the bucket does not exist")
	check(!must(c.BucketExists(ctx, "no-such-bucket")), "a bucket exists that does not")

	read := func(key string, o minio.GetObjectOptions) []byte {
		obj := must(c.GetObject(ctx, bucket, key, o))
		defer obj.Close()
		return must(io.ReadAll(obj))
	}
	sizes := []int{0, 1, 70_000, 17<<20 + 5}
	customer := must(encrypt.NewSSEC(bytes.Repeat([]byte{7}, 32)))
	for i, sse := range []encrypt.ServerSide{nil, encrypt.NewSSE(), customer} {
		for _, n := range sizes {
			key, want := fmt.Sprintf("m%d/%d", i, n), pattern(n)
			info := must(c.PutObject(ctx, bucket, key, bytes.NewReader(want), int64(n), minio.PutObjectOptions{
				ContentType: "text/x-test", UserMetadata: map[string]string{"colour": "blue"}, ServerSideEncryption: sse, PartSize: 5 << 20,
			}))
			check(info.Size == int64(n), "%s: put says %d bytes", key, info.Size)
			get := minio.GetObjectOptions{}
			if i == 2 {
				get.ServerSideEncryption = sse
			}
			check(bytes.Equal(read(key, get), want), "%s: other bytes came back", key)
			st := must(c.StatObject(ctx, bucket, key, get))
			check(st.Size == int64(n) && st.ContentType == "text/x-test" && st.UserMetadata["Colour"] == "blue", "%s: stat %+v", key, st)
			if n > 60_000 {
				ok(get.SetRange(5, 60_000))
				check(bytes.Equal(read(key, get), want[5:60_001]), "%s: another range came back", key)
			}
		}
	}
	// A body of unknown length.
	_ = must(c.PutObject(ctx, bucket, "stream", io.LimitReader(bytes.NewReader(pattern(12<<20)), 11<<20), -1, minio.PutObjectOptions{PartSize: 5 << 20}))
	check(len(read("stream", minio.GetObjectOptions{})) == 11<<20, "stream: other size")

	// Copies: of a customer's key to the bucket's encryption, and of parts.
	_ = must(c.CopyObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "copy"},
		minio.CopySrcOptions{Bucket: bucket, Object: "m2/70000", Encryption: customer}))
	check(bytes.Equal(read("copy", minio.GetObjectOptions{}), pattern(70_000)), "copy: other bytes")
	_ = must(c.ComposeObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "composed"},
		minio.CopySrcOptions{Bucket: bucket, Object: "m0/17825797"}, minio.CopySrcOptions{Bucket: bucket, Object: "m0/70000"}))
	check(bytes.Equal(read("composed", minio.GetObjectOptions{}), append(pattern(17<<20+5), pattern(70_000)...)), "composed: other bytes")
	check(bytes.Equal(must(os.ReadFile(os.Getenv("MOUNT") + "/box/composed"))[17<<20+5:], pattern(70_000)), "composed: other bytes in the mount")

	// Tags, presigned URLs, versions.
	ok(c.PutObjectTagging(ctx, bucket, "copy", must(tags.NewTags(map[string]string{"a": "b"}, true)), minio.PutObjectTaggingOptions{}))
	check(must(c.GetObjectTagging(ctx, bucket, "copy", minio.GetObjectTaggingOptions{})).ToMap()["a"] == "b", "tags")
	signed := must(c.PresignedGetObject(ctx, bucket, "m0/70000", time.Minute, nil))
	res := must((&http.Client{Transport: transport}).Get(signed.String()))
	check(res.StatusCode == 200 && bytes.Equal(must(io.ReadAll(res.Body)), pattern(70_000)), "presigned: %s", res.Status)
	res.Body.Close()
	ok(c.EnableVersioning(ctx, bucket))
	for _, s := range []string{"one", "two"} {
		_ = must(c.PutObject(ctx, bucket, "versioned", bytes.NewReader([]byte(s)), 3, minio.PutObjectOptions{}))
	}
	ok(c.RemoveObject(ctx, bucket, "versioned", minio.RemoveObjectOptions{}))
	var versions int
	for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: "versioned", WithVersions: true}) {
		ok(o.Err)
		versions++
		if !o.IsDeleteMarker {
			check(len(read("versioned", minio.GetObjectOptions{VersionID: o.VersionID})) == 3, "version %s", o.VersionID)
		}
	}
	check(versions == 3, "%d versions", versions)

	// Everything is listed, and removed.
	var keys int
	objects := make(chan minio.ObjectInfo)
	go func() {
		defer close(objects)
		for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
			ok(o.Err)
			keys++
			objects <- o
		}
	}()
	for e := range c.RemoveObjects(ctx, bucket, objects, minio.RemoveObjectsOptions{}) {
		ok(e.Err)
	}
	check(keys == 3*len(sizes)+3+3, "%d keys", keys)
	ok(c.RemoveBucket(ctx, bucket))
}
