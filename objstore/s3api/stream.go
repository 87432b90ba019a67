package s3api

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// pace gives a client the time limit for each stallBytes, and up to a quarter
// more: a connection's deadline is not set anew for each of many small steps. It
// counts only the time between begin and end.
type pace struct {
	limit, left time.Duration
	bytes       int
	due         time.Time // the deadline that is set; zero: none
}

func newPace(limit time.Duration) pace { return pace{limit: limit, left: limit} }

// begin returns the deadline to set for what comes next, and whether it has to
// be set: the one that is may do.
func (p *pace) begin(now time.Time) (due time.Time, set bool) {
	end := now.Add(p.left)
	if !p.due.IsZero() && !end.After(p.due) {
		return p.due, false
	}
	if p.due = end; p.left > 0 { // or whoever drips would get the quarter again and again
		p.due = end.Add(p.limit / 4)
	}
	return p.due, true
}

// end records that n bytes took d.
func (p *pace) end(n int, d time.Duration) {
	p.bytes += n
	if p.bytes >= stallBytes {
		p.left, p.bytes = p.limit, 0
		return
	}
	p.left = max(p.left-d, 0)
}

// body is a request's body as handlers read it: it keeps the first error that
// was the client's fault, whatever the engine makes of it, and holds a slow
// client to its pace.
type body struct {
	src  io.ReadCloser
	ctl  *http.ResponseController
	pace pace
	tee  *checksum.Hasher // takes what is read, when it is not nil
	n    int64
	end  bool  // it was read to its end
	err  error // the first error but io.EOF
}

func (b *body) init(w *response, src io.ReadCloser) {
	b.src, b.ctl, b.pace = src, w.ctl, newPace(w.pace.limit)
}

func (b *body) Read(p []byte) (int, error) {
	start := time.Now()
	if due, set := b.pace.begin(start); set {
		// Not every connection has deadlines (a test's recorder has none).
		_ = b.ctl.SetReadDeadline(due)
	}
	n, err := b.src.Read(p)
	b.pace.end(n, time.Since(start))
	b.n += int64(n)
	if b.tee != nil {
		b.tee.Write(p[:n]) // never fails
	}
	if err != nil {
		b.rest()
		if b.end = err == io.EOF; !b.end && b.err == nil {
			b.err = err
		}
	}
	return n, err
}

// rest lifts the deadline: nothing more is expected of the client, and one that
// ran out would cancel the request's context under a long commit.
func (b *body) rest() {
	if !b.pace.due.IsZero() {
		b.pace.due = time.Time{}
		_ = b.ctl.SetReadDeadline(time.Time{})
	}
}

// writePiece is how much is written to a client at once, at most.
const writePiece = 256 << 10

// response is the http.ResponseWriter of a request: it knows what was sent and
// holds a slow client to its pace.
type response struct {
	http.ResponseWriter
	ctl    *http.ResponseController
	pace   pace
	status int // 0: nothing sent
	bytes  int64
}

func newResponse(w http.ResponseWriter, r *http.Request, stall time.Duration) *response {
	ctl := http.NewResponseController(w)
	// The connection's last request left a deadline, which must not meet the
	// "100 Continue" that net/http writes for this one.
	_ = ctl.SetWriteDeadline(time.Time{})
	// net/http sends it when the body is first read, and closes the connection
	// where it was not; an empty body is neither. botocore then takes the final
	// status for the interim one, and misreads the next answer on the
	// connection. It is sent before any header is set, which would go with it.
	if r.ContentLength == 0 && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		w.WriteHeader(http.StatusContinue)
	}
	if r.ContentLength != 0 {
		// net/http would take what is left of a small body before it answers, and
		// nothing of a large one: finish does better.
		_ = ctl.EnableFullDuplex()
	}
	return &response{ResponseWriter: w, ctl: ctl, pace: newPace(stall)}
}

// WriteHeader sends the status, once.
func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (total int, err error) {
	w.WriteHeader(http.StatusOK)
	for len(p) > 0 {
		piece := p[:min(len(p), writePiece)]
		start := time.Now()
		if due, set := w.pace.begin(start); set {
			_ = w.ctl.SetWriteDeadline(due)
		}
		n, err := w.ResponseWriter.Write(piece)
		w.pace.end(n, time.Since(start))
		w.bytes += int64(n)
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

// finish sends what is left of the answer and bounds what net/http still does with
// the connection. unread is the body if that was not read to its end, or nil.
// It reports whether the connection can take another request.
func (w *response) finish(unread io.Reader) (reusable bool) {
	w.WriteHeader(http.StatusOK)
	_ = w.ctl.SetWriteDeadline(time.Now().Add(2 * w.pace.limit))
	return unread == nil || w.ctl.Flush() == nil && w.linger(unread)
}

// linger takes what the client is still sending after it was answered, and
// reports whether that was all. If the connection was closed instead, with data in
// it that nobody has read, the client's kernel would be told to forget the answer
// too (RFC 9112, 9.6): whoever reads after having sent everything, as many clients do,
// would never see it.
func (w *response) linger(body io.Reader) bool {
	end := time.Now().Add(w.pace.limit)
	quiet := min(lingerQuiet, w.pace.limit)
	for left := int64(lingerBytes); left > 0; {
		due := time.Now().Add(quiet)
		if due.After(end) {
			due = end
		}
		_ = w.ctl.SetReadDeadline(due)
		n, err := io.CopyN(io.Discard, body, min(left, stallBytes))
		if err != nil {
			return err == io.EOF
		}
		left -= n
	}
	return false
}
