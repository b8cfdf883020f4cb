package loop_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

func TestLoopHandlerIsToldOfReadAndWrite(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	var got []loop.Events
	check(t, l.AddHandler(a, loop.Read|loop.Write, loop.HandlerFunc(func(fd int, ev loop.Events) {
		if fd != a {
			t.Errorf("descriptor %d, want %d", fd, a)
		}
		got = append(got, ev)
		if len(got) == 1 {
			write(t, b, "x")
			return
		}
		l.Stop()
	})))
	start(t, l)
	// Readable while it is writeable: one call with both.
	if want := []loop.Events{loop.Write, loop.Read | loop.Write}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	l.RemoveHandler(a)
}

func TestLoopEventsAreLevelTriggered(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	write(t, b, "x")
	calls := 0
	check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(int, loop.Events) {
		if calls++; calls == 3 { // it was not read until now, and is reported again
			l.Stop()
		}
	})))
	start(t, l)
	l.RemoveHandler(a)
}

func TestLoopAddHandlerTwiceFails(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	h := &nothingHandler{}
	check(t, l.AddHandler(a, loop.Read, h))
	if err := l.AddHandler(a, loop.Write, h); !errors.Is(err, loop.ErrHandlerExists) {
		t.Errorf("second AddHandler: %v", err)
	}
	check(t, l.AddHandler(b, loop.Read, h)) // one handler, several descriptors
	l.RemoveHandler(a)
	check(t, l.AddHandler(a, loop.Read, h)) // and again after a removal
	l.RemoveHandler(a)
	l.RemoveHandler(b)
}

func TestLoopHandlerOfSeveralDescriptorsOutlivesOneOfThem(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, _ := socketpair(t)
	b, bPeer := socketpair(t)
	write(t, bPeer, "x")
	told := &toldHandler{l: l}
	check(t, l.AddHandler(a, loop.Read, told))
	check(t, l.AddHandler(b, loop.Read, told))
	l.RemoveHandler(a)
	// What is added now must not take the other's place.
	check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(int, loop.Events) { t.Error("told of another's event") })))
	start(t, l)
	if told.fd != b {
		t.Errorf("told of %d, not %d", told.fd, b)
	}
	l.RemoveHandler(a)
	l.RemoveHandler(b)
}

type toldHandler struct {
	l  *loop.Loop
	fd int
}

func (h *toldHandler) HandleEvents(fd int, _ loop.Events) { h.fd = fd; h.l.Stop() }

func TestLoopAddHandlerRefusesWhatCannotBeWatched(t *testing.T) {
	l := newLoop(t, loop.Options{})
	if err := l.AddHandler(-1, loop.Read, &nothingHandler{}); !errors.Is(err, unix.EBADF) {
		t.Errorf("-1: %v", err)
	}
	if err := l.AddHandler(1<<20-1, loop.Read, &nothingHandler{}); !errors.Is(err, unix.EBADF) {
		t.Errorf("not open: %v", err)
	}
	a, _ := socketpair(t)
	if err := l.AddHandler(a, loop.Read, nil); err == nil {
		t.Error("no handler: no error")
	}
	f, err := os.CreateTemp(t.TempDir(), "regular")
	check(t, err)
	defer f.Close()
	if err := l.AddHandler(int(f.Fd()), loop.Read, &nothingHandler{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("a regular file: %v", err)
	}
	check(t, l.AddHandler(a, loop.Read, &nothingHandler{})) // what failed has left nothing behind
	l.RemoveHandler(a)
}

func TestLoopRemoveHandlerWithoutAdd(t *testing.T) {
	l := newLoop(t, loop.Options{})
	for _, fd := range []int{-1, 0, 77, 1 << 20} {
		l.RemoveHandler(fd)
		if err := l.UpdateHandler(fd, loop.Read); !errors.Is(err, loop.ErrNoHandler) {
			t.Errorf("UpdateHandler(%d): %v", fd, err)
		}
	}
	a, _ := socketpair(t)
	check(t, l.AddHandler(a, loop.Read, &nothingHandler{}))
	closeFD(t, a)
	l.RemoveHandler(a) // closed before: late, but no harm
	l.RemoveHandler(a)
}

func TestLoopUpdateHandlerChangesInterest(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	write(t, b, "x")
	var got []loop.Events
	check(t, l.AddHandler(a, loop.Write, loop.HandlerFunc(func(_ int, ev loop.Events) {
		got = append(got, ev)
		switch len(got) {
		case 1:
			check(t, l.UpdateHandler(a, loop.Read))
		case 2:
			check(t, l.UpdateHandler(a, 0)) // still readable, and not told
			l.CallLater(time.Millisecond, l.Stop)
		}
	})))
	start(t, l)
	if want := []loop.Events{loop.Write, loop.Read}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	l.RemoveHandler(a)
}

// bothReadable is two descriptors whose events come in one batch. do is called by whichever is reported first, with the other.
func bothReadable(t *testing.T, l *loop.Loop, do func(other, otherPeer int)) (reported *[]int) {
	t.Helper()
	a, aPeer := socketpair(t)
	b, bPeer := socketpair(t)
	write(t, aPeer, "x")
	write(t, bPeer, "x")
	reported = new([]int)
	h := loop.HandlerFunc(func(fd int, _ loop.Events) {
		*reported = append(*reported, fd)
		l.RemoveHandler(fd)
		if len(*reported) > 1 {
			return
		}
		// A last look at the same batch, then the end.
		l.AddCallback(l.Stop)
		if fd == a {
			do(b, bPeer)
		} else {
			do(a, aPeer)
		}
	})
	check(t, l.AddHandler(a, loop.Read, h))
	check(t, l.AddHandler(b, loop.Read, h))
	return reported
}

func TestLoopRemoveHandlerFromHandlerDropsThePendingEvent(t *testing.T) {
	l := newLoop(t, loop.Options{})
	reported := bothReadable(t, l, func(other, _ int) { l.RemoveHandler(other) })
	start(t, l)
	if len(*reported) != 1 {
		t.Errorf("%d events reported, one of them of a removed handler", len(*reported))
	}
}

func TestLoopBatchIsReportedWhole(t *testing.T) {
	// The control of its neighbours: with nothing removed, both events do come in one batch.
	l := newLoop(t, loop.Options{})
	reported := bothReadable(t, l, func(int, int) {})
	start(t, l)
	if len(*reported) != 2 {
		t.Errorf("%d events reported, want 2", len(*reported))
	}
}

func TestLoopStaleEventDoesNotReachAReusedDescriptor(t *testing.T) {
	l := newLoop(t, loop.Options{})
	var reused int
	reported := bothReadable(t, l, func(other, _ int) {
		// The other one is closed, and its number is given to a socket with nothing to read, which gets a handler at once.
		l.RemoveHandler(other)
		c, _ := socketpair(t)
		check(t, unix.Dup3(c, other, unix.O_CLOEXEC))
		reused = other
		check(t, l.AddHandler(other, loop.Read, loop.HandlerFunc(func(int, loop.Events) {
			t.Error("the event of the closed descriptor was reported to its successor")
		})))
	})
	start(t, l)
	if len(*reported) != 1 {
		t.Errorf("%d events reported, want 1", len(*reported))
	}
	l.RemoveHandler(reused)
}

func TestLoopUpdateHandlerDropsWhatIsNoLongerAsked(t *testing.T) {
	l := newLoop(t, loop.Options{})
	var paused int
	reported := bothReadable(t, l, func(other, _ int) {
		check(t, l.UpdateHandler(other, 0))
		paused = other
	})
	start(t, l)
	if len(*reported) != 1 {
		t.Errorf("%d events reported, one of them of a handler that no longer asks for it", len(*reported))
	}
	l.RemoveHandler(paused)
}

func TestLoopHangupWithNothingAskedForIsReported(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	var got []loop.Events
	check(t, l.AddHandler(a, 0, loop.HandlerFunc(func(fd int, ev loop.Events) {
		got = append(got, ev)
		l.RemoveHandler(fd)
		l.Stop()
	})))
	l.AddCallback(func() { closeFD(t, b) })
	start(t, l)
	if len(got) != 1 || got[0]&loop.Error == 0 {
		t.Errorf("got %v, want one with Error", got)
	}
}

func TestLoopErrorWithNothingAskedForIsReported(t *testing.T) {
	// The read end of a pipe is closed: the write end has EPOLLERR.
	l := newLoop(t, loop.Options{})
	var p [2]int
	check(t, unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	owned(t, p[0])
	owned(t, p[1])
	calls := 0
	check(t, l.AddHandler(p[1], 0, loop.HandlerFunc(func(fd int, ev loop.Events) {
		calls++
		if ev != unix.EPOLLERR {
			t.Errorf("got %#x", ev)
		}
		l.RemoveHandler(fd)
		l.AddCallback(l.Stop)
	})))
	closeFD(t, p[0])
	start(t, l)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestLoopHalfCloseIsReportedAsHangup(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	check(t, unix.Shutdown(b, unix.SHUT_WR))
	check(t, l.AddHandler(a, loop.Hangup, loop.HandlerFunc(func(fd int, ev loop.Events) {
		if ev != loop.Hangup {
			t.Errorf("got %#x", ev)
		}
		l.Stop()
	})))
	start(t, l)
	l.RemoveHandler(a)
}

func TestLoopHandlersMayAddAndRemoveHandlers(t *testing.T) {
	// Each handler opens the next connection, removes its own, and moves on: a table that grows under the feet of its reader.
	l := newLoop(t, loop.Options{})
	const depth = 300
	n := 0
	var next func()
	next = func() {
		if n++; n == depth {
			l.Stop()
			return
		}
		a, b := socketpair(t)
		write(t, b, "x")
		check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(fd int, _ loop.Events) {
			if got := read(t, fd); got != "x" {
				t.Errorf("read %q", got)
			}
			next()
			l.RemoveHandler(fd)
		})))
	}
	l.AddCallback(next)
	start(t, l)
}

func TestLoopReportsMoreEventsThanTheArrayHolds(t *testing.T) {
	l := newLoop(t, loop.Options{})
	const n = 1500
	seen := make(map[int]bool)
	var h loop.HandlerFunc = func(fd int, _ loop.Events) {
		seen[fd] = true
		l.RemoveHandler(fd)
		if len(seen) == n {
			l.Stop()
		}
	}
	for range n {
		fd, err := unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		check(t, err)
		check(t, l.AddHandler(owned(t, fd), loop.Read, h))
	}
	turns := 0
	l.BeforeWait(func() { turns++ })
	start(t, l)
	if turns > 6 { // 256, 512, 732 and one to stop in; 1500/256 would be six and one
		t.Errorf("took %d turns: the array does not grow", turns)
	}
}

func TestLoopLooksBeforeItBlocksAfterFewEvents(t *testing.T) {
	for n, look := range map[int]bool{1: true, 8: true, 9: false, 0: false} {
		l, _, poller := fakeLoop(t, loop.Options{})
		for i := range 10 {
			check(t, l.AddHandler(1000+i, loop.Read, &nothingHandler{}))
		}
		poller.ready = func(ev []unix.EpollEvent) int {
			poller.ready = nil
			for i := range n {
				ev[i] = unix.EpollEvent{Fd: int32(1000 + i), Events: unix.EPOLLIN}
			}
			return n
		}
		start(t, l)
		want := []time.Duration{-1, -1}
		switch {
		case n == 0:
			want = want[:1]
		case look:
			want = []time.Duration{-1, 0, -1}
		}
		if !slices.Equal(poller.waits, want) {
			t.Errorf("%d events: waits %v, want %v", n, poller.waits, want)
		}
	}
}

// countingPoller is epoll that counts how often it is told something.
type countingPoller struct {
	loop.Poller
	controls int
}

func (p *countingPoller) Control(op, fd int, ev *unix.EpollEvent) error {
	p.controls++
	return p.Poller.Control(op, fd, ev)
}

func TestLoopUpdateHandlerWithTheSameInterestIsFree(t *testing.T) {
	inner, err := loop.NewEpoll()
	check(t, err)
	p := &countingPoller{Poller: inner}
	l := newLoop(t, loop.Options{Poller: p})
	a, _ := socketpair(t)
	check(t, l.AddHandler(a, loop.Read, &nothingHandler{}))
	before := p.controls
	for range 10 {
		check(t, l.UpdateHandler(a, loop.Read))
	}
	if p.controls != before {
		t.Errorf("%d system calls for nothing", p.controls-before)
	}
	check(t, l.UpdateHandler(a, loop.Read|loop.Write))
	if p.controls != before+1 {
		t.Errorf("%d system calls for one change", p.controls-before)
	}
	l.RemoveHandler(a)
}

func TestLoopInterruptedWaitIsNoError(t *testing.T) {
	l, _, poller := fakeLoop(t, loop.Options{})
	poller.err = unix.EINTR
	ran := false
	l.CallLater(time.Second, func() { ran = true })
	start(t, l)
	if !ran {
		t.Error("the timer did not run after an interrupted wait")
	}
}

func TestLoopStartReturnsTheErrorThatMakesWaitingImpossible(t *testing.T) {
	l, _, poller := fakeLoop(t, loop.Options{Name: "broken"})
	poller.err = unix.EBADF
	err := l.Start()
	if !errors.Is(err, unix.EBADF) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v", err)
	}
	start(t, l) // it may be started again
}

// TestLoopHandlersStress adds, updates and removes handlers of many descriptors at random from within handlers, closes and reuses
// numbers all the time, and checks that each registration hears only of its own descriptor.
func TestLoopHandlersStress(t *testing.T) {
	rnd := seeded(t)
	l := newLoop(t, loop.Options{})
	type peer struct {
		near, far int
		sent      int // bytes written to far and not read from near
		dead      bool
	}
	var live []*peer
	steps := 10_000
	var open func()
	kill := func(p *peer) {
		p.dead = true
		l.RemoveHandler(p.near)
		check(t, unix.Close(p.near))
		check(t, unix.Close(p.far))
		live = slices.DeleteFunc(live, func(q *peer) bool { return q == p })
	}
	poke := func(p *peer) {
		p.sent++
		write(t, p.far, "x")
	}
	open = func() {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		check(t, err)
		p := &peer{near: fds[0], far: fds[1]}
		live = append(live, p)
		check(t, l.AddHandler(p.near, loop.Read, loop.HandlerFunc(func(fd int, ev loop.Events) {
			switch {
			case p.dead:
				t.Errorf("event for a handler that was removed")
			case fd != p.near:
				t.Errorf("descriptor %d, want %d", fd, p.near)
			case ev&loop.Read != 0 && p.sent == 0:
				t.Errorf("readable with nothing sent: somebody else's event")
			}
			if steps--; steps <= 0 {
				l.Stop()
				return
			}
			switch rnd.IntN(6) {
			case 0:
				kill(p)
				open()
			case 1:
				kill(live[rnd.IntN(len(live))])
				open()
			case 2:
				q := live[rnd.IntN(len(live))]
				check(t, l.UpdateHandler(q.near, 0))
				l.AddCallback(func() {
					if !q.dead {
						check(t, l.UpdateHandler(q.near, loop.Read))
					}
				})
			default:
				p.sent -= len(read(t, fd))
				poke(live[rnd.IntN(len(live))])
			}
			poke(live[rnd.IntN(len(live))])
		})))
	}
	for range 50 {
		open()
	}
	for _, p := range live {
		poke(p)
	}
	start(t, l)
	for len(live) > 0 {
		kill(live[0])
	}
}
