package mount

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// Names of the sealed settings that hold the certificates with their keys.
const (
	settingCA   = "tls/ca"
	settingLeaf = "tls/leaf"
)

// settings are the small secrets that a store keeps sealed; engine.Store has
// them.
type settings interface {
	Setting(ctx context.Context, name string) ([]byte, error)
	SetSetting(ctx context.Context, name string, value []byte) error
}

// certSource hands out the server certificate of the store's own CA and renews
// it: in the background when less than a third of its life is left, at once
// when it is not valid now, which a clock that was set can bring about. It is
// asked at every handshake, so it needs no timer.
type certSource struct {
	settings settings
	now      func() time.Time
	log      *slog.Logger
	names    certNames

	// mu guards the fields below.
	mu       sync.Mutex
	ca       *keyPair
	leaf     *keyPair
	leafTLS  *tls.Certificate
	renewing bool
	renewals sync.WaitGroup
}

// newCertSource loads the CA and the certificate, and makes them where they are
// missing, do not cover names, or run out. A CA that has to be replaced means
// that clients need the new ca.pem.
func newCertSource(ctx context.Context, s settings, names certNames, now func() time.Time, log *slog.Logger) (*certSource, error) {
	c := &certSource{settings: s, now: now, log: log, names: names}
	ca, err := c.load(ctx, settingCA)
	if err != nil {
		return nil, err
	}
	if ca == nil || !caCovers(ca.cert, names) || ca.cert.NotAfter.Before(now().Add(leafLife)) {
		if ca != nil {
			c.names = names.with(namesOfCA(ca.cert))
		}
		if ca, err = newCA(c.names, now()); err != nil {
			return nil, err
		}
		if err := c.save(ctx, settingCA, ca); err != nil {
			return nil, err
		}
		log.Info("made a certificate authority", "names", c.names.String(), "until", ca.cert.NotAfter)
	}
	c.ca = ca
	leaf, err := c.load(ctx, settingLeaf)
	if err != nil {
		return nil, err
	}
	if leaf != nil && leaf.cert.CheckSignatureFrom(ca.cert) == nil && leafCovers(leaf.cert, names) {
		c.use(leaf)
	}
	if c.leaf == nil || c.age(c.leaf.cert) != fresh {
		if err := c.renew(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// GetCertificate is that of tls.Config.
func (c *certSource) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.age(c.leaf.cert) {
	case unusable:
		// Everybody waits for it: without it no handshake succeeds.
		if err := c.renewLocked(context.Background()); err != nil {
			return nil, err
		}
	case ageing:
		if c.renewing {
			break
		}
		c.renewing = true
		c.renewals.Add(1)
		go func() {
			defer c.renewals.Done()
			if err := c.renew(context.Background()); err != nil {
				c.log.Error("cannot renew the server certificate", "error", err)
			}
			c.mu.Lock()
			c.renewing = false
			c.mu.Unlock()
		}()
	}
	return c.leafTLS, nil
}

// Close waits for a renewal under way.
func (c *certSource) Close() { c.renewals.Wait() }

// CAPEM is the CA's certificate, for clients.
func (c *certSource) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.cert.Raw})
}

// tlsConfig offers HTTP/1.1 alone, as S3 does: over HTTP/2 clients would send
// their parallel transfers through one connection and its flow control.
func (c *certSource) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: c.GetCertificate,
		NextProtos:     []string{"http/1.1"},
	}
}

type certAge int

const (
	fresh certAge = iota
	ageing
	unusable
)

func (c *certSource) age(leaf *x509.Certificate) certAge {
	now := c.now()
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case now.Before(leaf.NotBefore), !now.Before(leaf.NotAfter):
		return unusable
	case leaf.NotAfter.Sub(now) < life/3:
		return ageing
	}
	return fresh
}

func (c *certSource) renew(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renewLocked(ctx)
}

func (c *certSource) renewLocked(ctx context.Context) error {
	leaf, err := newLeaf(c.ca, c.names, c.now())
	if err != nil {
		return err
	}
	if err := c.save(ctx, settingLeaf, leaf); err != nil {
		return err
	}
	c.use(leaf)
	c.log.Info("issued a server certificate", "names", c.names.String(), "until", leaf.cert.NotAfter)
	return nil
}

func (c *certSource) use(leaf *keyPair) {
	c.leaf = leaf
	c.leafTLS = &tls.Certificate{
		Certificate: [][]byte{leaf.cert.Raw, c.ca.cert.Raw},
		PrivateKey:  leaf.key,
		Leaf:        leaf.cert,
	}
}

// load returns nil where there is none.
func (c *certSource) load(ctx context.Context, name string) (*keyPair, error) {
	text, err := c.settings.Setting(ctx, name)
	if objstore.IsKind(err, objstore.KindNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", name, err)
	}
	defer clear(text)
	p, err := parseKeyPair(text)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", name, err)
	}
	return p, nil
}

// save keeps a pair sealed in the store. In a store that is read-only or full
// it lives for as long as the daemon does: that is no reason not to serve.
func (c *certSource) save(ctx context.Context, name string, p *keyPair) error {
	text, err := p.marshal()
	if err != nil {
		return err
	}
	defer clear(text)
	err = c.settings.SetSetting(ctx, name, text)
	if objstore.IsKind(err, objstore.KindReadOnly) || objstore.IsKind(err, objstore.KindNoSpace) {
		c.log.Warn("certificate is not kept", "name", name, "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("certificate %q: %w", name, err)
	}
	return nil
}

// keyPair is a certificate with its key.
type keyPair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (p *keyPair) marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

func parseKeyPair(text []byte) (*keyPair, error) {
	certBlock, rest := pem.Decode(text)
	keyBlock, _ := pem.Decode(rest)
	if certBlock == nil || keyBlock == nil {
		return nil, errors.New("not a certificate with its key")
	}
	defer clear(keyBlock.Bytes)
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ec.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("key does not belong to its certificate")
	}
	return &keyPair{cert: cert, key: ec}, nil
}

// certNames are the names and addresses that a certificate is for. DNS names
// stand for their subdomains as well, for virtual-host style requests.
type certNames struct {
	dns []string
	ips []net.IP
}

// namesFor are localhost, the loopback addresses and the host that the S3 door
// listens on; for a wildcard address, the machine's name and addresses.
func namesFor(listenHost string) certNames {
	n := certNames{dns: []string{"localhost"}, ips: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback}}
	host, _, _ := strings.Cut(listenHost, "%") // an IPv6 zone
	ip := net.ParseIP(host)
	switch {
	case host == "" || ip != nil && ip.IsUnspecified():
		if name, err := os.Hostname(); err == nil && isHostname(name) {
			n = n.with(certNames{dns: []string{strings.ToLower(name)}})
		}
		addrs, _ := net.InterfaceAddrs()
		for _, a := range addrs {
			if ipn, ok := a.(*net.IPNet); ok && !ipn.IP.IsLinkLocalUnicast() {
				n = n.with(certNames{ips: []net.IP{ipn.IP}})
			}
		}
	case ip != nil:
		n = n.with(certNames{ips: []net.IP{ip}})
	case isHostname(host):
		n = n.with(certNames{dns: []string{strings.ToLower(host)}})
	}
	return n
}

// isHostname reports whether s can stand in a certificate (RFC 1123, and the
// underscore that some machines' names have).
func isHostname(s string) bool {
	if len(s) == 0 || len(s) > 253 || strings.Contains(s, "..") || strings.Trim(s, ".-") != s {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// maxCertNames bounds the names of a certificate, of each kind.
const maxCertNames = 64

// with returns n and those of m that it lacks, as far as there is room.
func (n certNames) with(m certNames) certNames {
	r := certNames{dns: slices.Clone(n.dns), ips: slices.Clone(n.ips)}
	for _, d := range m.dns {
		if len(r.dns) < maxCertNames && !slices.Contains(r.dns, d) {
			r.dns = append(r.dns, d)
		}
	}
	for _, ip := range m.ips {
		if v4 := ip.To4(); v4 != nil {
			ip = v4
		}
		if len(r.ips) < maxCertNames && !slices.ContainsFunc(r.ips, ip.Equal) {
			r.ips = append(r.ips, ip)
		}
	}
	return r
}

func (n certNames) String() string {
	all := slices.Clone(n.dns)
	for _, ip := range n.ips {
		all = append(all, ip.String())
	}
	return strings.Join(all, " ")
}
