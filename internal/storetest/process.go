package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout is how long a server may take until it answers; a loaded machine with two CPUs took 2 s.
	startTimeout = 60 * time.Second
	// pollEvery is the pause between two looks at something that cannot be waited for otherwise.
	pollEvery = 5 * time.Millisecond
	// startTries is how often another port is tried when a server ended at once: somebody else may have taken its port
	// between the look and the bind.
	startTries = 5
)

// process is a server's process: started, killed and started again on one folder, port and socket. Any goroutine.
type process struct {
	// immutable after launch
	name   string
	folder string // all that the server writes is below it
	socket string
	log    string // the path of what it prints
	args   func(addr string) []string
	ready  func(ctx context.Context, socket string) error // nil error: it answers

	mu     sync.Mutex
	addr   string // 127.0.0.1:port
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended and was waited for
}

// processes are all that were launched and not closed.
var processes struct {
	mu  sync.Mutex
	all map[*process]bool
}

// Shutdown kills and removes every server of this test binary. Main calls it; only a TestMain that cannot use Main does
// so itself, before it looks for leaks. Any goroutine.
func Shutdown() error {
	processes.mu.Lock()
	all := processes.all
	processes.all = nil
	processes.mu.Unlock()
	for p := range all {
		p.kill()
	}
	shared.forget()
	dismiss()
	return closeRun()
}

// launch starts the server on a free port and waits until it answers.
func (p *process) launch() error {
	for try := 1; ; try++ {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		p.addr = addr
		err = p.start()
		if err == nil {
			break
		}
		if !errors.Is(err, errEnded) || try == startTries {
			return err
		}
	}
	processes.mu.Lock()
	defer processes.mu.Unlock()
	if processes.all == nil {
		processes.all = map[*process]bool{}
	}
	processes.all[p] = true
	return nil
}

var errEnded = errors.New("ended while starting")

// start starts the server, unless it runs, where it was before and waits until it answers.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := p.args(p.addr)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.folder, log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	if err := StartChild(cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, or the log says why
		close(exited)
	}()
	p.cmd, p.exited = cmd, exited
	if err := p.await(); err != nil {
		p.killLocked()
		return fmt.Errorf("%s on %s: %w; its log ends with\n%s", p.name, p.addr, err, tail(p.log))
	}
	return nil
}

// await waits until the server answers.
func (p *process) await() error {
	var last error
	err := until(func(ctx context.Context) (bool, error) {
		select {
		case <-p.exited:
			return false, errEnded
		default:
		}
		last = p.ready(ctx, p.socket)
		return last == nil, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("did not answer within %v: %w", startTimeout, last)
	}
	return err
}

// until asks done again and again, until it says true or fails or startTimeout has passed.
func until(done func(ctx context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// kill ends the server with SIGKILL, also a stalled one, and returns when it is gone. It may be gone already.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked()
}

func (p *process) killLocked() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.exited
	p.cmd = nil
}

// close kills the server and removes its folder.
func (p *process) close() error {
	p.kill()
	processes.mu.Lock()
	delete(processes.all, p)
	processes.mu.Unlock()
	return os.RemoveAll(p.folder)
}

// stall stops the process and returns when none of its threads runs any more: the signal alone says nothing of that.
func (p *process) stall() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.signalLocked(syscall.SIGSTOP); err != nil {
		return err
	}
	err := until(func(context.Context) (bool, error) { return allStopped(p.cmd.Process.Pid) })
	if err != nil {
		return fmt.Errorf("stalling %s: %w", p.name, err)
	}
	return nil
}

func (p *process) resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signalLocked(syscall.SIGCONT)
}

func (p *process) signalLocked(sig syscall.Signal) error {
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	return p.cmd.Process.Signal(sig)
}

// allStopped says whether every thread of the process is in state T.
func allStopped(pid int) (bool, error) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		return false, fmt.Errorf("process %d has no threads: %w", pid, os.ErrNotExist)
	}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // that thread has ended
		}
		if err != nil {
			return false, err
		}
		// "pid (name) state ...", where the name may hold anything.
		_, rest, _ := strings.Cut(string(b)[strings.LastIndexByte(string(b), ')')+1:], " ")
		if !strings.HasPrefix(rest, "T") {
			return false, nil
		}
	}
	return true, nil
}

// freeAddr returns an address of 127.0.0.1 that nobody listens on. The port lies below those that the kernel gives to
// outgoing connections: while a killed server is away, a client that tries again and again to connect to a port of that
// range ends up connected to itself, and the server cannot come back.
func freeAddr() (string, error) {
	const lowest = 10000
	above := 32768
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if low, err := strconv.Atoi(strings.Fields(string(b))[0]); err == nil && low > lowest+1000 {
			above = low
		}
	}
	var err error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(above-lowest)))
		var ln net.Listener
		if ln, err = net.Listen("tcp", addr); err == nil {
			return addr, ln.Close()
		}
	}
	return "", fmt.Errorf("no free port: %w", err)
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
