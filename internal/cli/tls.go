package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"gameserverd/client"
)

// TLS is how a command speaks TLS, as its flags say. The zero value is plain.
type TLS struct {
	On         bool   // --tls; each of the others turns it on as well
	CAFile     string // --ca: the authorities to trust, instead of the system's
	CertFile   string // --cert: our own certificate, for servers that ask for one
	KeyFile    string // --key: its key
	ServerName string // --server-name: the name that the server's certificate must have, instead of that in the address
	Insecure   bool   // --tls-insecure: any certificate will do
}

// Config makes the configuration, nil for plain. What is unsafe is said on warn.
// An error is an *ExitError with ExitUsage and names the flag.
func (t *TLS) Config(warn io.Writer) (*tls.Config, error) {
	if *t == (TLS{}) {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}
	if t.CAFile != "" {
		if t.Insecure {
			return nil, Usage("--ca says whom to trust and --tls-insecure says anybody: give one of them")
		}
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, Usage("--ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Usage("--ca: %s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, Usage("--cert and --key go together: the certificate, and the key that belongs to it")
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, Usage("--cert, --key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if t.Insecure {
		fmt.Fprintln(warn, "warning: --tls-insecure: the server's certificate is not checked, so whoever sits between can read and change everything")
	}
	return cfg, nil
}

// TLSHint says what to do about an error of TLS; "" when err is none.
func TLSHint(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.Is(err, client.ErrNeedsTLS):
		return "the server speaks TLS: add --tls"
	case errors.As(err, &unknown):
		return "the server's certificate was signed by nobody who is trusted here: --ca FILE names the authority's certificate, or the server's own where it signed itself"
	case errors.As(err, &name):
		return fmt.Sprintf("the server's certificate is for %s: connect to that name, or give it as --server-name", certificateNames(name.Certificate))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet: renew it, or look at the clock of this machine"
	case errors.As(err, &record):
		return "what answers there speaks no TLS: leave the TLS flags out, or look whether listen.tls.cert_file is set there"
	case errors.As(err, &op) && op.Op == "remote error":
		return hintRemote(op.Err.Error())
	}
	return ""
}

// hintRemote is for what the server says against us, as crypto/tls has it in
// words; it has no types for that.
func hintRemote(text string) string {
	if strings.Contains(text, "certificate") {
		return "the server wants a certificate of the client, signed by an authority of its listen.tls.client_ca_file: --cert FILE --key FILE"
	}
	return "the server refused the handshake; its log at level debug says why. Where it wants a client's certificate: --cert FILE --key FILE"
}

func certificateNames(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	return strings.Join(names, ", ")
}

// isCut reports whether the other side ended a connection in the middle of
// things, which in a handshake is the answer of a server without TLS.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
