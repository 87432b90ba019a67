package s3api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// postedForm is a form as a browser sends it.
type postedForm struct {
	fields   [][2]string
	file     string
	filename *string // nil: the file has none
	noFile   bool
}

func (f *postedForm) set(name, value string) {
	for i := range f.fields {
		if f.fields[i][0] == name {
			f.fields[i][1] = value
			return
		}
	}
	f.fields = append(f.fields, [2]string{name, value})
}

func (f *postedForm) remove(names ...string) {
	f.fields = slices.DeleteFunc(f.fields, func(p [2]string) bool { return slices.Contains(names, p[0]) })
}

func (f *postedForm) get(name string) string {
	for _, p := range f.fields {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}

// encode returns the body and its type.
func (f *postedForm) encode(t testing.TB) (string, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part := func(disposition, value string) {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}})
		if err != nil {
			t.Fatal(err)
		}
		p.Write([]byte(value))
	}
	for _, p := range f.fields {
		part(`form-data; name="`+p[0]+`"`, p[1])
	}
	if !f.noFile {
		disposition := `form-data; name="file"`
		if f.filename != nil {
			disposition += `; filename="` + *f.filename + `"`
		}
		part(disposition, f.file)
	}
	w.Close()
	return b.String(), w.FormDataContentType()
}

func (d *door) post(bucket string, f *postedForm) reply {
	d.t.Helper()
	body, kind := f.encode(d.t)
	return d.postRaw("/"+bucket, kind, body)
}

func (d *door) postRaw(target, kind, body string) reply {
	d.t.Helper()
	r, err := http.NewRequest("POST", d.server.URL+target, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	client := *d.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.read(resp)
}

type conditions = []any

// presign makes a form as botocore does: with what the policy must have behind
// the caller's conditions.
func presign(bucket, key string, fields [][2]string, list conditions) *postedForm {
	return presignAt(time.Now(), time.Hour, bucket, key, fields, list)
}

func presignAt(now time.Time, life time.Duration, bucket, key string, fields [][2]string, list conditions) *postedForm {
	date := now.UTC().Format("20060102T150405Z")
	credential := testKeyID + "/" + date[:8] + "/us-east-1/s3/aws4_request"
	list = append(slices.Clone(list), map[string]string{"bucket": bucket})
	if prefix, ok := strings.CutSuffix(key, "${filename}"); ok {
		list = append(list, conditions{"starts-with", "$key", prefix})
	} else {
		list = append(list, map[string]string{"key": key})
	}
	list = append(list, map[string]string{"x-amz-algorithm": "AWS4-HMAC-SHA256"}, map[string]string{"x-amz-credential": credential}, map[string]string{"x-amz-date": date})
	policy := policyText(now.Add(life), list)
	f := &postedForm{fields: slices.Clone(fields), file: "abcdef", filename: aws.String("file")}
	f.set("key", key)
	f.set("x-amz-algorithm", "AWS4-HMAC-SHA256")
	f.set("x-amz-credential", credential)
	f.set("x-amz-date", date)
	f.set("policy", policy)
	f.set("x-amz-signature", signPolicy(policy, date[:8]))
	return f
}

func policyText(expiration time.Time, list conditions) string {
	text, err := json.Marshal(map[string]any{"expiration": expiration.UTC().Format("2006-01-02T15:04:05Z"), "conditions": list})
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

func signPolicy(policy, date string) string {
	key := []byte("AWS4" + testSecret)
	for _, s := range []string{date, "us-east-1", "s3", "aws4_request", policy} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		key = m.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// presignV2 is presign with Signature Version 2.
func presignV2(bucket, key string, list conditions) *postedForm {
	policy := policyText(time.Now().Add(time.Hour), append(slices.Clone(list), map[string]string{"bucket": bucket}, map[string]string{"key": key}))
	m := hmac.New(sha1.New, []byte(testSecret))
	m.Write([]byte(policy))
	f := &postedForm{file: "abcdef"}
	f.set("key", key)
	f.set("AWSAccessKeyId", testKeyID)
	f.set("policy", policy)
	f.set("signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	return f
}
