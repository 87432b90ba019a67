package s3api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// look tells of an object, or a version of one, for which its key need not be at hand.
// Nobody is asked whether the caller may see it: it is for what words or guards an answer.
func (q *request) look(bucket, key string, version objstore.VersionID) (objstore.ObjectInfo, error) {
	return q.s.store.HeadObject(q.ctx, q.caller, objstore.GetRequest{Bucket: bucket, Key: key, Version: version, NoKey: true})
}

// getRequest reads what GET and HEAD have in common.
func (q *request) getRequest() (req objstore.GetRequest, overrides http.Header, err error) {
	req = objstore.GetRequest{
		Bucket: q.bucket, Key: q.key, NoChecksum: !q.checksumMode(),
		Check: q.check(q.r.Method == http.MethodGet || q.checksumMode()),
	}
	if req.Version, err = q.versionID(); err != nil {
		return req, nil, err
	}
	if overrides, err = q.parseOverrides(); err != nil {
		return req, nil, err
	}
	if req.CustomerKey, err = q.readKey(); err != nil {
		return req, nil, err
	}
	req.Precondition = q.conditions(readConditions)
	rangeHeader, ranged := q.single("Range")
	if part, ok := q.param("partNumber"); ok {
		if ranged {
			return req, nil, errInvalidRequest("Cannot specify both Range header and partNumber query parameter")
		}
		req.PartNumber, err = parsePartNumber(part)
		return req, overrides, err
	}
	if ranged {
		if condition, ok := q.single("If-Range"); ok {
			req.IfRange = parseIfRange(condition, q.s.o.Now())
		}
		var unsatisfiable bool
		req.Range, unsatisfiable = parseRange(rangeHeader)
		if unsatisfiable {
			// A range behind every object says the same to the store.
			req.Range = &objstore.Range{First: 1<<63 - 1, Last: -1}
		}
	}
	return req, overrides, nil
}

func parsePartNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > objstore.MaxPartNumber {
		return 0, errInvalidArgument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", s)
	}
	return n, nil
}

func (q *request) getObject() error {
	if _, ok := q.query["versions"]; ok {
		return errInvalidRequest("There is no such thing as the ?versions sub-resource for a key")
	}
	return q.serveObject(func(o *engine.Object, status int) error {
		n, err := o.WriteTo(&objectWriter{q.w, status})
		if err == nil && n != o.Length {
			err = objstore.E(objstore.KindInternal, "get", q.key, "the object ended early")
		}
		if err == nil {
			q.w.WriteHeader(status) // of an empty object
		}
		return err
	})
}

// objectWriter sends the status with the first byte of data, so that an error
// before it is still answered as one.
type objectWriter struct {
	w      *response
	status int
}

func (o *objectWriter) Write(p []byte) (int, error) {
	o.w.WriteHeader(o.status)
	return o.w.Write(p)
}

func (q *request) headObject() error {
	req, overrides, err := q.getRequest()
	if err != nil {
		return err
	}
	if req.Range != nil || req.PartNumber != 0 {
		return q.serveObject(func(_ *engine.Object, status int) error { return q.sendHead(status) })
	}
	info, err := q.s.store.HeadObject(q.ctx, q.caller, req)
	if err != nil {
		return q.readFailed(req, err)
	}
	if err := q.guardSigned(info.SSE.Mode); err != nil {
		return err
	}
	q.setPart(&engine.Object{Info: info, Length: info.Size}, overrides)
	return q.sendHead(http.StatusOK)
}

func (q *request) sendHead(status int) error {
	q.w.WriteHeader(status)
	return nil
}

// serveObject finds the object and the part of it that is asked for, sets the
// headers and lets send do the rest while the object is pinned.
func (q *request) serveObject(send func(o *engine.Object, status int) error) error {
	req, overrides, err := q.getRequest()
	if err != nil {
		return err
	}
	found := false
	err = q.s.store.GetObject(q.ctx, q.caller, req, func(o *engine.Object) error {
		found = true
		status := http.StatusOK
		guard := q.guardSigned
		if q.r.Method == http.MethodGet {
			guard = q.guardKMS
		}
		if err := guard(o.Info.SSE.Mode); err != nil {
			return err
		}
		if q.r.Method == http.MethodGet && o.Info.Archived() {
			return errArchived(&o.Info.Meta)
		}
		if o.Partial && o.Info.Size > 0 {
			status = http.StatusPartialContent
			q.w.Header()["Content-Range"] = []string{contentRange(o)}
		}
		if req.PartNumber != 0 && o.Info.Parts > 0 {
			q.w.Header()["x-amz-mp-parts-count"] = []string{strconv.Itoa(o.Info.Parts)}
		}
		q.setPart(o, overrides)
		if c := o.Info.Checksum; req.PartNumber != 0 && c != nil && c.Type == checksum.Composite {
			// Even of the only part, it is not the checksum of the bytes.
			delete(q.w.Header(), c.Algorithm.Header())
			delete(q.w.Header(), "x-amz-checksum-type")
			if q.checksumMode() {
				q.setChecksum(o.PartChecksum)
			}
		}
		return send(o, status)
	})
	if err != nil && !found {
		return q.readFailed(req, err)
	}
	return err
}

func contentRange(o *engine.Object) string {
	b := append(make([]byte, 0, 64), "bytes "...)
	b = strconv.AppendInt(b, o.Offset, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, o.Offset+o.Length-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, o.Info.Size, 10))
}

// setPart sets the headers of a response with a part of an object, or all of it.
func (q *request) setPart(o *engine.Object, overrides http.Header) {
	q.setObjectHeaders(&o.Info)
	if _, version := q.param("versionId"); !version {
		q.setExpiration(&o.Info)
	}
	q.set("Content-Length", strconv.FormatInt(o.Length, 10))
	// A checksum of the whole says nothing of a part.
	if o.Length == o.Info.Size && q.checksumMode() {
		q.setChecksum(o.Info.Checksum)
	}
	for name, values := range overrides {
		q.w.Header()[name] = values
	}
}

// checksumMode reports whether the checksum is asked for.
func (q *request) checksumMode() bool {
	return strings.EqualFold(q.get("X-Amz-Checksum-Mode"), "ENABLED")
}

// readFailed words the errors of a read that S3 tells more about.
func (q *request) readFailed(req objstore.GetRequest, err error) error {
	switch kindOf(err) {
	case objstore.KindPreconditionFailed:
		e := q.translate(err)
		e.Fields = nil
		if info, err := q.describe(req); err == nil || objstore.IsKind(err, objstore.KindPreconditionFailed) {
			e.Fields = []sigv4.Field{field("Condition", failedCondition(readConditions, req.Precondition, &info))}
		}
		return e
	case objstore.KindNotModified:
		// What a cache needs of the object that it holds (RFC 9110, 15.4.5). If
		// another one has taken its place since, nothing is said of that.
		if info, err := q.describe(req); objstore.IsKind(err, objstore.KindNotModified) {
			h := q.w.Header()
			h["ETag"] = []string{quoteETag(info.ETag)}
			h["Last-Modified"] = []string{info.LastModified.Std().Format(http.TimeFormat)}
			if info.Meta.CacheControl != "" {
				h["Cache-Control"] = []string{info.Meta.CacheControl}
			}
			if info.Meta.Expires != "" {
				h["Expires"] = []string{info.Meta.Expires}
			}
		}
	case objstore.KindInvalidRange, objstore.KindInvalidPart:
		req.Precondition = objstore.Precondition{}
		info, herr := q.describe(req)
		if req.PartNumber != 0 {
			e := newError(http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "The requested partnumber is not satisfiable",
				field("PartNumberRequested", strconv.Itoa(req.PartNumber)))
			if herr == nil {
				e.Fields = append(e.Fields, field("ActualPartCount", strconv.Itoa(max(info.Parts, 1))))
			}
			return e
		}
		e := q.translate(err)
		e.Fields = []sigv4.Field{field("RangeRequested", q.get("Range"))}
		if herr == nil {
			e.Fields = append(e.Fields, field("ActualObjectSize", strconv.FormatInt(info.Size, 10)))
		}
		return e
	}
	return err
}

// describe is HeadObject of the whole object. Beside a precondition that failed
// it returns the info, too.
func (q *request) describe(req objstore.GetRequest) (objstore.ObjectInfo, error) {
	req.Range, req.PartNumber, req.NoChecksum = nil, 0, true
	return q.s.store.HeadObject(q.ctx, q.caller, req)
}
