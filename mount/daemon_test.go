package mount

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startDaemon starts one in this process, with its S3 door and its admin
// socket and no mount. stop ends it as a signal would.
func startDaemon(t *testing.T, c Config) (d *Daemon, stop func()) {
	t.Helper()
	return startLogged(t, c, discard())
}

// startLogged is startDaemon with a log that the test reads.
func startLogged(t *testing.T, c Config, log *slog.Logger) (d *Daemon, stop func()) {
	t.Helper()
	d, _, err := StartDaemon(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 2)
	done := make(chan error, 1)
	go func() { done <- d.Run(signals) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		signals <- syscall.SIGTERM
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return d, stop
}

// s3Client trusts the store's CA and nothing else, as clients that are given
// AWS_CA_BUNDLE do.
func s3Client(t *testing.T, c Config) *http.Client {
	t.Helper()
	text, err := os.ReadFile(c.caPath())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
}

func TestDaemonServesS3BehindItsOwnCA(t *testing.T) {
	c := testConfig(t)
	d, _ := startDaemon(t, c)
	resp, err := s3Client(t, c).Get(d.Endpoint() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "AccessDenied") {
		t.Errorf("an unsigned request: %s\n%s", resp.Status, body)
	}
}

func TestDaemonLeavesNothingBehind(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	round := func() {
		d, stop := startDaemon(t, c)
		if resp, err := s3Client(t, c).Get(d.Endpoint() + "/"); err != nil {
			t.Error(err)
		} else {
			resp.Body.Close()
		}
		if _, err := newClient(c.socketPath()).status(t.Context()); err != nil {
			t.Error(err)
		}
		stop()
	}
	round() // what the runtime and libraries start once
	goroutines, files := settle(), openFiles(t)
	for range 3 {
		round()
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		n, open := runtime.NumGoroutine(), openFiles(t)
		if n <= goroutines && open <= files {
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before; %d descriptors, %d before\n%s",
				n, goroutines, open, files, buf[:runtime.Stack(buf, true)])
		}
	}
}

// settle waits a moment for goroutines that are about to end, and counts the rest.
func settle() int {
	n := runtime.NumGoroutine()
	for range 100 {
		runtime.Gosched()
		time.Sleep(2 * time.Millisecond)
		if m := runtime.NumGoroutine(); m < n {
			n = m
		}
	}
	return n
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAdminSocketAnswersWithHints(t *testing.T) {
	c := testConfig(t)
	startDaemon(t, c)
	client := newClient(c.socketPath())
	var info MountInfo
	err := client.call(t.Context(), "/v1/mount", MountRequest{Mountpoint: t.TempDir(), Bucket: "No"}, &info)
	if err == nil || HintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, HintOf(err))
	}
	if err := client.call(t.Context(), "/v1/umount", umountRequest{"/"}, &umountReply{}); err == nil {
		t.Error("unmounted /")
	}
	if err := client.call(t.Context(), "/v1/mount", 7, &info); err == nil {
		t.Error("took a number for a request")
	}
	if err := client.call(t.Context(), "/v1/none", nil, &info); err == nil {
		t.Error("answered to a path that does not exist")
	}
	var env Env
	if err := client.call(t.Context(), "/v1/env", nil, &env); err != nil || len(env.AccessKeyID) != 20 || len(env.SecretAccessKey) != 40 {
		t.Errorf("%v", err)
	}
	resp, err := client.http.Get("http://coffer/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("pprof: %s", resp.Status)
	}
}

func TestNoDaemonIsToldFromAnError(t *testing.T) {
	c := testConfig(t)
	if _, err := newClient(c.socketPath()).status(t.Context()); !errors.Is(err, errNoDaemon) {
		t.Errorf("nothing there: %v", err)
	}
	d, stop := startDaemon(t, c)
	_ = d
	stop()
	// The socket of a daemon that was killed stays, and nobody listens.
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.socketPath()})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := newClient(c.socketPath()).status(t.Context()); !errors.Is(err, errNoDaemon) {
		t.Errorf("a dead socket: %v", err)
	}
	startDaemon(t, c)
	if _, err := newClient(c.socketPath()).status(t.Context()); err != nil {
		t.Errorf("over a dead socket: %v", err)
	}
}

func TestRequestsUnderWayAreFinishedWhenTheDaemonEnds(t *testing.T) {
	c := testConfig(t)
	d, _, err := StartDaemon(t.Context(), c, discard())
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	d.s3[0].Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-d.stop
		if err := d.store.engine.Sync(context.Background()); err != nil {
			t.Errorf("the store was closed under a request: %v", err)
		}
		io.WriteString(w, "whole")
	})
	client := s3Client(t, c)
	body := make(chan string, 1)
	go func() {
		resp, err := client.Get(d.Endpoint())
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		body <- string(text)
	}()
	<-entered
	d.Stop("test")
	if err := d.Run(nil); err != nil {
		t.Error(err)
	}
	if got := <-body; got != "whole" {
		t.Errorf("the client got %q", got)
	}
}

func TestSecondSignalCutsTheWaitingShort(t *testing.T) {
	c := testConfig(t)
	d, _, err := StartDaemon(t.Context(), c, discard())
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	d.s3[0].Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	client := s3Client(t, c)
	go func() {
		if resp, err := client.Get(d.Endpoint()); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM
	if err := d.Run(signals); err != nil {
		t.Error(err)
	}
	close(release)
	reopen(t, c)
}

func TestPortInUseMakesNoStore(t *testing.T) {
	c := testConfig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c.Listen = ln.Addr().String()
	if _, _, err := StartDaemon(context.Background(), c, discard()); err == nil || HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
	for _, p := range []string{c.Store, c.KeyFile} {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
}
