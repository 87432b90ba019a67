package s3api

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
)

// namespace is that of all S3 documents.
const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// xmlWriter builds a document.
type xmlWriter struct{ b []byte }

func (x *xmlWriter) start() {
	x.b = append(x.b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"...)
}

// root opens the document's element, in S3's namespace.
func (x *xmlWriter) root(name string) {
	x.start()
	x.b = append(x.b, '<')
	x.b = append(x.b, name...)
	x.b = append(x.b, ` xmlns="`+namespace+`">`...)
}

// end closes that element: in short, as AWS does, if nothing is in it.
func (x *xmlWriter) end(name string) {
	if rest, empty := bytes.CutSuffix(x.b, []byte(` xmlns="`+namespace+`">`)); empty {
		x.b = append(rest, ` xmlns="`+namespace+`"/>`...)
		return
	}
	x.close(name)
}

func (x *xmlWriter) open(name string) {
	x.b = append(x.b, '<')
	x.b = append(x.b, name...)
	x.b = append(x.b, '>')
}

func (x *xmlWriter) close(name string) {
	x.b = append(x.b, '<', '/')
	x.b = append(x.b, name...)
	x.b = append(x.b, '>')
}

func (x *xmlWriter) text(name, value string) {
	x.open(name)
	x.b = appendEscaped(x.b, value)
	x.close(name)
}

// textIf is text, unless value is empty.
func (x *xmlWriter) textIf(name, value string) {
	if value != "" {
		x.text(name, value)
	}
}

// errorText is text of an error's document, in which S3, other than elsewhere, leaves
// quotes as they are: clients look for its sentences without reading XML.
func (x *xmlWriter) errorText(name, value string) {
	x.open(name)
	for i, between := range strings.Split(value, `"`) {
		if i > 0 {
			x.b = append(x.b, '"')
		}
		x.b = appendEscaped(x.b, between)
	}
	x.close(name)
}

// texts writes an element for each value.
func (x *xmlWriter) texts(name string, values []string) {
	for _, v := range values {
		x.text(name, v)
	}
}

func (x *xmlWriter) int(name string, n int64) {
	x.open(name)
	x.b = strconv.AppendInt(x.b, n, 10)
	x.close(name)
}

func (x *xmlWriter) bool(name string, v bool) {
	x.open(name)
	x.b = strconv.AppendBool(x.b, v)
	x.close(name)
}

// time writes whole seconds, as Last-Modified has: clients compare the two.
func (x *xmlWriter) time(name string, t objstore.Time) {
	x.text(name, t.Std().Format("2006-01-02T15:04:05")+".000Z")
}

func (x *xmlWriter) etag(e objstore.ETag) { x.text("ETag", quoteETag(e)) }

// appendEscaped escapes s for text between tags. What XML 1.0 has no character
// for becomes a reference all the same (see the package comment); bytes that
// are no UTF-8 become U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	last := 0
	for i := 0; i < len(s); {
		r, width := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, width = utf8.DecodeRuneInString(s[i:])
		}
		var esc string
		switch {
		case r == '&':
			esc = "&amp;"
		case r == '<':
			esc = "&lt;"
		case r == '>':
			esc = "&gt;"
		case r == '"':
			esc = "&quot;"
		case r < ' ', r == 0x7f, r == 0xfffe, r == 0xffff:
			esc = "&#x" + strconv.FormatInt(int64(r), 16) + ";"
		case r == utf8.RuneError && width == 1:
			esc = "\uFFFD"
		default:
			i += width
			continue
		}
		b = append(b, s[last:i]...)
		b = append(b, esc...)
		i += width
		last = i
	}
	return append(b, s[last:]...)
}

// sendXML answers with a document.
func (q *request) sendXML(status int, x *xmlWriter) error {
	h := q.w.Header()
	h["Content-Type"] = []string{"application/xml"}
	h["Content-Length"] = []string{strconv.Itoa(len(x.b))}
	q.w.WriteHeader(status)
	_, err := q.w.Write(x.b)
	return err
}

// send answers without a document.
func (q *request) send(status int) error {
	if status != http.StatusNoContent {
		q.set("Content-Length", "0")
	}
	q.w.WriteHeader(status)
	return nil
}

// encodeURL is how S3 writes names with encoding-type=url: as a form value, but
// slashes stay.
func encodeURL(s string) string {
	const hexDigits = "0123456789ABCDEF"
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = plainInURL(s[i])
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case plainInURL(c):
			b = append(b, c)
		case c == ' ':
			b = append(b, '+')
		default:
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

func plainInURL(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '*' || c == '/'
}

// decodeXML reads a request document into v, whose root element is root. What v
// does not name, and what is not plain elements and text, is MalformedXML; so is
// anything behind the document. It reads the body to its end, so that a body
// that was not whole is told by its error.
func (q *request) decodeXML(limit int64, root string, v any) error {
	if err := q.reserve(limit); err != nil {
		return err
	}
	src := &limitedReader{src: &q.body, left: limit}
	err := decodeXML(src, root, v)
	if _, rest := io.Copy(io.Discard, src); rest != nil && err == nil {
		err = rest
	}
	if src.exceeded {
		return errTooLong()
	}
	if q.body.err != nil {
		return q.body.err
	}
	return err
}

// limitedReader ends with an error behind its limit.
type limitedReader struct {
	src      io.Reader
	left     int64
	exceeded bool
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		// One byte more tells the end of the body from too much of it.
		var one [1]byte
		n, err := l.src.Read(one[:])
		if n > 0 {
			l.exceeded = true
			return 0, errTooLong()
		}
		return 0, err
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.src.Read(p)
	l.left -= int64(n)
	return n, err
}

var errXML = errors.New("s3api: not a request document")

func decodeXML(src io.Reader, root string, v any) error {
	in := &tokenReader{src: bufio.NewReader(src)}
	guard := &tokenGuard{d: xml.NewDecoder(in), in: in, root: root}
	guard.d.Strict = true
	guard.d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(label, "utf-8") {
			return in, nil
		}
		return nil, errXML
	}
	if err := xml.NewTokenDecoder(guard).Decode(v); err != nil {
		return errMalformedXML()
	}
	for {
		t, err := guard.Token()
		if err == io.EOF {
			return nil
		}
		if text, ok := t.(xml.CharData); err != nil || !ok || len(bytes.TrimSpace(text)) > 0 {
			return errMalformedXML()
		}
	}
}

// tokenReader bounds how much of a document becomes one token. It is an
// io.ByteReader, so that the decoder does not read ahead.
type tokenReader struct {
	src  *bufio.Reader
	left int
}

func (r *tokenReader) ReadByte() (byte, error) {
	if r.left--; r.left < 0 {
		return 0, errXML
	}
	return r.src.ReadByte()
}

func (r *tokenReader) Read(p []byte) (int, error) { return r.src.Read(p) }

// tokenGuard lets through elements and text of bounded number, depth and length. It
// drops comments, and attributes but xsi:type, and refuses directives, which declare entities.
type tokenGuard struct {
	d        *xml.Decoder
	in       *tokenReader
	root     string
	elements int
	depth    int
	text     int
	seen     bool
}

func (g *tokenGuard) Token() (xml.Token, error) {
	for {
		g.in.left = maxXMLToken
		t, err := g.d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			g.depth++
			g.elements++
			if g.depth > maxXMLDepth || g.elements > maxXMLElements {
				return nil, errXML
			}
			if g.depth == 1 {
				if g.seen || t.Name.Local != g.root {
					return nil, errXML
				}
				g.seen = true
			}
			g.text = 0
			return xml.StartElement{Name: xml.Name{Local: t.Name.Local}, Attr: instanceType(t.Attr)}, nil
		case xml.EndElement:
			g.depth--
			return xml.EndElement{Name: xml.Name{Local: t.Name.Local}}, nil
		case xml.CharData:
			if g.text += len(t); g.text > maxXMLText {
				return nil, errXML
			}
			return t, nil
		case xml.ProcInst:
			if t.Target != "xml" || g.seen {
				return nil, errXML
			}
		case xml.Comment:
		default:
			return nil, errXML
		}
	}
}

// instanceType keeps the attribute that says of what type an element is (XML
// Schema part 1, section 2.6.1), of which S3 has one: a grantee.
func instanceType(attrs []xml.Attr) []xml.Attr {
	for _, a := range attrs {
		if a.Name.Local == "type" && a.Name.Space == "http://www.w3.org/2001/XMLSchema-instance" && len(a.Value) <= maxXMLText {
			return []xml.Attr{{Name: xml.Name{Local: "type"}, Value: a.Value}}
		}
	}
	return nil
}

// unknown collects the elements that a document should not have.
type unknown struct{}

// UnmarshalXML refuses: it stands behind `xml:",any"`.
func (*unknown) UnmarshalXML(*xml.Decoder, xml.StartElement) error { return errXML }
