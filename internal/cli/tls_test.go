package cli

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/tlstest"
)

// front puts a crypto/tls server in front of what listens on addr, and returns its address.
func front(t *testing.T, addr string, cfg *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		tasks.Wait()
	})
	pipe := func(in net.Conn) {
		defer in.Close()
		if in.(*tls.Conn).Handshake() != nil {
			return
		}
		out, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer out.Close()
		tasks.Go(func() {
			_, _ = io.Copy(in, out) // how a connection ends does not matter here
			in.Close()
		})
		_, _ = io.Copy(out, in)
	}
	tasks.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { pipe(in) })
		}
	})
	return l.Addr().String()
}

func TestCallOverTLS(t *testing.T) {
	s := daemon(t)
	a, other := tlstest.New(t), tlstest.New(t)
	_, _, named := a.Issue(t, "named", time.Now().Add(time.Hour), "play.example.com")
	_, _, old := a.Issue(t, "old", time.Now().Add(-time.Hour), "localhost")
	plain := s.Addrs()[0]
	good := front(t, plain, &tls.Config{Certificates: []tls.Certificate{a.Server}})
	mutual := func(version uint16) string {
		return front(t, plain, &tls.Config{Certificates: []tls.Certificate{a.Server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Roots, MaxVersion: version})
	}
	tls12, tls13 := mutual(tls.VersionTLS12), mutual(tls.VersionTLS13)
	byName := front(t, plain, &tls.Config{Certificates: []tls.Certificate{named}})
	expired := front(t, plain, &tls.Config{Certificates: []tls.Certificate{old}})
	tests := []struct {
		name string
		addr string
		tls  TLS
		hint string // "": the call succeeds
	}{
		{"an authority of one's own", good, TLS{CAFile: a.CAFile}, ""},
		{"by name", byName, TLS{CAFile: a.CAFile, ServerName: "play.example.com"}, ""},
		{"insecure", good, TLS{Insecure: true}, ""},
		{"mutual, 1.2", tls12, TLS{CAFile: a.CAFile, CertFile: a.ClientCert, KeyFile: a.ClientKey}, ""},
		{"mutual, 1.3", tls13, TLS{CAFile: a.CAFile, CertFile: a.ClientCert, KeyFile: a.ClientKey}, ""},
		{"the system's authorities", good, TLS{On: true}, "--ca FILE names"},
		{"another authority", good, TLS{CAFile: other.CAFile}, "--ca FILE names"},
		{"another name", good, TLS{CAFile: a.CAFile, ServerName: "play.example.com"}, "is for localhost, 127.0.0.1, ::1: connect"},
		{"expired", expired, TLS{CAFile: a.CAFile}, "has expired"},
		{"no certificate, 1.2", tls12, TLS{CAFile: a.CAFile}, "--cert FILE --key FILE"},
		{"no certificate, 1.3", tls13, TLS{CAFile: a.CAFile}, "--cert"}, // as an alert, or as a lost connection
		{"a stranger's certificate, 1.2", tls12, TLS{CAFile: a.CAFile, CertFile: other.ClientCert, KeyFile: other.ClientKey}, "listen.tls.client_ca_file"},
		{"plain at a TLS server", good, TLS{}, "add --tls"},
		{"TLS at a plain server", plain, TLS{On: true}, "listen.tls.cert_file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			warnings := newTerminal()
			cfg, err := tt.tls.Config(warnings)
			if err != nil {
				t.Fatal(err)
			}
			if warned := strings.Contains(warnings.String(), "warning: --tls-insecure"); warned != tt.tls.Insecure {
				t.Errorf("warnings: %q", warnings)
			}
			out, text, code := call(t, s, &Call{Addr: tt.addr, TLS: cfg, Method: "sum", Args: []string{"1", "2"}})
			if tt.hint == "" && (out != "3\n" || code != 0) || tt.hint != "" && (code != ExitFailed || !strings.Contains(text, tt.hint)) {
				t.Errorf("printed %q, exit code %d and\n%s\nwant %q", out, code, text, tt.hint)
			}
		})
	}
}

// A server of TLS that is not crypto/tls answers bytes that are no TLS with an alert.
func TestPlainCallIsToldOfTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 64)); err == nil {
			_, _ = c.Write([]byte{0x15, 3, 1, 0, 2, 2, 70})
		}
	}()
	_, text, code := call(t, nil, &Call{Addr: l.Addr().String(), Method: "sum", Args: []string{"1", "2"}})
	if code != ExitFailed || !strings.Contains(text, "the server speaks TLS: add --tls") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

func TestTLSFlagsAreChecked(t *testing.T) {
	a := tlstest.New(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tls  TLS
		want string
	}{
		{TLS{CAFile: "/nowhere"}, "--ca: open /nowhere: no such file"},
		{TLS{CAFile: empty}, "holds no certificate in PEM form"},
		{TLS{CertFile: a.ClientCert}, "--cert and --key go together"},
		{TLS{KeyFile: a.ClientKey}, "--cert and --key go together"},
		{TLS{CertFile: a.ClientCert, KeyFile: a.KeyFile}, "--cert, --key: tls: private key does not match"},
		{TLS{CAFile: a.CAFile, Insecure: true}, "give one of them"},
	} {
		cfg, err := tt.tls.Config(io.Discard)
		if exit, ok := err.(*ExitError); cfg != nil || !ok || exit.Code != ExitUsage || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.tls, err, tt.want)
		}
	}
	if cfg, err := (&TLS{}).Config(io.Discard); cfg != nil || err != nil {
		t.Errorf("without flags: %v, %v", cfg, err)
	}
}
