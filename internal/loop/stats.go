package loop

import (
	"maps"
	"sync"

	"gameserverd/internal/histogram"
)

// Stats is what a loop has done since it was made. The times are in nanoseconds, on histogram.Durations.
type Stats struct {
	Turns   uint64              // that have ended
	Turn    histogram.Histogram // how long they took: from when a turn had its events to when the loop could wait for the next
	Lag     histogram.Histogram // how late timers ran: from when each was due to when the first of the turn's was called
	Slow    map[string]uint64   // functions that held the loop longer than Options.SlowCallback, by what they gave Enter; "": nothing. nil: none
	Waiting int                 // callbacks that wait for their turn; the one that asks is not among them
}

// record is what a loop counts for Stats. It costs a turn two additions to what it has in its cache anyway.
type record struct {
	// loop only
	turn, lag histogram.Histogram
	began     int64  // when this turn had its events, as Monotonic
	rested    int64  // when it was ready to wait for the next, as Monotonic; 0: it has not been
	read      int64  // the last reading of the clock, as Monotonic
	readAt    uint64 // pace.steps then

	// any goroutine
	mu   sync.Mutex        // guards slow
	slow map[string]uint64 // the watchdog's
}

// turned counts the turn that ends where the next has its events. The loop has just read its clock.
func (l *Loop) turned() {
	r := &l.record
	if r.rested == 0 {
		r.rested = l.mono // it did not block: looking for events was the end of it
	}
	histogram.Durations.Observe(&r.turn, r.rested-r.began)
	r.began, r.rested = l.mono, 0
}

// held counts a stall. The watchdog's goroutine.
func (l *Loop) held(label string) {
	r := &l.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slow == nil {
		r.slow = make(map[string]uint64)
	}
	r.slow[label]++
}

// Stats returns the counts so far. Loop only.
func (l *Loop) Stats() Stats {
	l.assertLoop("Stats")
	s := Stats{Turns: l.record.turn.Count(), Turn: l.record.turn, Lag: l.record.lag}
	l.record.mu.Lock()
	s.Slow = maps.Clone(l.record.slow)
	l.record.mu.Unlock()
	l.mu.Lock()
	s.Waiting = len(l.batch) - l.batchAt + len(l.queue)
	l.mu.Unlock()
	return s
}

// Nanotime reads the clock and returns the time on Monotonic's scale. It never goes back. Loop only.
func (l *Loop) Nanotime() int64 {
	l.assertLoop("Nanotime")
	l.record.read = max(l.sinceBase(), l.record.read)
	l.record.readAt = l.pace.steps
	return l.record.read
}

// Recent is a cheap Nanotime for who wants to know when the function that runs now began, about: the last reading of the clock, by
// Nanotime or by the loop, if it was made in this function or the one that ran before it. After anything else it is Nanotime. So work
// that comes in a row, event after event, is measured with one reading each; and nobody is charged with what a third has done
// in between. Loop only.
func (l *Loop) Recent() int64 {
	l.assertLoop("Recent")
	if l.pace.steps-l.record.readAt > 1 {
		return l.Nanotime()
	}
	return l.record.read
}
