package metrics

import (
	"context"
	"sync"
	"time"
)

// Share makes one collection serve all who ask within keep of it or while it runs:
// Prometheus, InfluxDB and every page of the console together cost the loops as much
// as one of them. Who gives up, by ctx, leaves the others what they wait for, and
// itself with the collection before. Any goroutine.
func Share(collect Collect, keep time.Duration) Collect {
	s := &share{collect: collect, keep: keep}
	return s.get
}

type share struct {
	// immutable
	collect Collect
	keep    time.Duration

	mu    sync.Mutex    // guards what follows
	last  *Batch        // nil: none yet
	at    time.Time     // when last was complete
	under chan struct{} // closed when a collection that runs is over; nil: none runs
	spare *Batch        // memory for the next; used without mu by the collection that runs
}

func (s *share) get(ctx context.Context, into *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || time.Since(s.at) > s.keep {
		s.refreshLocked(ctx)
	}
	if s.last == nil {
		into.Reset()
		return
	}
	s.last.copyTo(into)
}

// refreshLocked waits, without the lock, for the collection that runs, which it
// begins if there is none.
func (s *share) refreshLocked(ctx context.Context) {
	if s.under == nil {
		s.under = make(chan struct{})
		go s.run(context.WithoutCancel(ctx))
	}
	over := s.under
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

func (s *share) run(ctx context.Context) {
	next := s.spare
	if next == nil {
		next = new(Batch)
	}
	next.Reset()
	next.SetTime(time.Now())
	s.collect(ctx, next)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare, s.last, s.at = s.last, next, time.Now()
	close(s.under)
	s.under = nil
}
