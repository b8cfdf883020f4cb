package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"gameserverd/internal/attack"
	"gameserverd/internal/tlstest"
)

// Every scenario against the daemon as it is built, with limits so low that each
// is reached. This is how CI runs the attack.
func TestAttack(t *testing.T) {
	a := tlstest.New(t)
	d := serveOn(t,
		"GAMESERVERD_LISTEN_TLS_CERT_FILE="+a.CertFile, "GAMESERVERD_LISTEN_TLS_KEY_FILE="+a.KeyFile,
		"GAMESERVERD_LIMITS_LOGIN_TIMEOUT=380ms", "GAMESERVERD_LIMITS_FRAME_TIMEOUT=250ms", "GAMESERVERD_LIMITS_HANDSHAKE_TIMEOUT=250ms",
		"GAMESERVERD_LIMITS_MAX_WRITE_BUFFER_BYTES=64KiB", "GAMESERVERD_LIMITS_MAX_HANDSHAKES=20")
	// Both are built with the race detector, and share the machine with other tests.
	generous := []string{"--p99", "3s", "--memory", "1073741824", "--connections", "40", "--rate", "120", "--json"}
	began := time.Now()
	report := attackOn(t, append([]string{
		"attack", "--addr", d.addr, "--duration", "1400ms",
		"--login-timeout", "380ms", "--frame-timeout", "250ms", "--handshake-timeout", "250ms",
	}, generous...))
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("it took %v", took)
	}
	if len(report.Scenarios) != len(attack.Names()) || !report.OK || report.PID != d.cmd.Process.Pid {
		t.Errorf("%d scenarios of %d, ok %v, process %d", len(report.Scenarios), len(attack.Names()), report.OK, report.PID)
	}
	timed := map[string]bool{"malformed": true, "huge": true, "slow": true, "silent": true, "tls": true, "websocket": true}
	for _, s := range report.Scenarios {
		for _, r := range s.Rules {
			if !r.OK || !r.Judged && (r.Name != "in time" || timed[s.Name]) {
				t.Errorf("%s: %+v", s.Name, r)
			}
		}
		if s.Skipped != "" || s.Connections == 0 || s.Good.Calls == 0 {
			t.Errorf("%s: skipped %q, %d connections, %d good calls", s.Name, s.Skipped, s.Connections, s.Good.Calls)
		}
	}

	// The same within TLS.
	report = attackOn(t, append([]string{"attack", "malformed", "websocket", "--addr", d.addr, "--ca", a.CAFile, "--duration", "500ms"}, generous...))
	if len(report.Scenarios) != 2 || !report.OK || !report.TLS {
		t.Errorf("over TLS: %+v", report)
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
}

func attackOn(t *testing.T, args []string) (report attack.Report) {
	t.Helper()
	p := launch(t, t.TempDir(), nil, args...)
	p.in.Close()
	code := p.exit()
	if err := json.Unmarshal([]byte(p.out.String()), &report); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, p.err, p.out)
	}
	for _, s := range report.Scenarios {
		if !strings.Contains(p.err.String(), s.Name+": pass, ") {
			t.Errorf("no progress of %s:\n%s", s.Name, p.err)
		}
	}
	return report
}

func TestAttackIsRefused(t *testing.T) {
	d := serveOn(t)
	for _, c := range []struct {
		args []string
		err  string
		code int
	}{
		{[]string{"--addr", "192.0.2.1:5700"}, "error: 192.0.2.1:5700: it is not on loopback", 2},
		{[]string{"--addr", "192.0.2.1:5700", "--yes-attack", "192.0.2.2:5700"}, "error: 192.0.2.1:5700 and 192.0.2.2:5700 are not the same", 2},
		{[]string{"malfromed"}, `error: scenario: there is no "malfromed"`, 2},
		{[]string{"--addr", "127.0.0.1:1"}, "hint: nothing listens there", 1},
		{[]string{"--addr", d.addr, "--login", "nonsense"}, "hint: where auth.mode is jwt", 1},
		{[]string{"--addr", d.addr, "--tls", "malformed"}, "TLS handshake: ", 1},
	} {
		out, errText, code := runHere(t, append([]string{"attack"}, c.args...)...)
		if out != "" || code != c.code || !strings.Contains(errText, c.err) {
			t.Errorf("attack %q: %q, exit code %d\n%s", c.args, out, code, errText)
		}
	}
}
