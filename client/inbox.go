package client

import "sync"

// event is a notification to handle, or a change of state to tell of.
type event struct {
	req     *Request
	handler handler
	tell    func() // instead of req and handler
}

// inbox holds events in the order received, for one goroutine that runs them. Readers, one at a time, put in
// notifications within the bounds; changes of state always fit.
type inbox struct {
	// immutable after newInbox
	maxLen, maxBytes int
	some             chan struct{} // capacity 1: there may be events
	space            chan struct{} // capacity 1: there may be room

	// mu
	mu       sync.Mutex
	events   []event
	first    int // events[first:] are waiting
	bytes    int // of params
	closed   bool
	dropping bool // notifications are no longer handled
}

func newInbox(maxLen, maxBytes int) *inbox {
	return &inbox{maxLen: maxLen, maxBytes: maxBytes, some: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// offer puts e in if there is room; false: there is none, and space will be signalled. A first event always fits.
func (in *inbox) offer(e event) bool {
	in.mu.Lock()
	n := len(in.events) - in.first
	if n >= in.maxLen || n > 0 && in.bytes+len(e.req.params) > in.maxBytes {
		in.mu.Unlock()
		return false
	}
	in.putLocked(e)
	in.bytes += len(e.req.params)
	in.mu.Unlock()
	signal(in.some)
	return true
}

// tell puts in a change of state.
func (in *inbox) tell(fn func()) {
	in.mu.Lock()
	in.putLocked(event{tell: fn})
	in.mu.Unlock()
	signal(in.some)
}

// putLocked appends e; when half of the slice or more is behind first it moves the rest there instead of growing.
func (in *inbox) putLocked(e event) {
	if len(in.events) == cap(in.events) && in.first > len(in.events)/2 {
		n := copy(in.events, in.events[in.first:])
		clear(in.events[n:])
		in.events, in.first = in.events[:n], 0
	}
	in.events = append(in.events, e)
}

// drop makes take pass over notifications from now on.
func (in *inbox) drop() {
	in.mu.Lock()
	in.dropping = true
	in.mu.Unlock()
}

// close makes take end once the inbox is empty. Nothing may be put in later.
func (in *inbox) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	signal(in.some)
}

// take returns the next event, waiting for it; false: there will be none.
func (in *inbox) take() (event, bool) {
	for {
		in.mu.Lock()
		for in.first < len(in.events) {
			e := in.events[in.first]
			in.events[in.first] = event{}
			in.first++
			if e.req != nil {
				in.bytes -= len(e.req.params)
			}
			if in.first == len(in.events) {
				in.events, in.first = in.events[:0], 0
			}
			if e.tell == nil && in.dropping {
				continue
			}
			in.mu.Unlock()
			signal(in.space)
			return e, true
		}
		closed := in.closed
		in.mu.Unlock()
		if closed {
			return event{}, false
		}
		<-in.some
	}
}

// signal puts a value in a channel of capacity 1, unless there is one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
