package crashtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gameserverd/internal/storetest"

	// The daemon is built by TestMain, which the test cache does not see; these make its packages inputs of the tests.
	_ "gameserverd/internal/cli"
	_ "gameserverd/internal/server"
)

// deadline is how long a test waits for what must happen; only a failing one waits it out.
const deadline = 60 * time.Second

// binary is gameserverd, built once with the race detector.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := storetest.Folder("binary")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "gameserverd")
	build := exec.Command("go", "build", "-race", "-tags", "invariants", "-o", binary, "gameserverd/cmd/gameserverd")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return 1
	}
	code := m.Run()
	for _, err := range []error{storetest.Shutdown(), goleak.Find()} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// output is what a process has written. Any goroutine.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // one value after each write
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

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

// installation is where a daemon has its data, and how it is configured; daemons come and go on it.
type installation struct {
	t   *testing.T
	dir string   // working folder; data_dir is in it
	env []string // beside what all have

	logs strings.Builder // of all its daemons so far
}

func newInstallation(t *testing.T, env ...string) *installation {
	return &installation{t: t, dir: t.TempDir(), env: append([]string{
		"HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0 halt_on_error=1",
		"GAMESERVERD_LISTEN_TCP=127.0.0.1:0", "GAMESERVERD_LISTEN_ADMIN=127.0.0.1:0", "GAMESERVERD_LIMITS_MAX_CONNECTIONS=1000",
		"GAMESERVERD_LOG_FORMAT=json", shopEnv,
	}, env...)}
}

// daemon is a gameserverd serve, until it is killed.
type daemon struct {
	in    *installation
	cmd   *exec.Cmd
	out   *output // standard output
	log   *output // standard error
	ended chan struct{}
	addr  string // for clients

	killed atomic.Bool // set before it is killed
}

// start starts a daemon and returns at once.
func (in *installation) start() *daemon {
	in.t.Helper()
	return in.launch("serve")
}

// work starts a worker and waits until it takes tasks.
func (in *installation) work() *daemon {
	in.t.Helper()
	d := in.launch("worker")
	d.until(d.log, `("msg":"working")`)
	return d
}

// launch starts a subcommand that goes on until it is killed.
func (in *installation) launch(subcommand string) *daemon {
	in.t.Helper()
	d := &daemon{in: in, cmd: exec.Command(binary, subcommand), out: newOutput(), log: newOutput(), ended: make(chan struct{})}
	d.cmd.Dir, d.cmd.Env = in.dir, in.env
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.log
	if err := storetest.StartChild(d.cmd); err != nil {
		in.t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // killed, or the log says why
		close(d.ended)
	}()
	return d
}

// serve starts a daemon and waits until it serves.
func (in *installation) serve() *daemon {
	in.t.Helper()
	d := in.start()
	d.addr = d.until(d.out, `(?m)^gameserverd \S+ listens on (\S+)$`)
	d.until(d.log, `("msg":"serving")`)
	return d
}

// until waits until o has a match of the pattern and returns its first group.
func (d *daemon) until(o *output, pattern string) string {
	d.in.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.NewTimer(deadline)
	defer late.Stop()
	for {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m[1]
		}
		select {
		case <-o.changed:
		case <-d.ended:
			d.in.t.Fatalf("the daemon ended without printing %q, but\n%s\nand\n%s", pattern, d.out, d.log)
		case <-late.C:
			d.in.t.Fatalf("the daemon did not print %q, but\n%s\nand\n%s", pattern, d.out, d.log)
		}
	}
}

// kill ends the daemon with SIGKILL, and fails the test if it had ended by itself.
func (d *daemon) kill() {
	d.in.t.Helper()
	select {
	case <-d.ended:
		d.in.t.Errorf("the daemon had ended by itself: %v; it printed\n%s", d.cmd.ProcessState, d.log)
	default:
	}
	d.killed.Store(true)
	_ = d.cmd.Process.Kill() // it may have ended just now
	<-d.ended
	text := d.log.String()
	d.in.logs.WriteString(text)
	for _, bad := range []string{"DATA RACE", "panic: ", `"level":"error"`, `"level":"fatal"`} {
		if strings.Contains(text, bad) {
			d.in.t.Errorf("the daemon's log has %q:\n%s", bad, text)
		}
	}
}
