package transport

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// maxPEM bounds the files that are read here.
const maxPEM = 1 << 20

// LoadTLS reads a certificate (PEM, with those between it and the root behind
// it), its key, and, if clientCAFile is not "", the roots of clients'
// certificates, which every client must then have. It returns the configuration
// of a server (TLS 1.2 and up, session tickets, no ALPN) and when the first
// certificate of the chain ends. Errors name the file and what to do; they never
// have anything of what is in a key's file. Any goroutine.
func LoadTLS(certFile, keyFile, clientCAFile string) (*tls.Config, time.Time, error) {
	cert, err := readPEM(certFile)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("the certificate: %w", err)
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("the certificate's key: %w", err)
	}
	pair, until, err := keyPair(certFile, cert, keyFile, key)
	if err != nil {
		return nil, time.Time{}, err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		// A message is written at once and is small: cutting it into packets' sizes
		// only costs records.
		DynamicRecordSizingDisabled: true,
	}
	if clientCAFile != "" {
		roots, err := readPEM(clientCAFile)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("the roots of clients' certificates: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(roots) {
			return nil, time.Time{}, fmt.Errorf("%s: there is no certificate in it; it must have the roots of clients' certificates in PEM (BEGIN CERTIFICATE)", clientCAFile)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, until, nil
}

// keyPair joins a certificate and its key, and says which of the two is wrong.
func keyPair(certFile string, cert []byte, keyFile string, key []byte) (pair tls.Certificate, until time.Time, err error) {
	chain, err := certificates(certFile, cert)
	if err != nil {
		return pair, until, err
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return pair, until, fmt.Errorf("%s: it is not PEM; it must have the certificate's key (BEGIN PRIVATE KEY)", keyFile)
	}
	if pair, err = tls.X509KeyPair(cert, key); err != nil {
		// What crypto/tls says does not quote the key, but an unknown block's name.
		return pair, until, fmt.Errorf("%s: it is not the unencrypted private key of the certificate in %s: %w\n"+
			"hint: compare openssl pkey -in KEY -pubout with openssl x509 -in CERT -noout -pubkey", keyFile, certFile, err)
	}
	until = chain[0].NotAfter
	for _, c := range chain {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return pair, until, nil
}

// certificates reads all certificates of a file.
func certificates(name string, b []byte) (chain []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: its certificate %d: %w", name, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: there is no certificate in it; it must be PEM (BEGIN CERTIFICATE)", name)
	}
	return chain, nil
}

func readPEM(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, explainOpen(err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s: it has more than %d bytes; is it the right file?", name, maxPEM)
	}
	return b, err
}

func explainOpen(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w\nhint: the user whom the daemon runs as must be able to read it: chown or chgrp it, a key with mode 0400 or 0440", err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w\nhint: a relative path is looked for in $CREDENTIALS_DIRECTORY and in the folder that the program is started in", err)
	}
	return err
}

// Same reports whether two configurations of LoadTLS were made of the same
// certificate, key and roots. Then the one in force can stay, and with it the keys
// of session tickets, so that clients need no whole handshake when they come back.
// Any goroutine.
func Same(a, b *tls.Config) bool {
	if a == nil || b == nil || len(a.Certificates) != 1 || len(b.Certificates) != 1 {
		return false
	}
	key, ok := a.Certificates[0].PrivateKey.(interface{ Equal(crypto.PrivateKey) bool })
	return ok && key.Equal(b.Certificates[0].PrivateKey) &&
		slices.EqualFunc(a.Certificates[0].Certificate, b.Certificates[0].Certificate, bytes.Equal) &&
		a.MinVersion == b.MinVersion && a.ClientAuth == b.ClientAuth && a.ClientCAs.Equal(b.ClientCAs)
}
