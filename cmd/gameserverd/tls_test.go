package main

import (
	"strings"
	"syscall"
	"testing"

	"gameserverd/internal/tlstest"
)

// The command line against the daemon's own TLS.
func TestCallAndBenchOverTLS(t *testing.T) {
	a, other := tlstest.New(t), tlstest.New(t)
	certs := []string{"GAMESERVERD_LISTEN_TLS_CERT_FILE=" + a.CertFile, "GAMESERVERD_LISTEN_TLS_KEY_FILE=" + a.KeyFile}
	both := serveOn(t, certs...)
	only := serveOn(t, append(certs, "GAMESERVERD_LISTEN_TLS_PLAIN=refuse")...)
	mutual := serveOn(t, append(certs, "GAMESERVERD_LISTEN_TLS_CLIENT_CA_FILE="+a.CAFile)...)
	plain := serveOn(t)
	for _, c := range []struct {
		name string
		on   *daemon
		args []string
		out  string
		err  string // in standard error
		code int
	}{
		{"TLS", both, []string{"call", "sum", "1", "2", "--ca", a.CAFile}, "3\n", "", 0},
		{"plain on the same port", both, []string{"call", "sum", "1", "2"}, "3\n", "", 0},
		{"a login", both, []string{"call", "sum", "1", "2", "--ca", a.CAFile, "--login", "dev:7"}, "3\n", "", 0},
		{"insecure", both, []string{"call", "sum", "1", "2", "--tls-insecure"}, "3\n", "warning: --tls-insecure: ", 0},
		{"an authority that is not known", both, []string{"call", "sum", "1", "2", "--tls"}, "", "hint: the server's certificate was signed by nobody who is trusted here: --ca FILE", 1},
		{"another one", both, []string{"call", "sum", "1", "2", "--ca", other.CAFile}, "", "--ca FILE", 1},
		{"another name", both, []string{"call", "sum", "1", "2", "--ca", a.CAFile, "--server-name", "play.example.com"}, "", "is for localhost, 127.0.0.1, ::1", 1},
		{"no file", both, []string{"call", "sum", "1", "2", "--ca", "nowhere.pem"}, "", "error: --ca: open nowhere.pem", 2},
		{"TLS where only that is spoken", only, []string{"call", "sum", "1", "2", "--ca", a.CAFile}, "3\n", "", 0},
		{"plain where only TLS is spoken", only, []string{"call", "sum", "1", "2"}, "", "hint: add --tls", 1},
		{"TLS where there is none", plain, []string{"call", "sum", "1", "2", "--tls"}, "", "listen.tls.cert_file", 1},
		{"a certificate", mutual, []string{"call", "sum", "1", "2", "--ca", a.CAFile, "--cert", a.ClientCert, "--key", a.ClientKey}, "3\n", "", 0},
		{"no certificate", mutual, []string{"call", "sum", "1", "2", "--ca", a.CAFile}, "", "--cert", 1},
		{"a stranger's", mutual, []string{"call", "sum", "1", "2", "--ca", a.CAFile, "--cert", other.ClientCert, "--key", other.ClientKey}, "", "certificate", 1},

		{"bench", both, []string{"bench", "--total", "2000", "--warmup", "0", "--depth", "4", "--expect", "3", "--ca", a.CAFile}, "10 connections, 4 outstanding on each, TLS 1.3, TLS_", "", 0},
		{"bench with a certificate", mutual, []string{"bench", "--total", "100", "--warmup", "0", "--ca", a.CAFile, "--cert", a.ClientCert, "--key", a.ClientKey}, "TLS 1.3, TLS_", "", 0},
		{"bench that trusts nobody", both, []string{"bench", "--tls"}, "", "hint: the server's certificate was signed by nobody", 1},
		{"bench without TLS", only, []string{"bench", "--login", "dev:{i}"}, "", "sys.closing protocol_error", 1},
	} {
		out, errText, code := runHere(t, append(c.args, "--addr", c.on.addr)...)
		exact := c.args[0] == "call"
		if exact && out != c.out || !strings.Contains(out, c.out) || !strings.Contains(errText, c.err) || exact && (c.err == "") != (errText == "") || code != c.code {
			t.Errorf("%s: %q, exit code %d\n%s\nwant %q, %q, %d", c.name, out, code, errText, c.out, c.err, c.code)
		}
	}
	for _, d := range []*daemon{both, only, mutual, plain} {
		if code := d.stop(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d\n%s", code, d.err)
		}
	}
}
