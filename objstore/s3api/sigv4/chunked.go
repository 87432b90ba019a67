package sigv4

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// The aws-chunked encoding:
//
//	stream  = *chunk last *trailer CRLF
//	chunk   = size [";chunk-signature=" signature] CRLF data CRLF
//	last    = "0" [";chunk-signature=" signature] CRLF
//	trailer = name ":" value (CRLF / LF)
//
// size is hexadecimal, a signature 64 hexadecimal digits. In a signed stream
// every chunk has its signature, over that of the chunk before it (of the first
// chunk: the request's), and the trailer's comes as a trailer itself,
// x-amz-trailer-signature. Clients differ in the number of line ends around
// trailers, so empty lines there mean nothing.
const (
	// minChunk is the size below which only the last chunk may be, in bytes.
	minChunk = 8192
	// maxChunkLine and maxTrailer bound a chunk's header and all trailers, in
	// bytes with their line ends. The longest that are used have about 110.
	maxChunkLine = 256
	maxTrailer   = 2048

	chunkSignatureName   = "chunk-signature"
	trailerSignatureName = "x-amz-trailer-signature"
)

// chain is the chain of signatures of a signed stream.
type chain struct {
	key     signingKey
	scope   string // timestamp and credential scope, as the string to sign has them
	keyID   string
	prevHex string
}

func newChain(key signingKey, c *claim) *chain {
	return &chain{
		key:     key,
		scope:   c.timestamp + "\n" + c.scope() + "\n",
		keyID:   c.keyID,
		prevHex: hex.EncodeToString(c.signature[:]),
	}
}

const emptyHex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// chunk checks the signature of a chunk with data of that SHA-256.
func (c *chain) chunk(data []byte, provided string) error {
	return c.step(algorithm+"-PAYLOAD\n"+c.scope+c.prevHex+"\n"+emptyHex+"\n"+hex.EncodeToString(data), provided)
}

// trailer checks the signature of the trailers, one per line.
func (c *chain) trailer(lines, provided string) error {
	sum := sha256.Sum256([]byte(lines))
	return c.step(algorithm+"-TRAILER\n"+c.scope+c.prevHex+"\n"+hex.EncodeToString(sum[:]), provided)
}

func (c *chain) step(toSign, provided string) error {
	sum := mac(c.key[:], toSign)
	got, err := hex.DecodeString(provided)
	if err != nil || !hmac.Equal(sum[:], got) {
		return errSignature(c.keyID, toSign, provided, "")
	}
	c.prevHex = hex.EncodeToString(sum[:])
	return nil
}

// chunkedBody decodes an aws-chunked body and verifies it. With the last byte
// of data it reads on to the end of the stream and gives that byte out only
// when all of it is well, for readers that stop there.
type chunkedBody struct {
	src       io.ReadCloser
	br        *bufio.Reader
	remaining int64 // decoded bytes to come

	chain     *chain    // nil: unsigned
	hash      hash.Hash // of the current chunk's data, with chain
	signature string    // of the current chunk

	index int   // of the current chunk, from 1
	size  int64 // of the current chunk
	left  int64 // of it to be read

	trailers   bool // the stream may have trailers
	trailerAlg checksum.Algorithm
	sum        *checksum.Hasher // for trailerAlg, nil: not checked here
	trailerSum []byte

	done bool  // the stream was whole and well
	err  error // sticky
}

func newChunkedBody(src io.ReadCloser, length int64, chain *chain, alg checksum.Algorithm, trailers bool) *chunkedBody {
	b := &chunkedBody{
		src:        src,
		br:         bufio.NewReaderSize(src, 4096),
		remaining:  length,
		chain:      chain,
		trailers:   trailers,
		trailerAlg: alg,
	}
	if chain != nil {
		b.hash = sha256.New()
	}
	if alg != "" {
		// alg comes from checksum.FromHeader, so that New knows it.
		b.sum, _ = checksum.New(alg)
	}
	return b
}

func (b *chunkedBody) Close() error { return b.src.Close() }

func (b *chunkedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	if err != nil {
		b.err = err
	}
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}

// read is Read without the sticky error. Except for an error of the source,
// data comes with no error or with io.EOF.
func (b *chunkedBody) read(p []byte) (int, error) {
	if b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
		if b.size == 0 {
			return 0, b.finish()
		}
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.br.Read(p)
	p = p[:n]
	if b.hash != nil {
		b.hash.Write(p)
	}
	if b.sum != nil {
		b.sum.Write(p)
	}
	b.left -= int64(n)
	b.remaining -= int64(n)
	if err != nil && b.left > 0 {
		return n, b.cut(err)
	}
	if b.left > 0 {
		return n, nil
	}
	if err := b.endChunk(); err != nil {
		return 0, err
	}
	if b.remaining > 0 {
		return n, nil
	}
	if err := b.nextChunk(); err != nil {
		return 0, err
	}
	if err := b.finish(); err != io.EOF {
		return 0, err
	}
	return n, io.EOF
}

func (b *chunkedBody) cut(err error) error {
	return brokenBody(err, strings.ToLower(decodedContentLengthKey))
}

// nextChunk reads the header of the next chunk; size 0 is the last one's.
func (b *chunkedBody) nextChunk() error {
	line, err := b.line(maxChunkLine)
	if err == errEndOfStream {
		return errLength(strings.ToLower(decodedContentLengthKey))
	}
	if err != nil {
		return err
	}
	header, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return errIncompleteBody()
	}
	digits, extension, extended := strings.Cut(header, ";")
	size, ok := parseHex(digits)
	if !ok {
		return errIncompleteBody()
	}
	if size > b.remaining || size == 0 && b.remaining > 0 {
		return errLength(strings.ToLower(decodedContentLengthKey))
	}
	if size > 0 && b.index > 0 && b.size < minChunk {
		return errChunkSize(b.index, b.size)
	}
	b.index++
	b.size, b.left = size, size
	if b.chain == nil {
		if extended {
			return errIncompleteBody()
		}
		return nil
	}
	name, signature, _ := strings.Cut(extension, "=")
	if name != chunkSignatureName || len(signature) != hex.EncodedLen(sha256.Size) {
		return errIncompleteBody()
	}
	b.signature = signature
	b.hash.Reset()
	return nil
}

// endChunk reads what stands behind a chunk's data and checks its signature.
func (b *chunkedBody) endChunk() error {
	var end [2]byte
	if _, err := io.ReadFull(b.br, end[:]); err != nil {
		return b.cut(err)
	}
	if end != [2]byte{'\r', '\n'} {
		return errIncompleteBody()
	}
	return b.checkChunk()
}

func (b *chunkedBody) checkChunk() error {
	if b.chain == nil {
		return nil
	}
	return b.chain.chunk(b.hash.Sum(nil), b.signature)
}

// finish reads what stands behind the last chunk's header. It returns io.EOF
// when the whole stream is well.
func (b *chunkedBody) finish() error {
	if err := b.checkChunk(); err != nil {
		return err
	}
	if err := b.readTrailers(); err != nil {
		return err
	}
	if b.trailerAlg != "" {
		if b.trailerSum == nil {
			return errTrailer()
		}
		if b.sum != nil && !b.sum.Sums().Matches(b.trailerAlg, b.trailerSum) {
			return errChecksum(b.trailerAlg)
		}
	}
	b.done = true
	return io.EOF
}

// readTrailers reads to the end of the stream, which is an empty line.
func (b *chunkedBody) readTrailers() error {
	var canonical strings.Builder
	signed, ended := false, false
	for budget := maxTrailer; ; {
		line, err := b.line(budget)
		if line == "" && err == errEndOfStream && ended {
			break
		}
		if err == errEndOfStream {
			return errIncompleteBody()
		}
		if err != nil {
			return err
		}
		if budget -= len(line); budget <= 0 {
			return errTrailer()
		}
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if ended = line == "\r\n"; name == "" && !ok {
			continue
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || !b.trailers || signed {
			return errTrailer()
		}
		if name == trailerSignatureName && b.chain != nil {
			if err := b.chain.trailer(canonical.String(), value); err != nil {
				return err
			}
			signed = true
			continue
		}
		// One trailer can be announced, so that there is one to be had.
		if b.trailerAlg == "" || name != b.trailerAlg.Header() || b.trailerSum != nil {
			return errTrailer()
		}
		sum, err := checksum.Parse(b.trailerAlg, value)
		if err != nil {
			return errInvalidRequest("Value for " + name + " trailing header is invalid.")
		}
		b.trailerSum = sum
		canonical.WriteString(name + ":" + value + "\n")
	}
	if b.chain != nil && b.trailers && !signed {
		return errTrailer()
	}
	return nil
}

// errEndOfStream is line's: the stream ended, after the line it returns.
var errEndOfStream = errors.New("sigv4: end of stream")

// line reads to the next line end, which it includes. A line of more than max
// bytes comes without its end.
func (b *chunkedBody) line(max int) (string, error) {
	var line []byte
	for len(line) < max {
		c, err := b.br.ReadByte()
		if err == io.EOF {
			return string(line), errEndOfStream
		}
		if err != nil {
			return "", b.cut(err)
		}
		line = append(line, c)
		if c == '\n' {
			return string(line), nil
		}
	}
	return string(line), nil
}

// parseHex reads a chunk size of at most 15 digits.
func parseHex(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 15 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}
