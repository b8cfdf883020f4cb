package console

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"gameserverd/internal/metrics"
)

// The bounds of what open pages are sent.
const (
	liveEvery  = time.Second
	maxPages   = 32
	historyFor = 10 * time.Minute
	pageBuffer = 4 // events that wait for a page; one more is left out for it
)

// live collects once a second for all open pages, and only while there is one. Any
// goroutine.
type live struct {
	// immutable after init
	o      Options
	ending <-chan struct{}
	every  time.Duration // liveEvery; tests have less patience

	mu      sync.Mutex // guards what follows
	open    map[chan []byte]struct{}
	stop    context.CancelFunc // nil: nothing is collected
	history []point            // of the last 10 minutes, as far as a page was open
	running sync.WaitGroup
}

func (l *live) init(o Options, ending <-chan struct{}) {
	l.o, l.ending, l.every = o, ending, liveEvery
	l.open = make(map[chan []byte]struct{})
}

// end stops the collecting, and waits until it has. After ending is closed only.
func (l *live) end() {
	l.mu.Lock()
	if l.stop != nil {
		l.stop() // a collection that runs is not waited for
	}
	l.mu.Unlock()
	l.running.Wait()
}

func (l *live) pages() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// enter adds a page. events is nil when there are too many, or the end has come.
func (l *live) enter() (events chan []byte, history []point) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ending:
		return nil, nil
	default:
	}
	if len(l.open) >= maxPages {
		return nil, nil
	}
	events = make(chan []byte, pageBuffer)
	l.open[events] = struct{}{}
	if l.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		l.stop = stop
		l.running.Go(func() { l.collect(ctx) })
	}
	return events, append([]point{}, l.history...)
}

// leave takes a page away; with the last one the collecting ends.
func (l *live) leave(events chan []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, events)
	if len(l.open) == 0 && l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// collect sends what is measured to all pages, until ctx or the console ends.
func (l *live) collect(ctx context.Context) {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	d := newDigest()
	var batch metrics.Batch
	for {
		batch.Reset()
		l.o.Collect(ctx, &batch)
		st := l.o.Daemon.Status()
		status, err := json.Marshal(st)
		if err != nil {
			status = []byte("null")
		}
		p, ready := d.take(time.Now(), &batch, &st)
		l.tell(p, ready, d.event(status, l.o.Warnings.seq()))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-l.ending:
			return
		}
	}
}

func (l *live) tell(p point, ready bool, event []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ready {
		l.history = append(l.history, p)
		old := 0
		for old < len(l.history) && p[0]-l.history[old][0] > float64(historyFor.Milliseconds()) {
			old++
		}
		l.history = append(l.history[:0], l.history[old:]...)
	}
	for events := range l.open {
		select {
		case events <- event:
		default: // a page that does not keep up
		}
	}
}

// serveLive is the stream of an open page: the history, and then an event a second.
func (c *Console) serveLive(w http.ResponseWriter, r *http.Request) {
	events, history := c.live.enter()
	if events == nil {
		fail(w, http.StatusServiceUnavailable, "resource_exhausted", "too many pages are open, or the daemon ends")
		return
	}
	defer c.live.leave(events)
	who := sessionOf(r)
	out := begin(w)
	if out.send("history", struct {
		Columns []string `json:"columns"`
		Points  []point  `json:"points"`
	}{columns, history}) != nil {
		return
	}
	for {
		select {
		case event := <-events:
			if !c.stays(r, who) {
				_ = out.raw("signedout", []byte("{}")) // it may be gone
				return
			}
			if out.raw("tick", event) != nil {
				return
			}
		case <-c.ending:
			_ = out.raw("end", []byte("{}"))
			return
		case <-r.Context().Done():
			return
		}
	}
}
