package mount

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// memSettings keeps settings in memory; err, if set, refuses changes.
type memSettings struct {
	mu  sync.Mutex
	m   map[string][]byte
	err error
}

func (s *memSettings) Setting(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[name]
	if !ok {
		return nil, objstore.E(objstore.KindNotFound, "setting", name, "")
	}
	return append([]byte(nil), v...), nil
}

func (s *memSettings) SetSetting(_ context.Context, name string, v []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.m == nil {
		s.m = map[string][]byte{}
	}
	s.m[name] = append([]byte(nil), v...)
	return nil
}

// testClock is a clock that stands still until it is set.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func testCerts(t *testing.T, s settings, host string, clock *testClock) *certSource {
	t.Helper()
	c, err := newCertSource(t.Context(), s, namesFor(host), clock.Now, discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (c *certSource) serial(t *testing.T) string {
	t.Helper()
	cert, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.String()
}

func TestClientsTrustTheServerThroughTheCAAlone(t *testing.T) {
	clock := &testClock{now: time.Now()}
	c := testCerts(t, &memSettings{}, "box.example.org", clock)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CAPEM()) {
		t.Fatal("ca.pem is no certificate")
	}
	for name, ok := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "box.example.org": true,
		"bucket.localhost": true, "bucket.box.example.org": true,
		"example.org": false, "10.0.0.1": false, "evil.org": false, "a.b.localhost": false,
	} {
		err := handshake(t, c.tlsConfig(), &tls.Config{RootCAs: pool, ServerName: name})
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if handshake(t, c.tlsConfig(), old) == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func handshake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, server)
		done <- s.Handshake()
		b.Close()
	}()
	err := tls.Client(a, client).Handshake()
	a.Close()
	<-done
	return err
}

func TestCAIsConstrainedToItsNames(t *testing.T) {
	clock := &testClock{now: time.Now()}
	c := testCerts(t, &memSettings{}, "127.0.0.1", clock)
	ca := c.ca.cert
	if !ca.IsCA || !ca.MaxPathLenZero || ca.MaxPathLen != 0 || !ca.PermittedDNSDomainsCritical {
		t.Errorf("CA %v, path length %d, constraints critical %v", ca.IsCA, ca.MaxPathLen, ca.PermittedDNSDomainsCritical)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	evil, err := newLeaf(c.ca, certNames{dns: []string{"evil.org"}}, clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evil.cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: "evil.org"}); err == nil {
		t.Error("the CA can vouch for evil.org")
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sub, err := sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, ca, key, c.ca.key)
	if err != nil {
		t.Fatal(err)
	}
	below, err := newLeaf(sub, certNames{dns: []string{"localhost"}}, clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	inter := x509.NewCertPool()
	inter.AddCert(sub.cert)
	if _, err := below.cert.Verify(x509.VerifyOptions{Roots: pool, Intermediates: inter, DNSName: "localhost"}); err == nil {
		t.Error("an authority below the CA is accepted")
	}
}

func TestServerCertificateLastsAtMost398Days(t *testing.T) {
	clock := &testClock{now: time.Now()}
	leaf := testCerts(t, &memSettings{}, "", clock).leaf.cert
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 398*24*time.Hour {
		t.Errorf("lasts %v", life)
	}
}

func TestCertificatesSurviveARestart(t *testing.T) {
	clock, s := &testClock{now: time.Now()}, &memSettings{}
	a := testCerts(t, s, "127.0.0.1", clock)
	b := testCerts(t, s, "127.0.0.1", clock)
	if a.serial(t) != b.serial(t) || string(a.CAPEM()) != string(b.CAPEM()) {
		t.Error("they were made anew")
	}
}

func TestServerCertificateIsRenewedWhileServing(t *testing.T) {
	start := time.Now()
	clock, s := &testClock{now: start}, &memSettings{}
	c := testCerts(t, s, "127.0.0.1", clock)
	first := c.serial(t)

	clock.set(start.Add(50 * 24 * time.Hour))
	if c.serial(t) != first {
		t.Error("renewed too early")
	}
	clock.set(start.Add(65 * 24 * time.Hour))
	c.serial(t) // begins it
	c.renewals.Wait()
	second := c.serial(t)
	if second == first {
		t.Error("not renewed with less than a third left")
	}
	if testCerts(t, s, "127.0.0.1", clock).serial(t) != second {
		t.Error("the renewed certificate was not kept")
	}
	clock.set(start.Add(400 * 24 * time.Hour))
	if third := c.serial(t); third == second || c.age(c.leaf.cert) != fresh {
		t.Error("an expired certificate is served")
	}
}

func TestClockGoingBackwardsLeavesAValidCertificate(t *testing.T) {
	start := time.Now()
	clock := &testClock{now: start}
	c := testCerts(t, &memSettings{}, "127.0.0.1", clock)
	first := c.serial(t)
	clock.set(start.Add(-12 * time.Hour))
	if c.serial(t) != first {
		t.Error("half a day back made a new certificate")
	}
	for _, year := range []int{2020, 2001} {
		clock.set(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
		c.serial(t)
		pool := x509.NewCertPool()
		pool.AddCert(c.ca.cert)
		if _, err := c.leaf.cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: "localhost", CurrentTime: clock.Now()}); err != nil {
			t.Errorf("in %d: %v", year, err)
		}
	}
}

func TestNewNamesGetANewCertificate(t *testing.T) {
	clock, s := &testClock{now: time.Now()}, &memSettings{}
	a := testCerts(t, s, "127.0.0.1", clock)
	b := testCerts(t, s, "192.0.2.7", clock)
	if err := b.leaf.cert.VerifyHostname("192.0.2.7"); err != nil {
		t.Error(err)
	}
	if string(a.CAPEM()) == string(b.CAPEM()) {
		t.Error("a CA without the address cannot vouch for it")
	}
	if c := testCerts(t, s, "127.0.0.1", clock); string(c.CAPEM()) != string(b.CAPEM()) {
		t.Error("fewer names need no new CA")
	}
}

func TestCertificatesWorkInAReadOnlyStore(t *testing.T) {
	s := &memSettings{err: objstore.E(objstore.KindReadOnly, "set setting", "", "")}
	c := testCerts(t, s, "127.0.0.1", &testClock{now: time.Now()})
	c.serial(t)
}

func TestDamagedCertificateIsAnError(t *testing.T) {
	s := &memSettings{m: map[string][]byte{settingCA: []byte("no PEM")}}
	_, err := newCertSource(t.Context(), s, namesFor(""), time.Now, discard())
	if err == nil {
		t.Error("a damaged CA was replaced without a word")
	}
}
