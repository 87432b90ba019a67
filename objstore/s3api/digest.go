package s3api

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

// digest is what a request says about its body: Content-MD5, and a checksum in
// a header or in the trailer.
type digest struct {
	md5 []byte // nil: none
	// algorithm is the client's; empty when it named none.
	algorithm checksum.Algorithm
	value     []byte // nil: in the trailer, or none
}

// bodyDigest is parseDigest for the body of an object or of a part.
func (q *request) bodyDigest() (digest, error) {
	d, err := q.parseDigest()
	if err == nil {
		err = q.announced(d)
	}
	return d, err
}

// parseDigest reads Content-MD5 and the x-amz-checksum-* headers.
func (q *request) parseDigest() (d digest, err error) {
	if text, ok := q.single("Content-Md5"); ok {
		if d.md5, err = checksum.Parse(checksum.MD5, text); err != nil {
			return d, newError(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.", field("Content-MD5", text))
		}
	}
	sent := 0 // in headers
	var text string
	for name, values := range q.header {
		if len(name) < len("X-Amz-Checksum-") || !strings.EqualFold(name[:len("X-Amz-Checksum-")], "X-Amz-Checksum-") {
			continue
		}
		switch name {
		case "X-Amz-Checksum-Algorithm", "X-Amz-Checksum-Mode", "X-Amz-Checksum-Type":
			continue
		}
		alg, ok := checksum.FromHeader(name)
		if !ok {
			return d, errChecksumAlgorithm()
		}
		sent += len(values)
		d.algorithm, text = alg, values[0]
	}
	switch trailer := q.auth.TrailerAlgorithm; {
	case sent > 1:
		return d, errInvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	case sent == 1 && trailer != "":
		return d, errInvalidRequest("Expecting a single x-amz-checksum- header")
	case trailer != "":
		d.algorithm = trailer
	}
	if sent == 1 {
		if d.value, err = checksum.Parse(d.algorithm, text); err != nil {
			return d, errInvalidRequest("Value for " + d.algorithm.Header() + " header is invalid.")
		}
	}
	return d, nil
}

// announced compares what the request has with x-amz-sdk-checksum-algorithm, by
// which an SDK says of an object or a part what it sends. In the query of a presigned
// URL it says nothing: SDKs put it there for a body that they do not know yet.
func (q *request) announced(d digest) error {
	const name = "x-amz-sdk-checksum-algorithm"
	announced := q.r.Header["X-Amz-Sdk-Checksum-Algorithm"]
	if len(announced) == 0 {
		return nil
	}
	text := announced[0]
	alg, err := checksum.ParseAlgorithm(text)
	switch {
	case err == nil && d.algorithm == "":
		return errInvalidRequest(name + " specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case err != nil, alg != d.algorithm:
		return errInvalidRequest("Value for " + name + " header is invalid.")
	}
	return nil
}

// algorithms are those to compute of the body: of stored, of what the client
// sent, and MD5 if it sent that.
func (d *digest) algorithms(stored checksum.Algorithm) []checksum.Algorithm {
	algs := []checksum.Algorithm{stored}
	if d.algorithm != "" && d.algorithm != stored {
		algs = append(algs, d.algorithm)
	}
	if d.md5 != nil {
		algs = append(algs, checksum.MD5)
	}
	return algs
}

// errChecksumAlgorithm names the five algorithms that AWS named when it was recorded,
// before it took others.
func errChecksumAlgorithm() *apiError {
	return errInvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
}

// verify compares the digest with what was computed of the body. It is the
// store's Verify callback: the body has been read to its end.
func (q *request) verify(d digest) func(checksum.Sums) error {
	q.auth.DeferTrailer()
	return func(sums checksum.Sums) error {
		q.body.rest()
		if d.md5 != nil && !sums.Matches(checksum.MD5, d.md5) {
			expected := hex.EncodeToString(d.md5)
			if _, part := q.query["partNumber"]; part {
				expected = base64.StdEncoding.EncodeToString(d.md5)
			}
			return newError(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.",
				field("ExpectedDigest", expected),
				field("CalculatedDigest", base64.StdEncoding.EncodeToString(sums[checksum.MD5])))
		}
		if d.value != nil && !sums.Matches(d.algorithm, d.value) {
			return newError(http.StatusBadRequest, "BadDigest", "The "+string(d.algorithm)+" you specified did not match the calculated checksum.")
		}
		return q.auth.CheckTrailer(sums)
	}
}

// hasher computes what verify needs, where the door itself reads the body.
func (q *request) hasher(d digest) *checksum.Hasher {
	h, err := checksum.New(d.algorithms("")...)
	if err != nil {
		panic("s3api: a parsed algorithm is unknown: " + err.Error())
	}
	return h
}

// setChecksum writes a stored checksum as headers.
func (q *request) setChecksum(c *objstore.Checksum) {
	if c == nil || c.Algorithm.Header() == "" {
		return
	}
	q.set(c.Algorithm.Header(), c.Value)
	if c.Type != "" {
		q.set("x-amz-checksum-type", string(c.Type))
	}
}

// checksumElement is the element that carries a's value.
func checksumElement(a checksum.Algorithm) string { return "Checksum" + string(a) }
