package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gameserverd/internal/conn"
	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

// maxDials is how many connections of one loop are opened or logged in at a time.
const maxDials = 64

// worker drives the connections of one loop. It is their conn.Handler.
type worker struct {
	// immutable after newWorker
	loop   *loop.Loop
	set    *conn.Set
	dial   func() *future.Future[uint64] // opens a connection of set
	target target
	depth  int
	token  func(at int) string // of the login of session at; nil: none
	clock  func() int64        // ns since the run began
	tls    *tls.Config         // nil: plain
	poke   func()              // tells the run that something it waits for may have happened
	budget *atomic.Int64       // calls of the window that may still begin, of all workers; nil: no limit

	dialing context.Context // of all handshakes

	// any goroutine
	shaking sync.WaitGroup // handshakes under way

	// loop only
	sessions []session
	at       []int32          // by connection slot: the session, none if it has none
	early    map[uint64]error // connections that ended before their dial was done
	dialed   int              // sessions that were begun
	settled  int              // sessions that are or were ready, or never will be
	ready    int              // sessions that may call
	live     int              // calls outstanding
	issuing  bool             // calls may begin
	ending   bool             // connections are closed by us
	in       intake
	out      []byte // for one write; reused
	failed   map[string]int
	closed   map[string]int
	secure   string // what the first handshake agreed on
	why      error  // the first of TLS
	scratch  []byte // for what TLS opens; nil: not needed yet

	// loop only, with a rate
	open  bool // calls begin when they are due, not when others end
	pacer pacer
	turn  rotation
	timer *alarm
}

// none is the session of a connection slot that has none.
const none = -1

// dialMore opens connections until maxDials are under way. Loop only.
func (w *worker) dialMore() {
	for w.dialed < len(w.sessions) && w.dialed-w.settled < maxDials && !w.ending {
		at := w.dialed
		w.dialed++
		loop.AddFuture(w.loop, w.dial(), func(id uint64, err error) {
			if err == nil {
				err = w.early[id]
				delete(w.early, id)
			} else {
				err = dialProblem(err)
			}
			if err != nil {
				w.sessions[at].reason = closeProblem(err)
				w.fail(at)
				return
			}
			w.opened(at, id)
		})
	}
}

// Opened implements conn.Handler: nothing is read before the dial is done and the connection has a session. Loop only.
func (w *worker) Opened(id uint64) {
	for int(conn.Slot(id)) >= len(w.at) {
		w.at = append(w.at, none)
	}
	w.set.Pause(id)
}

func (w *worker) opened(at int, id uint64) {
	s := &w.sessions[at]
	s.id = id
	w.at[conn.Slot(id)] = int32(at)
	w.set.Resume(id)
	if w.tls != nil {
		w.shake(at)
		return
	}
	w.begin(at)
}

// begin logs in, if that is asked for, on a connection that is there.
func (w *worker) begin(at int) {
	s := &w.sessions[at]
	if w.token == nil {
		s.state = ready
		w.settle()
		return
	}
	w.out = s.login(w.out[:0], w.token(at))
	w.write(s, w.out)
}

// settle counts a session that has become ready.
func (w *worker) settle() {
	w.ready++
	w.settled++
	w.next()
}

// fail counts a session that will never be ready.
func (w *worker) fail(at int) {
	s := &w.sessions[at]
	s.state = closed
	w.failed[s.reason]++
	w.settled++
	w.next()
}

func (w *worker) next() {
	w.dialMore()
	if w.settled == len(w.sessions) {
		w.poke()
	}
}

// start lets calls begin: at once, or with a rate above 0 when they are due from first on. Loop only.
func (w *worker) start(win window, p *pacer) {
	w.in.window = win
	w.issuing = true
	if p == nil {
		for at := range w.sessions {
			w.fill(&w.sessions[at], w.clock(), 0)
		}
		return
	}
	w.open, w.pacer, w.turn = true, *p, newRotation(len(w.sessions))
	for at := range w.sessions {
		if w.sessions[at].state == ready {
			w.turn.push(int32(at))
		}
	}
	w.pump(w.clock())
}

// stop ends the window at until; calls that were due by then and found this loop busy begin late. Loop only.
func (w *worker) stop(until int64) {
	w.in.window.until = min(w.in.window.until, until)
	if w.open {
		w.pump(until)
	}
	w.issuing = false
	w.idle()
}

// may reports whether a call may begin at, or is due at, now, and takes it from the budget.
func (w *worker) may(now int64) bool {
	if !w.issuing || now >= w.in.window.until {
		w.issuing = false
		return false
	}
	if w.budget == nil || now < w.in.window.from {
		return true
	}
	left := w.budget.Add(-1)
	w.issuing = left > 0
	return left >= 0
}

// fill brings a session up to its depth and sends that behind the first n bytes of w.out.
func (w *worker) fill(s *session, now int64, n int) {
	out := w.out[:n]
	for s.state == ready && s.calls.room() && w.may(now) {
		out = s.call(out, &w.target, now)
		w.live++
	}
	w.out = out
	if len(out) > 0 {
		w.write(s, out)
	}
}

// pump begins the calls that are due, as far as there is room for them, and sets the timer for the next.
func (w *worker) pump(now int64) {
	for w.issuing && w.pacer.next() <= now {
		at, ok := w.turn.pop()
		if !ok {
			return // the next answer makes room
		}
		s := &w.sessions[at]
		if s.state != ready || !s.calls.room() {
			continue
		}
		if !w.may(w.pacer.next()) {
			break
		}
		w.out = s.call(w.out[:0], &w.target, w.pacer.take())
		w.live++
		w.write(s, w.out)
		if s.calls.room() {
			w.turn.push(at)
		}
	}
	if !w.issuing {
		w.idle()
		return
	}
	if w.turn.n > 0 {
		w.timer.set(time.Duration(w.pacer.next() - now))
	}
}

// idle tells the run when nothing is left to wait for.
func (w *worker) idle() {
	if !w.issuing && w.live == 0 {
		w.poke()
	}
}

// Data implements conn.Handler. Loop only.
func (w *worker) Data(id uint64, b []byte) int {
	if s := &w.sessions[w.at[conn.Slot(id)]]; s.layer != nil {
		w.opaque(id, s, b)
		return len(b)
	}
	return w.plain(id, b)
}

// plain takes the messages in b, and returns how many bytes they are.
func (w *worker) plain(id uint64, b []byte) int {
	now := w.clock()
	at := w.at[conn.Slot(id)]
	s := &w.sessions[at]
	was, live := s.state, s.calls.live
	n, out, err := s.take(b, now, &w.in, w.out[:0])
	w.out = out
	w.live += int(s.calls.live - live)
	if err != nil {
		s.reason = "protocol error: " + err.Error()
		w.set.Close(id, conn.Local, err)
		return len(b)
	}
	switch {
	case s.state == ready && was == loggingIn:
		w.settle()
	case s.state == closed && was == loggingIn:
		s.state = loggingIn // until Closed
		w.set.Shutdown(id, conn.Local)
	}
	if !w.open {
		w.fill(s, now, len(out))
	} else {
		if len(out) > 0 {
			w.write(s, out)
		}
		if s.calls.room() && s.state == ready {
			w.turn.push(at)
		}
		w.pump(now)
	}
	w.idle()
	return n
}

// EOF implements conn.Handler: what is outstanding will not be answered. Loop only.
func (w *worker) EOF(id uint64) {
	w.set.Close(id, conn.PeerClosed, nil)
}

// Closed implements conn.Handler. Loop only.
func (w *worker) Closed(id uint64, err error) {
	slot := conn.Slot(id)
	if w.at[slot] == none {
		w.early[id] = err
		return
	}
	at := int(w.at[slot])
	w.at[slot] = none
	s := &w.sessions[at]
	if s.reason == "" && (s.layer == nil || s.state != dialing) {
		s.reason = closeProblem(err)
	}
	if w.ending {
		return
	}
	if s.layer != nil {
		s.layer.closed = true
		s.layer.end(io.EOF)
		if s.state == dialing {
			if s.reason != "" { // the handshake has failed
				w.fail(at)
			}
			return // secured says how it ended
		}
	}
	w.live -= int(s.calls.live)
	w.in.lost += s.calls.within(w.in.window)
	s.calls = newOutstanding(w.depth)
	if s.state != ready {
		w.fail(at)
		return
	}
	s.state = closed
	w.closed[s.reason]++
	w.ready--
	if w.ready == 0 {
		w.poke()
	}
	w.idle()
}

// end closes all connections. Loop only.
func (w *worker) end() {
	w.ending = true
	w.timer.close()
	w.set.CloseAll(conn.Local)
}

// snapshot is where a worker is.
type snapshot struct {
	tally                *tally
	settled, ready, live int
	issuing              bool
	unanswered, owed     uint64
	failed, closed       map[string]int
	secure               string
	why                  error
}

// collect gives the worker's tally away, in exchange for an empty one; at the end of the run with what is only known then.
// Loop only.
func (w *worker) collect(empty *tally, end bool) snapshot {
	snap := snapshot{
		tally: w.in.tally, settled: w.settled, ready: w.ready, live: w.live, issuing: w.issuing,
		failed: maps.Clone(w.failed), closed: maps.Clone(w.closed), secure: w.secure, why: w.why,
	}
	w.in.tally = empty
	if !end {
		return snap
	}
	for at := range w.sessions {
		snap.unanswered += w.sessions[at].calls.within(w.in.window)
	}
	if w.open && (w.budget == nil || w.budget.Load() > 0) {
		snap.owed = w.pacer.owed(w.in.window)
	}
	return snap
}

// closeProblem says why a connection ended, without addresses, so that equal ends count together.
func closeProblem(err error) string {
	var e *conn.CloseError
	if !errors.As(err, &e) {
		return err.Error()
	}
	switch e.Reason {
	case conn.PeerClosed:
		return "ended by the server without sys.closing"
	case conn.Reset:
		return "reset by the server without sys.closing"
	}
	return e.Error()
}

// dialProblem is what is common to all dials of the same address that fail for the same reason.
func dialProblem(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Errorf("connect: %w", errno)
	}
	return fmt.Errorf("connect: %w", err)
}
