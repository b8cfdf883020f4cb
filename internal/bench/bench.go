// Package bench is the load generator behind `gameserverd bench`: it opens connections on event loops of its own, calls
// one method on them, and measures throughput and latency.
//
// Without a rate it is a closed loop: each connection keeps Depth calls outstanding, a call's latency runs from sending it
// to its answer, and a stalled server is asked less, so that tails are a lower bound. With a rate it is an open loop: calls
// are due at fixed times whatever the server does, latency runs from when a call was due, and a stall counts for all calls
// that it delays (no coordinated omission).
//
// It is not a test of the protocol, and it knows no method but auth.login. Scheduling (pace.go, calls.go), the protocol
// (session.go), TLS (secure.go, but for its handshakes), counting (tally.go) and reporting (report.go) do no I/O; worker.go has the loops.
//
// Its one invariant: every call that begins in the measured window is counted exactly once, as answered, lost with its
// connection, or unanswered.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/conn"
)

// Grace is how long a run waits, after its last call, for answers.
const Grace = 5 * time.Second

// The phases of a run, in order.
const (
	phaseConnecting = "connecting"
	phaseWarmup     = "warming up"
	phaseMeasuring  = "measuring"
	phaseAnswers    = "waiting for answers"
)

// progressEvery is the time between two calls of progress.
const progressEvery = time.Second

// run is one measurement. It belongs to the goroutine that called Run.
type run struct {
	o        Options
	workers  []*worker
	ended    []chan error // by worker: its loop has returned
	began    time.Time    // the clock of the run counts from here
	pokes    chan struct{}
	budget   *atomic.Int64
	progress func(Progress)

	dialer      *conn.Dialer
	dialing     context.Context // of all dials
	stopDialing context.CancelFunc

	total    *tally     // of all that was collected
	interval *tally     // of what was collected since the last report
	spare    []*tally   // by worker: empty
	snaps    []snapshot // by worker: the last
	window   window
	cpu      time.Duration // used while measuring
	cpuOver  time.Duration // how long that was
	early    bool          // ended before its time
}

// Run measures as o says. It returns when the measurement is over, or earlier with what there is so far when ctx ends or no
// connection is left. progress, which may be nil, is called about once a second on the calling goroutine. An error means
// that nothing was measured. Any goroutine; it blocks.
func Run(ctx context.Context, o Options, progress func(Progress)) (*Result, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	r := &run{o: o, progress: progress, began: time.Now(), pokes: make(chan struct{}, 1)}
	defer r.close()
	if err := r.open(); err != nil {
		return nil, err
	}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	r.measure(ctx)
	r.drain(ctx)
	r.collect(true)
	return r.result(), nil
}

func (r *run) now() int64 { return int64(time.Since(r.began)) }

func (r *run) poke() {
	select {
	case r.pokes <- struct{}{}:
	default: // one is waiting already
	}
}

// connect opens and logs in all connections.
func (r *run) connect(ctx context.Context) error {
	for _, w := range r.workers {
		w.loop.AddCallback(w.dialMore)
	}
	settled := func() bool { return r.sum(func(s snapshot) int { return s.settled }) == r.o.Connections }
	r.wait(ctx, phaseConnecting, unlimitedNS, settled)
	if !settled() {
		return fmt.Errorf("stopped while connecting: %w", ctx.Err())
	}
	if r.ready() == 0 {
		none := &NoConnectionError{Addr: r.o.Addr, Why: r.failed()}
		for _, s := range r.snaps {
			none.TLS = cmp.Or(none.TLS, s.why)
		}
		return none
	}
	return nil
}

// measure warms up and measures.
func (r *run) measure(ctx context.Context) {
	start := r.now()
	r.window = window{from: start + int64(r.o.Warmup), until: unlimitedNS}
	if r.o.Duration > 0 {
		r.window.until = r.window.from + int64(r.o.Duration)
	}
	win := r.window
	for i, w := range r.workers {
		var p *pacer
		if r.o.Rate > 0 {
			share := newPacer(r.o.Rate, start, i, len(r.workers), len(w.sessions), r.o.Connections)
			p = &share
		}
		w.loop.AddCallback(func() { w.start(win, p) })
	}
	over := func() bool { return r.ready() == 0 || r.finished() }
	if r.o.Warmup > 0 {
		r.wait(ctx, phaseWarmup, r.window.from, over)
	}
	used, since := processCPU(), r.now()
	r.wait(ctx, phaseMeasuring, r.window.until, over)
	r.cpu, r.cpuOver = processCPU()-used, time.Duration(r.now()-since)

	if now := r.now(); now < r.window.until {
		r.early = !r.exhausted()
		r.window.until = max(now, r.window.from)
	}
	for _, w := range r.workers {
		until := r.window.until
		w.loop.AddCallback(func() { w.stop(until) })
	}
}

// finished reports whether no more calls will begin and every call that did has ended.
func (r *run) finished() bool {
	for _, s := range r.snaps {
		if s.issuing && s.ready > 0 || s.live > 0 {
			return false
		}
	}
	return true
}

// exhausted reports whether all of Options.Total began.
func (r *run) exhausted() bool { return r.budget != nil && r.budget.Load() <= 0 }

// drain waits for the answers that are outstanding; a second when ctx has ended, since somebody wants to see the result.
func (r *run) drain(ctx context.Context) {
	grace := Grace
	if ctx.Err() != nil {
		grace = min(grace, time.Second)
	}
	r.wait(context.WithoutCancel(ctx), phaseAnswers, r.now()+int64(grace), r.finished)
}

// wait returns at the time until, when ctx ends, or when done says so of what was collected.
func (r *run) wait(ctx context.Context, phase string, until int64, done func() bool) {
	began := r.now()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	end := time.NewTimer(time.Duration(until - began))
	defer end.Stop()
	r.interval.reset()
	for since := began; ; {
		over, report := false, false
		select {
		case <-ctx.Done():
			over = true
		case <-end.C:
			over = true
		case <-r.pokes:
		case <-tick.C:
			report = true
		}
		r.collect(false)
		if report {
			r.report(phase, began, since)
			since = r.now()
		}
		if over || done() {
			return
		}
	}
}

// report tells the progress of a phase, and of the answers since the last report.
func (r *run) report(phase string, began, since int64) {
	now := r.now()
	p := Progress{
		Phase: phase, Elapsed: time.Duration(now - began), Ready: r.ready(), All: r.o.Connections,
		Settled:    r.sum(func(s snapshot) int { return s.settled }),
		Throughput: float64(r.interval.seen) * 1e9 / float64(now-since),
		Errors:     r.total.failures(),
	}
	if latency := r.interval.latency; latency.TotalCount() > 0 {
		p.P50 = float64(latency.ValueAtPercentile(50)) / 1e3
		p.P99 = float64(latency.ValueAtPercentile(99)) / 1e3
	}
	r.interval.reset()
	r.progress(p)
}

func (r *run) sum(of func(snapshot) int) (n int) {
	for _, s := range r.snaps {
		n += of(s)
	}
	return n
}

func (r *run) ready() int { return r.sum(func(s snapshot) int { return s.ready }) }

func (r *run) failed() map[string]int {
	all := map[string]int{}
	for _, s := range r.snaps {
		for why, n := range s.failed {
			all[why] += n
		}
	}
	return all
}

func (r *run) result() *Result {
	t := r.total
	w := r.window
	if r.exhausted() && t.last > w.from {
		w.until = min(w.until, t.last) // the last of Total answers ended it
	}
	res := &Result{
		Addr: r.o.Addr, Method: r.o.Method, Params: r.o.json(r.o.Params), Connections: r.o.Connections,
		Loops: r.o.Loops, Depth: r.o.Depth, Rate: r.o.Rate, Interrupted: r.early,
		Seconds: float64(w.until-w.from) / 1e9, Warmup: r.o.Warmup.Seconds(),
		Answered: t.calls(), OK: t.ok, Wrong: t.wrong, Errors: map[string]uint64{}, Lost: t.lost,
		LatencyFrom: "send", Latency: t.summary(),
		FirstResult: r.o.json(t.firstResult), FirstWrong: r.o.json(t.firstWrong),
		Failed: r.failed(), Closed: map[string]int{},
		Unasked: t.unasked, Notifications: t.notifications, Requests: t.requests, CPUSeconds: r.cpu.Seconds(), CPUs: r.cpu.Seconds() / r.cpuOver.Seconds(),
	}
	if r.o.Rate > 0 {
		res.LatencyFrom = "due"
	}
	if res.Seconds > 0 {
		res.Throughput = float64(res.Answered) / res.Seconds
	}
	for code, n := range t.errors {
		res.Errors[string(code)] = n
	}
	if t.firstError != nil {
		res.FirstError = t.firstError.Error()
	}
	for _, s := range r.snaps {
		res.TLS = cmp.Or(res.TLS, s.secure)
		res.Unanswered += s.unanswered
		res.NotSent += s.owed
		for why, n := range s.closed {
			res.Closed[why] += n
		}
	}
	return res
}

// processCPU is the CPU time of all threads of this process.
func processCPU() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0 // the report then says 0
	}
	return time.Duration(t.Nano())
}
