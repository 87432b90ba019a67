package mount

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"time"
)

const (
	// leafLife is how long a server certificate is valid from when it is
	// issued; with leafBackdate it stays far below the 398 days that clients
	// accept.
	leafLife = 90 * 24 * time.Hour
	// leafBackdate tolerates clocks that differ, and one that goes back.
	leafBackdate = 24 * time.Hour
	caLife       = 10 * 365 * 24 * time.Hour
)

// caNotBefore is when every CA's validity begins: long ago, so that no clock
// that goes backwards makes clients distrust it.
var caNotBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// newCA makes a certificate authority that can vouch for names, their
// subdomains, and nothing else: clients that are told to trust it need not
// trust it for the rest of the world (RFC 5280, 4.2.1.10), and no authority can
// stand below it.
func newCA(names certNames, now time.Time) (*keyPair, error) {
	key, serial, err := newKey()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:                serial,
		Subject:                     pkix.Name{CommonName: "coffer local CA " + serial.Text(16)[:8]},
		NotBefore:                   caNotBefore,
		NotAfter:                    now.Add(caLife),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names.dns,
		// Name constraints bind the kinds of names that they mention. This one
		// keeps the authority to server certificates, which have no others.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, ip := range names.ips {
		bits := 8 * len(ip)
		t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	return sign(t, t, key, key)
}

// newLeaf makes a server certificate for names and the direct subdomains of
// its DNS names.
func newLeaf(ca *keyPair, names certNames, now time.Time) (*keyPair, error) {
	key, serial, err := newKey()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "coffer"},
		NotBefore:             now.Add(-leafBackdate),
		NotAfter:              now.Add(leafLife),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:           names.ips,
	}
	for _, d := range names.dns {
		t.DNSNames = append(t.DNSNames, d, "*."+d)
	}
	return sign(t, ca.cert, key, ca.key)
}

func sign(t, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*keyPair, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &keyPair{cert: cert, key: key}, nil
}

// newKey makes the key of a certificate and its serial number: a random positive one of
// 127 bits, its top bit set so that it always has the same length.
func newKey() (*ecdsa.PrivateKey, *big.Int, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, nil, err
	}
	return key, n.SetBit(n, 126, 1), nil
}

// namesOfCA are the names that a CA was made for.
func namesOfCA(ca *x509.Certificate) certNames {
	n := certNames{dns: slices.Clone(ca.PermittedDNSDomains)}
	for _, r := range ca.PermittedIPRanges {
		n.ips = append(n.ips, r.IP)
	}
	return n
}

func caCovers(ca *x509.Certificate, names certNames) bool {
	have := namesOfCA(ca)
	return containsAll(have.dns, names.dns) && containsIPs(have.ips, names.ips)
}

func leafCovers(leaf *x509.Certificate, names certNames) bool {
	return containsAll(leaf.DNSNames, names.dns) && containsIPs(leaf.IPAddresses, names.ips)
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

func containsIPs(have, want []net.IP) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, w.Equal) {
			return false
		}
	}
	return true
}
