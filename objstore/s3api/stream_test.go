package s3api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

func TestContinueIsSaidOnlyToWhoMaySend(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, c := range []struct {
		target string
		want   string
	}{{"/bucket/k", "HTTP/1.1 100 Continue"}, {"/none/k", "HTTP/1.1 404"}} {
		r := d.request("PUT", c.target, "hello", "Expect", "100-continue")
		conn := d.dial()
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n", c.target, r.URL.Host)
		for name, v := range r.Header {
			fmt.Fprintf(conn, "%s: %s\r\n", name, v[0])
		}
		fmt.Fprint(conn, "\r\n")
		br := bufio.NewReader(conn)
		line, err := br.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, c.want) {
			t.Fatalf("%s: %q, %v", c.target, line, err)
		}
		if c.target == "/none/k" {
			continue
		}
		if _, err := br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "hello")
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%v, %v", resp, err)
		}
	}
}

func TestBodyThatIsCutIsNotStored(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "old")
	body := strings.Repeat("x", 1<<20)
	r := d.request("PUT", "/bucket/k", body)
	conn := d.dial()
	fmt.Fprintf(conn, "PUT /bucket/k HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.URL.Host, len(body))
	for name, v := range r.Header {
		fmt.Fprintf(conn, "%s: %s\r\n", name, v[0])
	}
	fmt.Fprintf(conn, "\r\n%s", body[:len(body)/2])
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 400 || !strings.Contains(string(b), "IncompleteBody") {
			t.Errorf("%d %s", resp.StatusCode, b)
		}
	}
	if got := d.get("bucket", "k"); got != "old" {
		t.Errorf("%d bytes", len(got))
	}
	if list := d.do("GET", "/bucket?list-type=2", ""); strings.Count(list.body, "<Key>") != 1 {
		t.Error(list)
	}
}

func TestPaceCountsOnlyTheClientsTime(t *testing.T) {
	p := newPace(time.Minute)
	now := time.Unix(1e9, 0)
	// left looks at what the client has, and is given no more than a quarter over.
	left := func() time.Duration {
		due, _ := p.begin(now)
		if over := due.Sub(now) - p.left; over < 0 || over > time.Minute/4 {
			t.Errorf("%v for a client that has %v", due.Sub(now), p.left)
		}
		return p.left
	}
	step := func(n int, d time.Duration) {
		now = now.Add(d)
		p.end(n, d)
	}
	left()
	step(stallBytes-1, 40*time.Second)
	now = now.Add(time.Hour) // not the client's
	if left() != 20*time.Second {
		t.Error(p)
	}
	step(1, 19*time.Second)
	if left() != time.Minute {
		t.Error(p)
	}
	step(0, 2*time.Minute)
	if p.left != 0 {
		t.Error(p)
	}
	if due, set := p.begin(now); !set || due.After(now) {
		t.Errorf("%v for a client whose time is over", due.Sub(now))
	}
}

func TestClientThatDripsIsCutOff(t *testing.T) {
	p := newPace(time.Minute)
	now := time.Unix(1e9, 0)
	for start := now; now.Sub(start) < 2*time.Minute; {
		due, _ := p.begin(now)
		if now = now.Add(time.Second); now.After(due) {
			if d := now.Sub(start); d < time.Minute || d > 80*time.Second {
				t.Errorf("after %v", d)
			}
			return
		}
		p.end(1, time.Second)
	}
	t.Error("not at all")
}

func TestDeadlineIsSetOncePerQuarterOfTheLimit(t *testing.T) {
	p := newPace(time.Minute)
	now, calls := time.Unix(1e9, 0), 0
	for range 600 { // one minute
		if _, set := p.begin(now); set {
			calls++
		}
		now = now.Add(100 * time.Millisecond)
		p.end(stallBytes, 100*time.Millisecond)
	}
	if calls < 3 || calls > 5 {
		t.Errorf("%d times in a minute", calls)
	}
}

func TestStalledClientIsCutOff(t *testing.T) {
	s := storetest.Open(t, storetest.Options{})
	d := openDoorOf(t, s) // one that cuts off nobody
	d.bucket("bucket")
	d.put("bucket", "big", strings.Repeat("x", 32<<20))
	strict := func(limit time.Duration) *door {
		return openDoorOf(t, s, func(o *Options) { o.StallTimeout = limit })
	}
	head := func(d *door, method, target string, length int) string {
		r := d.request(method, target, "", "x-amz-content-sha256", "UNSIGNED-PAYLOAD")
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", method, target, r.URL.Host, length)
		for name, v := range r.Header {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v[0])
		}
		return b.String() + "\r\n"
	}
	// It stops sending. On a busy machine the answer may come too late for the door as
	// well: then the connection ends without.
	var resp *http.Response
	for limit := 200 * time.Millisecond; resp == nil; limit *= 4 {
		q := strict(limit)
		conn := q.dial()
		fmt.Fprint(conn, head(q, "PUT", "/bucket/k", 1000)+"some of it")
		var err error
		if resp, err = http.ReadResponse(bufio.NewReader(conn), nil); err != nil && limit > 10*time.Second {
			t.Fatal(err)
		}
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 400 || !strings.Contains(string(b), "<Code>RequestTimeout</Code>") || !resp.Close {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
	d.do("GET", "/bucket/k", "").want(t, "nothing is stored", 404, "NoSuchKey", "", "Key", "k")
	// It is refused, and stops sending what nobody reads.
	q := strict(200 * time.Millisecond)
	conn := q.dial()
	fmt.Fprint(conn, head(q, "PUT", "/none/k", 1000)+"some of it")
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("refused, and not cut off")
	}
	if os.Getenv("COFFER_LONG") == "" {
		return // crypto/tls tries for 5 s to tell a client that does not listen
	}
	// It stops receiving: the door gives up, and says so.
	conn = q.dial()
	fmt.Fprint(conn, head(q, "GET", "/bucket/big", 0))
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(q.log.String(), "op=GetObject bucket=bucket key=big status=200") {
		runtime.Gosched()
	}
	if log := q.log.String(); !strings.Contains(log, "kind=canceled") {
		t.Error("the log does not say why")
	}
	conn.Close()
}

// watched is a body that looks at the heap while it is read or written.
type watched struct {
	left, looked int64
	peak         uint64
}

func (w *watched) look(n int) {
	if w.looked += int64(n); w.looked >= 8<<20 {
		w.looked = 0
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.peak = max(w.peak, m.HeapAlloc)
	}
}

func (w *watched) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), w.left))
	for i := range p[:n] {
		p[i] = byte(w.left - int64(i))
	}
	w.left -= int64(n)
	w.look(n)
	return n, nil
}

func (w *watched) Write(p []byte) (int, error) {
	w.look(len(p))
	return len(p), nil
}

func TestMemoryDoesNotGrowWithTheObject(t *testing.T) {
	if os.Getenv("COFFER_LONG") == "" {
		t.Skip("COFFER_LONG is not set")
	}
	d := openDoor(t)
	d.bucket("bucket")
	const size = 1 << 30
	r := d.unsigned("PUT", "/bucket/k", nil)
	sent := &watched{left: size}
	r.Body, r.ContentLength = io.NopCloser(sent), size
	d.send(r).ok(t, "put", 200)
	resp, err := d.server.Client().Do(d.unsigned("GET", "/bucket/k", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := &watched{}
	if n, err := io.Copy(got, resp.Body); err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	t.Logf("heap at most %d MiB writing, %d MiB reading", sent.peak>>20, got.peak>>20)
	if sent.peak > 256<<20 || got.peak > 256<<20 {
		t.Error("too much")
	}
}
