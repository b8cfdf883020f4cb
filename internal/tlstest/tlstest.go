// Package tlstest makes certificates for tests: an authority, a server of
// 127.0.0.1 and localhost, a client. It is imported by tests only, and nothing
// that it makes is good for anything else: keys lie in the test's own folder,
// and go with it.
//
// The invariant: two authorities of New never trust each other.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority and what it has signed, as PEM files and
// as values. Immutable after New. Any goroutine.
type Authority struct {
	CAFile                string
	CertFile, KeyFile     string // of the server, named localhost, 127.0.0.1 and ::1
	ClientCert, ClientKey string // files of a client named "client"

	Roots          *x509.CertPool
	Server, Client tls.Certificate

	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	dir  string
}

// validity is how long certificates of New hold: long enough that nobody warns of their end.
const validity = 90 * 24 * time.Hour

// New makes an authority with its files in a folder of the test.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir(), Roots: x509.NewCertPool()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Roots.AddCert(a.cert)
	a.CAFile = a.write(t, "ca.pem", "CERTIFICATE", der)
	a.CertFile, a.KeyFile, a.Server = a.Issue(t, "server", time.Now().Add(validity), "localhost")
	a.ClientCert, a.ClientKey, a.Client = a.Issue(t, "client", time.Now().Add(validity))
	return a
}

// Issue signs a certificate of the name that ends at until. With hosts it is a
// server's, also of 127.0.0.1 and ::1, else a client's. Issuing a name again
// writes its files anew.
func (a *Authority) Issue(t testing.TB, name string, until time.Time, hosts ...string) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile = a.write(t, name+".pem", "CERTIFICATE", der)
	keyFile = a.write(t, name+"-key.pem", "PRIVATE KEY", keyDER)
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, pair
}

func (a *Authority) write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
