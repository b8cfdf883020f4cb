package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gameserverd/internal/storetest"
)

// binary is gameserverd, built once by TestMain with the race detector: a race
// makes it exit with 66, which no test expects.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gameserverd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gameserverd")
	build := exec.Command("go", "build", "-race", "-tags", "invariants", "-ldflags", "-X main.version=v0.0.0-test", "-o", binary, ".")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return 1
	}
	code := m.Run()
	if err := storetest.Shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// deadline is how long a test waits for what must happen.
const deadline = 30 * time.Second

// output is what a process has written so far. Any goroutine.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // one value after each write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a gameserverd that runs.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	in       io.WriteCloser
	out, err *output
	ended    chan struct{}
	name     string // of a worker
}

// launch starts the binary in the folder dir with exactly the environment env
// and a home.
func launch(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	return launchCmd(t, dir, env, exec.Command(binary, args...))
}

// launchCmd is launch for a command that starts the binary its own way.
func launchCmd(t *testing.T, dir string, env []string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{
		t: t, cmd: cmd, ended: make(chan struct{}),
		out: &output{changed: make(chan struct{}, 1)}, err: &output{changed: make(chan struct{}, 1)},
	}
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is read from its state
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended in most tests
		<-p.ended
	})
	return p
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(deadline):
		p.t.Fatalf("%v did not end; it printed\n%s\nand\n%s", p.cmd.Args[1:], p.out, p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// until waits until o has a match of the pattern and returns the match.
func (p *process) until(o *output, pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(deadline)
	for {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m
		}
		select {
		case <-o.changed:
		case <-p.ended:
			if m := re.FindStringSubmatch(o.String()); m != nil {
				return m
			}
			p.t.Fatalf("%v ended with %d without printing %q, but\n%s\nand\n%s", p.cmd.Args[1:], p.exit(), pattern, p.out, p.err)
		case <-late:
			p.t.Fatalf("%v did not print %q, but\n%s\nand\n%s", p.cmd.Args[1:], pattern, p.out, p.err)
		}
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// runHere runs the binary to its end, in an empty folder and without input.
func runHere(t *testing.T, args ...string) (out, err string, code int) {
	t.Helper()
	return runIn(t, t.TempDir(), nil, args...)
}

func runIn(t *testing.T, dir string, env []string, args ...string) (out, err string, code int) {
	t.Helper()
	p := launch(t, dir, env, args...)
	p.in.Close()
	code = p.exit()
	return p.out.String(), p.err.String(), code
}

// daemon is a gameserverd serve that is ready.
type daemon struct {
	*process
	addr, admin string
}

// anywhere lets a daemon listen where nothing else does.
var anywhere = []string{"GAMESERVERD_LISTEN_TCP=127.0.0.1:0", "GAMESERVERD_LISTEN_ADMIN=127.0.0.1:0"}

func serveOn(t *testing.T, env ...string) *daemon {
	t.Helper()
	return serveIn(t, t.TempDir(), env...)
}

// serveIn is serveOn with the data of a folder.
func serveIn(t *testing.T, dir string, env ...string) *daemon {
	t.Helper()
	p := launch(t, dir, append(append([]string{}, anywhere...), env...), "serve")
	d := &daemon{process: p}
	d.addr = p.until(p.out, `(?m)^gameserverd \S+ listens on (\S+)$`)[1]
	d.admin = p.until(p.out, `(?m)^console, metrics and health: http://(\S+)/$`)[1]
	p.until(p.err, "serving")
	return d
}

// call runs `gameserverd call` against the daemon.
func (d *daemon) call(args ...string) (out, err string, code int) {
	d.t.Helper()
	return runHere(d.t, append([]string{"call", "--addr", d.addr}, args...)...)
}

// stop ends the daemon with the signal and returns the exit code.
func (d *daemon) stop(sig syscall.Signal) int {
	d.t.Helper()
	d.signal(sig)
	return d.exit()
}

func background() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), deadline)
}

// wantNothing fails the test when a stream that must stay empty is not.
func wantNothing(t *testing.T, what, got string) {
	t.Helper()
	if got != "" {
		t.Errorf("%s has %q", what, got)
	}
}

func trimmed(s string) string { return strings.TrimSpace(s) }
