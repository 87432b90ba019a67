package s3api

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// sealing is a way of encrypting objects.
type sealing struct {
	name  string
	mode  string   // as it is told
	write []string // headers of writes
	read  []string // of reads
	from  []string // of copies from it
	byDoc string   // default encryption of a bucket that does the same, or empty
}

var sealings = []sealing{
	{name: "SSE-S3", mode: "AES256", write: under("AES256", ""), byDoc: encryptionXML("AES256", "", "")},
	{name: "SSE-KMS", mode: "aws:kms", write: under("aws:kms", "one"), byDoc: encryptionXML("aws:kms", "one", withBucketKey)},
	{name: "SSE-KMS with a context", mode: "aws:kms", write: under("aws:kms", "two", "x-amz-server-side-encryption-context", base64.StdEncoding.EncodeToString([]byte(`{"a":"b"}`)))},
	{name: "DSSE-KMS", mode: "aws:kms:dsse", write: under("aws:kms:dsse", "one"), byDoc: encryptionXML("aws:kms:dsse", "alias/first", "")},
	{name: "SSE-C", mode: "", write: customer("a"), read: customer("a"), from: sourceOf("a")},
	{name: "SSE-C of another key", mode: "", write: customer("b"), read: customer("b"), from: sourceOf("b")},
}

// matrixSizes are around the ends of what is kept inline, of packages, of extents
// of one and of two layers, and of parts.
var matrixSizes = []int{
	0, 1, 16 << 10, 16<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 4128768 - 1, 4128768, 4128768 + 1,
	4<<20 - 1, 4 << 20, 4<<20 + 1, 5<<20 + 1, 5<<20 + 70_000, 10<<20 + 3,
}

// matrixCase is one combination.
type matrixCase struct {
	from, to  *sealing
	size      int
	byDefault bool // by the bucket's default where it can
	upload    bool // put in parts, and copied in parts
	inPlace   bool
	versioned bool // the source is an older version, under another one of a key of its own
}

func (c matrixCase) String() string {
	return fmt.Sprintf("%s to %s, %d bytes, by default %v, in parts %v, in place %v, versioned %v", c.from.name, c.to.name, c.size, c.byDefault, c.upload, c.inPlace, c.versioned)
}

// matrixCases are all combinations, or of each pair of modes as many as most.
func matrixCases(most int) (list []matrixCase) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range sealings {
		for j := range sealings {
			var pair []matrixCase
			for _, size := range matrixSizes {
				for flags := range 16 {
					c := matrixCase{&sealings[i], &sealings[j], size, flags&1 > 0, flags&2 > 0, flags&4 > 0, flags&8 > 0}
					if c.inPlace && (c.byDefault || c.upload) {
						continue
					}
					pair = append(pair, c)
				}
			}
			random.Shuffle(len(pair), func(a, b int) { pair[a], pair[b] = pair[b], pair[a] })
			list = append(list, pair[:min(most, len(pair))]...)
		}
	}
	return list
}

// Whatever an object was encrypted under, a copy of it has its bytes under
// whatever it was asked for. COFFER_LONG tries all combinations.
func TestEncryptionMatrix(t *testing.T) {
	d := openKeyDoor(t)
	for _, kind := range []string{"", "versioned-"} {
		d.bucket(kind + "plain")
		for i := range sealings {
			if sealings[i].byDoc != "" {
				d.bucket(fmt.Sprint(kind, "default", i))
				d.do("PUT", fmt.Sprintf("/%sdefault%d?encryption", kind, i), sealings[i].byDoc).ok(t, "default", 200)
			}
		}
	}
	list := d.do("GET", "/", "").body
	for _, b := range strings.Split(list, "<Name>")[1:] {
		if name, _, _ := strings.Cut(b, "<"); strings.HasPrefix(name, "versioned-") {
			d.do("PUT", "/"+name+"?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
		}
	}
	most := 4
	if raceDetector {
		most = 1 // they are asked for one after the other
	}
	if os.Getenv("COFFER_LONG") != "" {
		most = 1 << 20
	}
	m := &matrix{keyDoor: d, t: t, bytes: randomBytes(matrixSizes[len(matrixSizes)-1])}
	for i, c := range matrixCases(most) {
		m.no, m.c = i, c
		m.run()
		if t.Failed() {
			t.Fatal(c)
		}
	}
}

func randomBytes(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b) // it never fails
	return string(b)
}

type matrix struct {
	*keyDoor
	t     *testing.T
	bytes string
	no    int
	c     matrixCase
}

// target is where an object of a sealing goes, and with which headers.
func (m *matrix) target(s *sealing, name string) (path string, headers []string) {
	kind := map[bool]string{true: "versioned-"}[m.c.versioned]
	if m.c.byDefault && s.byDoc != "" {
		for i := range sealings {
			if &sealings[i] == s {
				return fmt.Sprintf("/%sdefault%d/%s", kind, i, name), nil
			}
		}
	}
	return "/" + kind + "plain/" + name, s.write
}

func (m *matrix) run() {
	c, body := m.c, m.bytes[:m.c.size]
	src, write := m.target(c.from, fmt.Sprint("source", m.no))
	version := m.put(src, body, write, c.from)
	dst, write := m.target(c.to, fmt.Sprint("target", m.no))
	if c.inPlace {
		dst, write = src, join(write, []string{"x-amz-metadata-directive", "REPLACE"})
	}
	if c.versioned {
		m.do("PUT", src, "newer", customer("n")...).ok(m.t, "newer version", 200)
		src += "?versionId=" + version
	}
	m.check("source", src, body, c.from, c.upload)
	m.copy(src, dst, body, write)
	parts := c.upload && len(body) > 0 // there is no range of no bytes
	m.check("copy", dst, body, c.to, parts)
	if !c.inPlace || c.versioned {
		m.check("source after it", src, body, c.from, c.upload)
		m.do("DELETE", src, "").ok(m.t, "delete", 204)
		m.check("copy without its source", dst, body, c.to, parts)
	}
	m.do("DELETE", dst, "").ok(m.t, "delete", 204)
}

// put stores an object, in one piece or in parts.
func (m *matrix) put(path, body string, write []string, s *sealing) (version string) {
	if !m.c.upload {
		a := m.do("PUT", path, body, write...)
		a.ok(m.t, "put", 200)
		return a.header.Get("x-amz-version-id")
	}
	id := element(m.do("POST", path+"?uploads", "", write...).body, "UploadId")
	return m.complete(path, id, len(body), func(n, start, end int) string {
		a := m.do("PUT", fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, n, id), body[start:end], s.read...)
		a.ok(m.t, "part", 200)
		return a.header.Get("ETag")
	})
}

// complete makes an object of parts of 5 MiB and a bit.
func (m *matrix) complete(path, id string, size int, part func(n, start, end int) (etag string)) (version string) {
	const most = 5<<20 + 1
	var list strings.Builder
	for n, start := 1, 0; n == 1 || start < size; n, start = n+1, start+most {
		list.WriteString(partXML(n, part(n, start, min(start+most, size))))
	}
	a := m.do("POST", path+"?uploadId="+id, completeXML(list.String()))
	a.ok(m.t, "complete", 200)
	return a.header.Get("x-amz-version-id")
}

func (m *matrix) copy(src, dst, body string, write []string) {
	from := join(m.c.from.from, []string{"x-amz-copy-source", src})
	if !m.c.upload || len(body) == 0 {
		m.do("PUT", dst, "", join(write, from)...).ok(m.t, "copy", 200)
		return
	}
	id := element(m.do("POST", dst+"?uploads", "", write...).body, "UploadId")
	m.complete(dst, id, len(body), func(n, start, end int) string {
		a := m.do("PUT", fmt.Sprintf("%s?partNumber=%d&uploadId=%s", dst, n, id), "",
			join(m.c.to.read, from, []string{"x-amz-copy-source-range", fmt.Sprintf("bytes=%d-%d", start, end-1)})...)
		a.ok(m.t, "part of a copy", 200)
		return element(a.body, "ETag")
	})
}

// check reads an object in every way.
func (m *matrix) check(what, path, body string, s *sealing, upload bool) {
	m.t.Helper()
	a := m.do("GET", path, "", s.read...)
	if a.status != 200 || a.body != body || a.header.Get("x-amz-server-side-encryption") != s.mode {
		m.t.Errorf("%s: %d, %d bytes, want %d; %v", what, a.status, len(a.body), len(body), a.header)
		return
	}
	plain := s.mode == "AES256" && !upload
	if etag := fmt.Sprintf("\"%x\"", md5.Sum([]byte(body))); (a.header.Get("ETag") == etag) != plain {
		m.t.Errorf("%s: ETag %s, the MD5 is %s", what, a.header.Get("ETag"), etag)
	}
	if a := m.do("HEAD", path, "", s.read...); a.status != 200 || a.header.Get("Content-Length") != fmt.Sprint(len(body)) {
		m.t.Errorf("%s: HEAD %d %v", what, a.status, a.header)
	}
	last := len(body) - 1
	for _, at := range []int{0, 64<<10 - 1, 4128768 - 2, 4<<20 - 1, 5 << 20, last} {
		if at < 0 || at > last {
			continue
		}
		end := min(at+70_001, last)
		a := m.do("GET", path, "", join(s.read, []string{"Range", fmt.Sprintf("bytes=%d-%d", at, end)})...)
		if a.status != 206 || a.body != body[at:end+1] {
			m.t.Errorf("%s: bytes %d to %d: %d, %d bytes", what, at, end, a.status, len(a.body))
		}
	}
	if upload && len(body) > 5<<20+1 {
		a := m.do("GET", path+map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]+"partNumber=2", "", s.read...)
		if want := body[5<<20+1 : min(10<<20+2, len(body))]; a.status != 206 || a.body != want {
			m.t.Errorf("%s: part 2: %d, %d bytes, want %d", what, a.status, len(a.body), len(want))
		}
	}
	if s.read != nil {
		m.do("GET", path, "").want(m.t, what+" without the key", 400, "InvalidRequest", "")
	}
}
