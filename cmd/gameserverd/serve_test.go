package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gameserverd/client"
)

// What the daemon prints at its start works as it stands.
func TestServeGreets(t *testing.T) {
	d := serveOn(t)
	try := d.until(d.out, `(?m)^try: (.*)$`)[1]
	words := strings.Fields(try)
	if words[0] != binary {
		t.Errorf("the line to try begins with %s, but %s was started", words[0], binary)
	}
	out, errText, code := runHere(t, words[1:]...)
	if out != "3\n" || code != 0 {
		t.Errorf("%s: %q, %q, exit code %d", try, out, errText, code)
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n"} {
		if status, body := get(t, d, path); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	if n := strings.Count(d.out.String(), "\n"); n != 3 {
		t.Errorf("standard output has %d lines:\n%s", n, d.out)
	}
	for _, line := range strings.Split(trimmed(d.err.String()), "\n") {
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  INFO  \w`).MatchString(line) {
			t.Errorf("in the log: %q", line)
		}
	}
}

func get(t *testing.T, d *daemon, path string) (int, string) {
	t.Helper()
	resp, err := (&http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + d.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestServeEndsCleanly(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		d := serveOn(t, "GAMESERVERD_LOG_FORMAT=json")
		waiting := launch(t, t.TempDir(), nil, "call", "--addr", d.addr, "--login", "dev:7", "--wait", "1h", "sum", "1", "2")
		waiting.until(waiting.out, `^3\n`)
		if code := d.stop(sig); code != 0 {
			t.Errorf("%v: exit code %d\n%s", sig, code, d.err)
		}
		d.until(d.err, `"msg":"drained","clean":true`)
		if code := waiting.exit(); code != 1 || !strings.Contains(waiting.err.String(), "error: server_shutdown: ") {
			t.Errorf("%v: a client that waits ends with %d:\n%s", sig, code, waiting.err)
		}
	}
}

// stuck starts two calls in d that cannot end: players 7 and 8 ask each other
// for a duel, and neither answers.
func stuck(t *testing.T, d *daemon) {
	t.Helper()
	ctx, cancel := background()
	t.Cleanup(cancel)
	asked, never := make(chan struct{}, 2), make(chan struct{})
	t.Cleanup(func() { close(never) })
	players := map[uint64]*client.Client{7: dial(t, d), 8: dial(t, d)}
	for uid, c := range players {
		c.Handle("duel.offer", func(*client.Request) (any, error) {
			asked <- struct{}{}
			<-never
			return nil, nil
		})
		if _, err := c.Login(ctx, fmt.Sprintf("dev:%d", uid)); err != nil {
			t.Fatal(err)
		}
	}
	for uid, c := range players {
		c.Go(ctx, "duel.challenge", nil, 15-uid)
	}
	for range players {
		select {
		case <-asked:
		case <-ctx.Done():
			t.Fatal("nobody was asked for a duel")
		}
	}
}

func dial(t *testing.T, d *daemon) *client.Client {
	t.Helper()
	ctx, cancel := background()
	defer cancel()
	c, err := client.Dial(ctx, d.addr, client.WithoutReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestServeCutsTheDrain(t *testing.T) {
	d := serveOn(t, "GAMESERVERD_SHUTDOWN_DEADLINE=300ms", "GAMESERVERD_GAME_DUEL_TIMEOUT=5m")
	stuck(t, d)
	if code := d.stop(syscall.SIGTERM); code != 3 {
		t.Fatalf("exit code %d\n%s", code, d.err)
	}
	for _, want := range []string{`call abandoned +\{"method": "duel.challenge", "uid": 8,`, `(?m)^error: the drain was cut by shutdown.deadline \(300ms\); calls not answered: 2$`} {
		if !regexp.MustCompile(want).MatchString(d.err.String()) {
			t.Errorf("the log has no %s:\n%s", want, d.err)
		}
	}
}

func TestServeEndsAtOnceAtASecondSignal(t *testing.T) {
	d := serveOn(t, "GAMESERVERD_SHUTDOWN_DEADLINE=5m", "GAMESERVERD_GAME_DUEL_TIMEOUT=5m")
	stuck(t, d)
	d.signal(syscall.SIGTERM)
	d.until(d.err, "draining")
	if status, body := get(t, d, "/readyz"); status != 503 || body != "shutting down\n" {
		t.Errorf("while draining, /readyz: %d %q", status, body)
	}
	began := time.Now()
	if code := d.stop(syscall.SIGINT); code != 130 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	if took := time.Since(began); took > deadline/2 {
		t.Errorf("it took %v", took)
	}
}

// timeout(1) signals its child, then its group: the child gets the signal twice.
func TestServeTakesAnEchoOfTheFirstSignalForOne(t *testing.T) {
	d := serveOn(t)
	d.signal(syscall.SIGTERM)
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
}

func TestServePortInUse(t *testing.T) {
	d := serveOn(t)
	for env, want := range map[string]string{
		"GAMESERVERD_LISTEN_TCP=" + d.addr:    "choose another address: GAMESERVERD_LISTEN_TCP=127.0.0.1:5701",
		"GAMESERVERD_LISTEN_ADMIN=" + d.admin: "choose another address: GAMESERVERD_LISTEN_ADMIN=127.0.0.1:5781",
	} {
		out, errText, code := runIn(t, t.TempDir(), append(append([]string{}, anywhere...), env), "serve")
		if code != 1 || !strings.Contains(errText, "address already in use") || !strings.Contains(errText, want) {
			t.Errorf("%s: exit code %d\n%s", env, code, errText)
		}
		wantNothing(t, "standard output", out)
	}
}

func TestServeBadConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(file, []byte("limits:\n  max_frame: 1\nlog:\n  level: loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errText, code := runIn(t, dir, []string{"GAMESERVERD_LOOP_COUNT=many"}, "serve", "--config", file)
	want := fmt.Sprintf(`error: the configuration has 3 problem(s):
limits.max_frame: 1 (%[1]s:2): no such key, nearest is limits.max_frame_bytes
loop.count: "many" (GAMESERVERD_LOOP_COUNT): allowed: an integer from 0 to 1024
log.level: "loud" (%[1]s:4): allowed: one of debug, info, warn, error
`, file)
	if code != 2 || errText != want {
		t.Errorf("exit code %d\n%s\nwant\n%s", code, errText, want)
	}
	wantNothing(t, "standard output", out)
	if _, errText, code := runHere(t, "serve", "--config", filepath.Join(dir, "absent.yaml")); code != 2 || !strings.Contains(errText, "no such file") {
		t.Errorf("no file: exit code %d\n%s", code, errText)
	}
	if _, errText, code := runIn(t, dir, []string{"GAMESERVERD_LISTEN_TCP=0.0.0.0:0"}, "serve"); code != 2 || !strings.Contains(errText, "while auth.mode is dev") {
		t.Errorf("dev login for everyone: exit code %d\n%s", code, errText)
	}
}

// The file beside the working folder is read without being named, and a unix
// socket serves as well.
func TestServeReadsTheUsualFile(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	if err := os.Mkdir(filepath.Join(dir, "configs"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "listen:\n  tcp: unix:" + socket + "\n  admin: \"\"\n"
	if err := os.WriteFile(filepath.Join(dir, "configs", "gameserverd.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, dir, nil, "serve")
	try := p.until(p.out, `(?m)^try: (.*)$`)[1]
	if strings.Contains(p.out.String(), "http://") {
		t.Errorf("the admin server is off, but: %s", p.out)
	}
	if out, errText, code := runHere(t, strings.Fields(try)[1:]...); out != "3\n" || code != 0 {
		t.Errorf("%s: %q, %q, %d", try, out, errText, code)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.err)
	}
}
