package rpc

import (
	"fmt"
	"time"

	"gameserverd/wire"
)

// rate is the limit on requests and notifications of each session of a hub: a
// token bucket in the form of GCRA, where all that a bucket needs is the time at
// which it will be full again. While there is no limit it costs nothing; with one
// it costs 16 bytes a session and a look at the turn's clock. Loop only.
type rate struct {
	each    int64  // nanoseconds between two messages in the long run; 0: no limit
	burst   int64  // nanoseconds' worth of messages at once
	message string // what who is over it is told
	pages   []*[sessionsPerPage]bucket
}

// bucket is what one session has used up. Both are nanoseconds on the hub's clock:
// when it will be as if nothing had been used.
type bucket struct {
	sent    int64 // messages that were let pass
	refused int64 // messages that were refused, which may be as many again
}

// set changes the limit. Everybody begins with a full bucket then.
func (r *rate) set(perSecond, burst int) {
	if perSecond <= 0 {
		*r = rate{}
		return
	}
	each := int64(time.Second) / int64(perSecond)
	span := each * int64(burst)
	if r.each == each && r.burst == span {
		return
	}
	*r = rate{each: each, burst: span, message: fmt.Sprintf("more than %d requests a second, and %d at once", perSecond, burst)}
}

// at finds the bucket of a connection.
func (r *rate) at(conn uint64) *bucket {
	slot := uint32(conn)
	for int(slot/sessionsPerPage) >= len(r.pages) {
		r.pages = append(r.pages, nil)
	}
	page := &r.pages[slot/sessionsPerPage]
	if *page == nil {
		*page = new([sessionsPerPage]bucket)
	}
	return &(*page)[slot%sessionsPerPage]
}

// reset fills the bucket of a slot that is used again.
func (r *rate) reset(conn uint64) {
	if page := int(uint32(conn) / sessionsPerPage); page < len(r.pages) && r.pages[page] != nil {
		*r.at(conn) = bucket{}
	}
}

// carry is the bucket of a connection that moves to another hub, whose clock is
// another one, relative to now.
func (r *rate) carry(conn uint64, now int64) bucket {
	if r.each == 0 {
		return bucket{}
	}
	b := r.at(conn)
	return bucket{b.sent - now, b.refused - now}
}

// take is the other end of carry.
func (r *rate) take(conn uint64, b bucket, now int64) {
	if r.each != 0 {
		*r.at(conn) = bucket{b.sent + now, b.refused + now}
	}
}

// spend takes one message from a bucket, or says for how long there is none.
func (r *rate) spend(full *int64, now int64) (wait time.Duration) {
	next := max(*full, now) + r.each
	if over := next - now - r.burst; over > 0 {
		return time.Duration(over)
	}
	*full = next
	return 0
}

// withinRate counts a request or notification. One that is over the limit is
// refused, a notification without a word; and a session of which as many were
// refused as may be let pass, a burst of them or the rate in the long run, is
// closed: its client does not listen.
func (h *Hub) withinRate(s *session, m *wire.Message) bool {
	now := h.clock()
	b := h.rate.at(s.conn)
	wait := h.rate.spend(&b.sent, now)
	if wait == 0 {
		return true
	}
	notify := m.Kind == wire.Notification
	h.turnAway(s, h.method(m.Method), ResourceExhausted, nil)
	if notify {
		h.peers.Counters.OverRateDropped.Add(1)
	} else {
		h.peers.Counters.OverRate.Add(1)
	}
	if h.rate.spend(&b.refused, now) > 0 {
		h.drainInbox()
		h.closeSession(s, wire.Closing{Code: wire.RateLimited, Message: h.rate.message + ", though told to wait",
			Reconnect: true, RetryAfter: max(wait, h.peers.jitter(refusedRetry))})
		return false
	}
	if !notify {
		h.refuse(s, m.ID, false, &Error{Code: ResourceExhausted, Message: h.rate.message, RetryAfter: wait})
	}
	return false
}
