package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gameserverd/client"
)

// selfSigned writes a certificate for 127.0.0.1 with the serial number, and its
// key, into cert.pem and key.pem of the folder.
func selfSigned(t *testing.T, dir string, serial int64, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return keep(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		keep(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// TLS is switched on, its certificate changed and switched off again while
// clients stay connected.
func TestReloadOfCertificates(t *testing.T) {
	dir := t.TempDir()
	later := time.Now().Add(60 * 24 * time.Hour)
	cert, key := selfSigned(t, dir, 1, later)
	yaml := fmt.Sprintf("listen: {tls: {cert_file: %s, key_file: %s}}\n", cert, key)
	r := serveFile(t, "")
	ctx, cancel := background()
	defer cancel()
	// dialTLS connects by TLS and returns the serial number of the certificate.
	dialTLS := func() (c *client.Client, serial int64) {
		t.Helper()
		cfg := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			serial = s.PeerCertificates[0].SerialNumber.Int64()
			return nil
		}}
		c, err := client.Dial(ctx, r.addr, client.WithTLS(cfg), client.WithoutReconnect())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, serial
	}
	works := func(what string, clients ...*client.Client) {
		t.Helper()
		for i, c := range clients {
			var sum int
			if err := c.Call(ctx, "sum", &sum, 1, i); err != nil || sum != 1+i {
				t.Errorf("%s: client %d: %v", what, i, err)
			}
		}
	}
	plain := dial(t, r.daemon)
	works("in plain", plain)

	log := r.reload(t, yaml)
	wantLines(t, log, changed("listen.tls.cert_file", "", cert), changed("listen.tls.key_file", "", key), "INFO  certificate loaded")
	first, serial := dialTLS()
	if serial != 1 {
		t.Errorf("the certificate is number %d", serial)
	}
	works("TLS is on", plain, first, dial(t, r.daemon))

	// A key that does not fit changes nothing, nor does what else is in the file.
	other := t.TempDir()
	selfSigned(t, other, 9, later)
	log = r.reload(t, strings.Replace(yaml, key, filepath.Join(other, "key.pem"), 1)+"game: {start_gold: 9}\n")
	if !strings.Contains(log, "reload refused") || !strings.Contains(log, "listen.tls.cert_file") {
		t.Errorf("a key that does not fit:\n%s", log)
	}
	wantLines(t, log)
	out, errText, code := runHere(t, "check", "--config", r.file)
	if code != 2 || !strings.Contains(out, "listen.tls.cert_file") {
		t.Errorf("check: exit code %d: %s%s", code, out, errText)
	}

	// Renewed under the same names, as certbot does.
	selfSigned(t, dir, 2, later)
	log = r.reload(t, yaml)
	if !strings.Contains(log, "certificate loaded") && !strings.Contains(r.err.String(), "the certificate's files have changed") {
		t.Errorf("the new certificate:\n%s", log)
	}
	second, serial := dialTLS()
	if serial != 2 {
		t.Errorf("the new certificate is number %d", serial)
	}
	works("it is renewed", plain, first, second)

	// One that ends soon is loaded, with a warning.
	selfSigned(t, dir, 3, time.Now().Add(24*time.Hour))
	before := len(r.err.String())
	r.reload(t, yaml)
	r.after(t, before, "WARN  the certificate ends soon")

	r.reload(t, yaml+"game: {shop: axe:1}\n")
	log = r.reload(t, "")
	wantLines(t, log, changed("listen.tls.cert_file", cert, ""), changed("listen.tls.key_file", key, ""), "INFO  setting changed .*game.shop")
	works("TLS is off", plain, first, second, dial(t, r.daemon))
	if c, err := client.Dial(ctx, r.addr, client.WithTLS(&tls.Config{InsecureSkipVerify: true}), client.WithoutReconnect()); err == nil {
		t.Error("TLS is off, and yet there is a handshake")
		c.Close()
	}
}
