package loop_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// deadline is how long a test waits for what must happen; it is only ever waited out by a failing one.
const deadline = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		signalChild()
	}
	before := openFiles()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		// The runtime's own poller may have come into being meanwhile: an epoll descriptor and an eventfd.
		if after := openFiles(); after > before+2 {
			fmt.Fprintf(os.Stderr, "%d descriptors open, %d before the tests\n", after, before)
			code = 1
		}
	}
	os.Exit(code)
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}

func newLoop(t testing.TB, o loop.Options) *loop.Loop {
	t.Helper()
	l, err := loop.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(false); err != nil {
			t.Errorf("closing the loop: %v", err)
		}
	})
	return l
}

// goLoop makes a loop and runs it on a goroutine of its own until the test ends.
func goLoop(t testing.TB, o loop.Options) *loop.Loop {
	t.Helper()
	l := newLoop(t, o)
	ended := make(chan error, 1)
	go func() { ended <- l.Start() }()
	t.Cleanup(func() {
		l.Stop()
		if err := receive(t, ended, "the loop's end"); err != nil {
			t.Errorf("Start: %v", err)
		}
	})
	on(t, l, func() {}) // it runs
	return l
}

// on runs fn on a running loop and waits until it has run.
func on(t testing.TB, l *loop.Loop, fn func()) {
	t.Helper()
	ran := make(chan struct{})
	if !l.AddCallback(func() { defer close(ran); fn() }) {
		t.Fatal("the loop takes no callback")
	}
	receive(t, ran, "a callback")
}

// start runs the loop on the test's goroutine. A test that runs a loop this way stops it itself.
func start(t testing.TB, l *loop.Loop) {
	t.Helper()
	guard := time.AfterFunc(deadline, func() { panic("the loop of a test does not end") })
	defer guard.Stop()
	if err := l.Start(); err != nil {
		t.Fatalf("Start: %v", err)
	}
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("waited %v for %s", deadline, what)
		panic("unreachable")
	}
}

// seeded returns a random source whose seed is printed if the test fails.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// socketpair returns two connected, non-blocking stream sockets, which the test's end closes; see closeFD.
func socketpair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return owned(t, fds[0]), owned(t, fds[1])
}

var open sync.Map // the descriptors that a test's end closes

func owned(t testing.TB, fd int) int {
	open.Store(fd, true)
	t.Cleanup(func() { closeFD(t, fd) })
	return fd
}

// closeFD closes a descriptor of socketpair or owned before the test's end.
func closeFD(t testing.TB, fd int) {
	t.Helper()
	if _, ok := open.LoadAndDelete(fd); ok {
		if err := unix.Close(fd); err != nil {
			t.Errorf("closing %d: %v", fd, err)
		}
	}
}

func write(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Errorf("writing %q: %d, %v", s, n, err)
	}
}

func read(t testing.TB, fd int) string {
	t.Helper()
	var b [256]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		t.Errorf("reading: %v", err)
		return ""
	}
	return string(b[:n])
}

// fakeClock is moved by hand, or by fakePoller.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	reads  int
	onRead func() // called by each Now, without the lock
}

func newFakeClock() *fakeClock {
	return &fakeClock{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	now, onRead := c.now, c.onRead
	c.reads++
	c.mu.Unlock()
	if onRead != nil {
		onRead()
	}
	return now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

func (c *fakeClock) readCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

// fakePoller never blocks: a wait with a timeout moves the clock by it, and one without end means that nothing is left to do.
type fakePoller struct {
	clock *fakeClock
	waits []time.Duration                // every Wait's timeout
	idle  func()                         // called by a wait without end
	ready func(ev []unix.EpollEvent) int // called by every Wait; nil: no events
	err   error                          // returned once by the next Wait
	gens  map[int]int32                  // what was registered, by descriptor
}

func (p *fakePoller) Control(op, fd int, ev *unix.EpollEvent) error {
	if p.gens == nil {
		p.gens = make(map[int]int32)
	}
	if op == unix.EPOLL_CTL_DEL {
		delete(p.gens, fd)
	} else {
		p.gens[fd] = ev.Pad
	}
	return nil
}

func (p *fakePoller) Wait(ev []unix.EpollEvent, timeout time.Duration) (int, error) {
	p.waits = append(p.waits, timeout)
	if err := p.err; err != nil {
		p.err = nil
		return 0, err
	}
	if p.ready != nil {
		if n := p.ready(ev); n > 0 {
			return n, nil
		}
	}
	if timeout < 0 {
		p.idle()
	} else {
		p.clock.advance(timeout)
	}
	return 0, nil
}

func (p *fakePoller) Close() error { return nil }

// fakeLoop is a loop in a time of its own. It stops when nothing is left to do.
func fakeLoop(t testing.TB, o loop.Options) (*loop.Loop, *fakeClock, *fakePoller) {
	t.Helper()
	clock := newFakeClock()
	poller := &fakePoller{clock: clock}
	o.Clock, o.Poller = clock, poller
	l := newLoop(t, o)
	poller.idle = l.Stop
	return l, clock, poller
}

// watchedPoller is epoll with somebody who looks on.
type watchedPoller struct {
	loop.Poller
	before func(timeout time.Duration) // called on the loop before each wait
}

func (p *watchedPoller) Wait(ev []unix.EpollEvent, timeout time.Duration) (int, error) {
	p.before(timeout)
	return p.Poller.Wait(ev, timeout)
}

func watchWaits(t testing.TB, before func(time.Duration)) *watchedPoller {
	t.Helper()
	p, err := loop.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	return &watchedPoller{p, before}
}

// wakeUps returns how many wake-ups were written so far. It may be called once for a loop.
func wakeUps(t testing.TB, l *loop.Loop) uint64 {
	t.Helper()
	var b [8]byte
	switch _, err := unix.Read(loop.WakeFD(l), b[:]); err {
	case nil:
		return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24
	case unix.EAGAIN:
		return 0
	default:
		t.Fatal(err)
		return 0
	}
}
