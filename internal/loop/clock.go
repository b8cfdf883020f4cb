package loop

import "time"

// Clock is where a loop gets the time. Tests give one that they move by hand.
type Clock interface {
	// Now returns the time; like time.Now's, its readings are compared by their monotonic part if they have one. Any goroutine.
	Now() time.Time
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

// readClock refreshes the turn's clock. Time never goes back on a loop, whatever the clock does.
func (l *Loop) readClock() {
	now := l.clock.Now()
	if mono := int64(now.Sub(l.base)); mono > l.mono {
		l.now, l.mono = now, mono
	}
	l.record.read, l.record.readAt = max(l.mono, l.record.read), l.pace.steps
}

// sinceBase reads the clock on Monotonic's scale. For the real clock that is half of what readClock costs: no look at the wall clock.
func (l *Loop) sinceBase() int64 {
	if l.real {
		return int64(time.Since(l.base))
	}
	return int64(l.clock.Now().Sub(l.base))
}

// Time returns the time at which this turn began: it was read after the last wait, and again after every 64 callbacks.
// Before Start, it is when the loop was made. Loop only.
func (l *Loop) Time() time.Time {
	l.assertLoop("Time")
	return l.now
}

// Monotonic returns Time as nanoseconds since the loop was made; it never goes back. Loop only.
func (l *Loop) Monotonic() int64 {
	l.assertLoop("Monotonic")
	return l.mono
}
