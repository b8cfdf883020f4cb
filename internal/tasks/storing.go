package tasks

import (
	"slices"
	"sync"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/wire"
)

// storing are the tasks whose rows are on their way to SQL: each is answered in time,
// also when SQL is not there. All wait equally long, so the order in which they come is
// that of their deadlines.
type storing struct {
	timeout time.Duration // immutable

	mu      sync.Mutex // guards all below
	waiting []sent
	first   int  // of waiting; those before it have ended
	armed   bool // expire will be called
}

// sent is one of them.
type sent struct {
	change   *commit.Change
	receipt  *future.Future[struct{}]
	deadline time.Time
}

// add watches over a change that was submitted. Any goroutine.
func (s *storing) add(c *commit.Change, receipt *future.Future[struct{}]) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(time.Time{}, nil)
	s.waiting = append(s.waiting, sent{c, receipt, now.Add(s.timeout)})
	s.arm(now)
}

// arm sees to it that the first is looked at by its deadline. With mu.
func (s *storing) arm(now time.Time) {
	if s.armed || len(s.waiting) == 0 {
		return
	}
	s.armed = true
	time.AfterFunc(s.waiting[s.first].deadline.Sub(now), s.expire)
}

// expire answers those whose time is over.
func (s *storing) expire() {
	s.mu.Lock()
	now := time.Now()
	late := s.take(now, nil)
	s.armed = false
	s.arm(now)
	s.mu.Unlock()
	for _, l := range late {
		if !l.change.Abandon() { // else its Done has told
			l.receipt.Fail(errNotKnown)
		}
	}
}

// take forgets the first as long as they have ended, and appends to late those that have
// not and whose deadline is over at now. With mu.
func (s *storing) take(now time.Time, late []sent) []sent {
	for ; s.first < len(s.waiting); s.first++ {
		w := &s.waiting[s.first]
		if !w.receipt.Done() {
			if w.deadline.After(now) {
				break
			}
			late = append(late, *w)
		}
		*w = sent{}
	}
	if s.first > len(s.waiting)/2 { // at half, so that each is moved once at most on average
		s.waiting = slices.Delete(s.waiting, 0, s.first)
		s.first = 0
	}
	return late
}

func errAway(what string) error {
	return &wire.Error{Code: wire.Unavailable, Message: "the store does not answer: " + what, RetryAfter: time.Second}
}

var errNotKnown = errAway("whether the task was applied is not known yet")
