// Package browser has the tests that look at the console with a real browser: Chromium,
// driven by console.mjs through playwright-core. What the page looks like is not held
// here; GAMESERVERD_SHOTS=folder keeps pictures to be looked at.
package browser

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/internal/storetest"
)

const token = "a-token-for-the-browser-test"

// daemon is the built one, on addresses that stay the same when it is started again.
type daemon struct {
	t           *testing.T
	binary, dir string
	tcp, admin  string
	cmd         *exec.Cmd
}

// build makes the daemon as it ships.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gameserverd")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "gameserverd/cmd/gameserverd") // what make build has in the cache
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func serve(t *testing.T, binary string, more ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, binary: binary, dir: t.TempDir(), tcp: free(t), admin: free(t)}
	d.start(more...)
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) start(more ...string) {
	d.t.Helper()
	d.cmd = exec.Command(d.binary, "serve")
	d.cmd.Dir = d.dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GAMESERVERD_") { // those of the tests are no settings
			d.cmd.Env = append(d.cmd.Env, v)
		}
	}
	d.cmd.Env = append(append(d.cmd.Env, "GAMESERVERD_LISTEN_TCP="+d.tcp, "GAMESERVERD_LISTEN_ADMIN="+d.admin, "GAMESERVERD_SHUTDOWN_DEADLINE=2s"), more...)
	log, err := os.OpenFile(filepath.Join(d.dir, "stderr"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.cmd.Stderr = log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ready := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for over := time.Now().Add(30 * time.Second); ; <-tick.C {
		resp, err := ready.Get("http://" + d.admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(over) {
			b, _ := os.ReadFile(filepath.Join(d.dir, "stderr"))
			d.t.Fatalf("it is never ready: %v\n%s", err, b)
		}
	}
}

func (d *daemon) stop() {
	if d.cmd != nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		_ = d.cmd.Wait()
		d.cmd = nil
	}
}

// players log in and call until ctx ends; they come back after a restart.
func players(ctx context.Context, t *testing.T, addr string, n int) *sync.WaitGroup {
	t.Helper()
	var running sync.WaitGroup
	for i := range n {
		c, err := client.Dial(ctx, addr, client.WithBackoff(50*time.Millisecond, 200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Login(ctx, fmt.Sprint("dev:", 100+i)); err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			defer c.Close()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				// Errors are what is to be seen, too: of the restart, and of keys that are not there.
				_ = c.Call(ctx, "player.get", nil)
				if i%3 == 0 {
					_ = c.Call(ctx, "save.get", nil, "nothing")
				}
				if i%5 == 0 {
					_ = c.Call(ctx, "save.put", nil, "slot", i)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return &running
}

func TestTheConsoleInChromium(t *testing.T) {
	chromium, node := storetest.Program(t, "chromium"), storetest.Program(t, "node")
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		storetest.Program(t, "npm")
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, "npm", "ci", "--no-progress").CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	binary := build(t)
	open := serve(t, binary)
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := serve(t, binary, "GAMESERVERD_ADMIN_TOKEN_FILE="+tokenFile)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	load, endLoad := context.WithCancel(ctx)
	running := players(load, t, open.tcp, 20)
	defer running.Wait()
	defer endLoad()
	one, err := client.Dial(ctx, open.tcp, client.WithoutReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if _, err := one.Login(ctx, "dev:777"); err != nil {
		t.Fatal(err)
	}
	if err := one.Call(ctx, "shop.buy", nil, "sword", 1000); err == nil {
		t.Fatal("a thousand swords were bought")
	}
	heard := make(chan string, 1)
	client.On(one, "sys.notice", func(_ context.Context, m struct{ Text string }) { heard <- m.Text })

	script := exec.CommandContext(ctx, node, "console.mjs", chromium, "http://"+open.admin, "http://"+locked.admin, token, os.Getenv("GAMESERVERD_SHOTS"))
	script.Stderr = os.Stderr
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	for scan := bufio.NewScanner(out); scan.Scan(); {
		switch line := scan.Text(); line {
		case "@call": // player 777 does something
			_ = one.Call(ctx, "save.put", nil, "traced", "hello") // the page shows whether it did
		case "@stop":
			open.stop()
			fmt.Fprintln(in, "stopped")
		case "@start":
			open.start()
		default:
			t.Log(line)
		}
	}
	if err := script.Wait(); err != nil {
		t.Fatalf("console.mjs: %v", err)
	}
	select {
	case text := <-heard:
		if text != "hello from the console" {
			t.Errorf("the player has read %q", text)
		}
	default:
		t.Error("no message came to the player")
	}
	if err := one.Err(); err == nil || !strings.Contains(err.Error(), "kicked") {
		t.Errorf("the player was told %v", err)
	}
	audit, err := os.ReadFile(filepath.Join(open.dir, "data", "audit.log"))
	for _, act := range []string{"kick", "message", "trace", "call"} {
		if !strings.Contains(string(audit), fmt.Sprintf("%q:%q", "action", act)) {
			t.Errorf("the audit log lacks %s: %v", act, err)
		}
	}
}
