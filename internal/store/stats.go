package store

import (
	"database/sql"
	"maps"
	"sync"
	"time"

	"gameserverd/internal/histogram"
	"gameserverd/wire"
)

// Stats is what the calls of an SQL or a Redis have come to since it was opened, and what it has at present.
type Stats struct {
	// Time is how long calls took, waiting for a connection included, in nanoseconds on histogram.Durations: from when they were
	// accepted to when they were answered, which is at their deadline at the latest. What a Conn runs is not among them.
	Time histogram.Histogram
	// Errors counts the calls that failed, by the error's code: wire.CodeOf's, or already_exists where IsDuplicate. Those that were refused
	// since too many wait are here and not in Time; those that no database could run are nowhere. nil: none.
	Errors map[wire.Code]uint64

	Busy    int // connections in use, those of Conns included
	Idle    int // connections that are not
	Waiting int // calls that wait for one
}

// callCounts is what a lane counts. Any goroutine.
type callCounts struct {
	time histogram.Shared

	mu     sync.Mutex // guards errors
	errors map[wire.Code]uint64
}

// answered counts a call that was accepted at began and is answered with err.
func (n *callCounts) answered(began time.Time, err error) {
	if err != nil { // first, so that no error is missing of the calls that Time has
		n.failed(err)
	}
	n.time.Observe(histogram.Durations, int64(time.Since(began)))
}

func (n *callCounts) failed(err error) {
	code := wire.CodeOf(err)
	if IsDuplicate(err) {
		code = wire.AlreadyExists
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.errors == nil {
		n.errors = make(map[wire.Code]uint64)
	}
	n.errors[code]++
}

// stats adds what the lane has counted.
func (l *lane) stats(s *Stats) {
	calls := l.counts.time.Snapshot()
	s.Time.Add(&calls)
	l.counts.mu.Lock()
	if s.Errors == nil {
		s.Errors = maps.Clone(l.counts.errors)
	} else {
		for code, n := range l.counts.errors {
			s.Errors[code] += n
		}
	}
	l.counts.mu.Unlock()
	l.mu.Lock()
	s.Waiting += l.waiting
	l.mu.Unlock()
}

// Stats returns the counts so far. They are not all of one moment. Any goroutine.
func (s *SQL) Stats() Stats {
	var n Stats
	s.read.stats(&n)
	pools := []*sql.DB{s.readDB, s.pinned}
	if s.write != s.read {
		s.write.stats(&n)
		pools = append(pools, s.writeDB)
	}
	for _, pool := range pools {
		conns := pool.Stats()
		n.Busy += conns.InUse
		n.Idle += conns.Idle
	}
	return n
}

// Stats returns the counts so far. They are not all of one moment. Its connections are also those that package tasks has by
// Client, but for the ones that wait for messages. Any goroutine.
func (r *Redis) Stats() Stats {
	var n Stats
	r.lane.stats(&n)
	conns := r.client.PoolStats()
	n.Idle = int(conns.IdleConns)
	n.Busy = max(0, int(conns.TotalConns)-n.Idle) // two readings: one may have been given back in between
	return n
}
