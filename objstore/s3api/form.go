package s3api

import (
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// form is a multipart/form-data request (RFC 7578), read up to its file.
type form struct {
	values map[string]string // by lower-case name
	names  []string          // as sent, in order
	file   io.Reader         // the file's bytes, as they come
}

// checkEnclosure refuses what is no form, as S3 does.
func checkEnclosure(r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || kind != "multipart/form-data" {
		return newError(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
			field("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"))
	}
	return nil
}

// malformedForm words the errors of mime/multipart.
func malformedForm(err error) error {
	var refused *apiError
	if errors.As(err, &refused) {
		return err
	}
	e := newError(http.StatusBadRequest, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
	e.cause = err
	return e
}

// readForm reads the fields of a form and finds its file, which must follow
// them. Whatever stands behind the file is not looked at.
func (q *request) readForm() (*form, error) {
	if err := checkEnclosure(q.r); err != nil {
		return nil, err
	}
	if q.r.ContentLength < 0 {
		return nil, newError(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	_, params, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	boundary := params["boundary"]
	if err != nil || boundary == "" || len(boundary) > maxBoundary {
		return nil, malformedForm(errors.New("no boundary"))
	}
	src := &fieldReader{src: &q.body, left: maxFormBytes}
	parts := multipart.NewReader(src, boundary)
	f := &form{values: map[string]string{}}
	for left := maxFieldBytes; f.file == nil; {
		// Raw: a file is stored as it was sent, whatever its encoding is called.
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil, errInvalidArgument("POST requires exactly one file upload per request.", "file", "0")
		}
		if err != nil {
			return nil, malformedForm(err)
		}
		name, filename, named := disposition(part.Header.Get("Content-Disposition"))
		if name == "" {
			return nil, malformedForm(errors.New("a field without a name"))
		}
		if strings.EqualFold(name, "file") {
			src.left = -1
			f.file = part
			f.name(filename, named)
			break
		}
		value, err := io.ReadAll(io.LimitReader(part, int64(left)+1))
		if err != nil {
			return nil, malformedForm(err)
		}
		if left -= len(name) + len(value); left < 0 {
			return nil, errFormTooLong()
		}
		if err := f.add(name, string(value)); err != nil {
			return nil, err
		}
	}
	if f.values["key"] == "" {
		return nil, errInvalidArgument("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.", "key", "")
	}
	return f, nil
}

// add takes a field, of each of which there is one: a second one would be a
// value that nobody holds to the policy.
func (f *form) add(name, value string) error {
	lower := strings.ToLower(name)
	if _, ok := f.values[lower]; ok {
		return errInvalidArgument("A form field that may be given once was repeated.", name, "")
	}
	f.values[lower] = value
	f.names = append(f.names, name)
	return nil
}

// name puts the file's name into the key. A form that names none leaves the
// variable as it is, as AWS does.
func (f *form) name(filename string, named bool) {
	const variable = "${filename}"
	if !named {
		return
	}
	// Some browsers send the whole path.
	if i := strings.LastIndexAny(filename, `/\`); i >= 0 {
		filename = filename[i+1:]
	}
	// Of a key that gets too long, no more is made than shows that it is.
	key := f.values["key"]
	if len(filename) > objstore.MaxKeyLen {
		filename = filename[:objstore.MaxKeyLen+1]
	}
	places := strings.Count(key, variable)
	if len(filename) > 0 {
		places = min(places, objstore.MaxKeyLen/len(filename)+1)
	}
	f.values["key"] = strings.Replace(key, variable, filename, places)
}

// disposition reads the names of a field and of its file. Browsers write them as
// they are, which mime.ParseMediaType takes but for a file's backslashes.
func disposition(v string) (name, filename string, named bool) {
	kind, params, err := mime.ParseMediaType(v)
	if err != nil || kind != "form-data" {
		return "", "", false
	}
	filename, named = params["filename"]
	return params["name"], filename, named
}

// errFormTooLong is S3's answer to more than 20 KB before the file.
func errFormTooLong() *apiError {
	return newError(http.StatusBadRequest, "MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.")
}

// fieldReader bounds what is read of a form before its file, headers of parts
// included. A negative bound is none.
type fieldReader struct {
	src  io.Reader
	left int
}

func (r *fieldReader) Read(p []byte) (int, error) {
	if r.left < 0 {
		return r.src.Read(p)
	}
	if r.left == 0 {
		return 0, errFormTooLong()
	}
	n, err := r.src.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// rootElement is the name of a document's element.
func rootElement(text string) (string, bool) {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		t, err := d.Token()
		if err != nil {
			return "", false
		}
		if e, ok := t.(xml.StartElement); ok {
			return e.Name.Local, true
		}
	}
}
