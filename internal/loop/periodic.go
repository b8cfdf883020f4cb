package loop

import "time"

// periodic calls a function at the times first, first+every, first+2*every and so on.
type periodic struct {
	// loop only
	l       *Loop
	fn      func()
	every   int64 // ns
	next    int64
	timeout *Timeout
	stopped bool
}

// Periodic calls fn every d, the first time d from now, until the returned stop is called. Calls keep their phase: one that comes
// late or takes long does not shift those that follow, and times that have passed meanwhile are left out. A panic of fn does not
// end it. d must be positive: like time.NewTicker, it panics otherwise. Loop only, and so is stop, which may be called again.
func (l *Loop) Periodic(d time.Duration, fn func()) (stop func()) {
	l.assertLoop("Periodic")
	if d <= 0 {
		panic("loop: Periodic needs a positive period")
	}
	p := &periodic{l: l, fn: fn, every: int64(d), next: l.after(d)}
	p.arm()
	return func() {
		l.assertLoop("the stop of Periodic")
		p.stopped = true
		l.RemoveTimeout(p.timeout)
	}
}

func (p *periodic) arm() {
	p.timeout = &Timeout{fn: p.call}
	p.l.timers.push(p.next, p.timeout)
}

func (p *periodic) call() {
	defer func() {
		if !p.stopped {
			now := p.l.after(0)
			p.next += p.every * (max(0, now-p.next)/p.every + 1)
			p.arm()
		}
	}()
	p.fn()
}
