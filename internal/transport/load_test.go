package transport

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoadTLS(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t)
	leaf := a.issue(t, "server", 48*time.Hour)
	cert, key := write(t, dir, leaf)
	roots := filepath.Join(dir, "roots.pem")
	writeFile(t, roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))

	config, until, err := LoadTLS(cert, key, roots)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if !until.Equal(parsed.NotAfter) || config.MinVersion != tls.VersionTLS12 || config.ClientAuth != tls.RequireAndVerifyClientCert || config.NextProtos != nil || config.SessionTicketsDisabled {
		t.Errorf("until %v, %+v", until, config)
	}
	r := newRig(t, rigOptions{Settings: Settings{TLS: config}})
	echo(t, r.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "localhost", Certificates: []tls.Certificate{a.issue(t, "client", time.Hour)}}), frame(10, 1))

	// The chain ends with whichever ends first.
	chain := filepath.Join(dir, "chain.pem")
	short := a.issue(t, "between", time.Hour)
	both, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, chain, append(both, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: short.Certificate[0]})...))
	if _, until, err := LoadTLS(chain, key, ""); err != nil || time.Until(until) > time.Hour {
		t.Errorf("the chain ends %v, %v", until, err)
	}
}

func TestLoadTLSSaysWhatIsWrong(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	a := newAuthority(t)
	cert, key := write(t, dir, a.issue(t, "server", time.Hour))
	_, otherKey := write(t, other, a.issue(t, "server", time.Hour))
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, []byte(content))
		return path
	}
	text := file("text", "secret-words")
	broken := file("broken", "-----BEGIN CERTIFICATE-----\nc2VjcmV0LXdvcmRz\n-----END CERTIFICATE-----\n")
	brokenKey := file("brokenkey", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXdvcmRz\n-----END PRIVATE KEY-----\n")
	large := file("large", strings.Repeat("x", maxPEM+1))
	for _, test := range []struct{ cert, key, roots, want string }{
		{filepath.Join(dir, "none"), key, "", "none: no such file or directory\nhint: a relative path"},
		{cert, filepath.Join(dir, "none"), "", "the certificate's key: "},
		{text, key, "", "text: there is no certificate in it"},
		{broken, key, "", "broken: its certificate 1: "},
		{large, key, "", "large: it has more than 1048576 bytes"},
		{key, key, "", "key.pem: there is no certificate in it"},
		{cert, text, "", "text: it is not PEM"},
		{cert, brokenKey, "", "brokenkey: it is not the unencrypted private key"},
		{cert, cert, "", "cert.pem: it is not the unencrypted private key"},
		{cert, otherKey, "", "key.pem: it is not the unencrypted private key of the certificate in " + cert},
		{cert, key, text, "text: there is no certificate in it; it must have the roots"},
		{cert, key, key, "key.pem: there is no certificate in it; it must have the roots"},
		{cert, key, dir, "is a directory"},
	} {
		config, _, err := LoadTLS(test.cert, test.key, test.roots)
		if err == nil || config != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v; want %q", err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret-words") || strings.Contains(err.Error(), "c2VjcmV0")) {
			t.Errorf("an error quotes a file: %v", err)
		}
	}
}
