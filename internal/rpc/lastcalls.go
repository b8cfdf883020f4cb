package rpc

import (
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	"gameserverd/wire"
)

// SlowCall is how long a client has to wait for a call to be kept that has not failed.
const SlowCall = 10 * time.Millisecond

// What is kept of the last calls of a session.
const (
	maxLastCalls = 16
	maxCode      = 32 // bytes of a code that the protocol does not have; a longer one is "other"
)

// lastCalls are the last calls of a session: 16 of those that have failed or for which
// the client has waited 10 ms or more, which costs a call that is neither a comparison;
// and from when an operator has first looked at the player on 16 of the others, apart:
// a client that calls all the time must not push out what has gone wrong.
//
// A session has them from the first such call on, so one that makes calls fail on
// purpose costs 48 bytes and 16 * 56 more, until it ends; with codes that a method has
// from elsewhere 16 * maxCode more at most.
type lastCalls struct {
	hard  callRing
	since int64     // when the others were kept from, by the hubs' clock
	easy  *callRing // the others; nil: nobody has looked
}

// callRing is a ring once it has maxLastCalls.
type callRing struct {
	calls []lastCall
	next  int // where the next goes, in the ring
}

type lastCall struct {
	method *Method   // nil: one that there is not
	trace  [16]byte  // zero: it has none
	ended  int64     // by the hubs' clock
	waited uint32    // microseconds, as many as there is room for: more than an hour
	took   uint32    // likewise
	code   wire.Code // "": it has not failed
}

// add puts a call into the ring.
func (r *callRing) add(one lastCall) {
	if n := len(r.calls); n < maxLastCalls {
		if n == cap(r.calls) { // most sessions have one, of a slow login
			r.calls = append(make([]lastCall, 0, max(1, 2*n)), r.calls...)
		}
		r.calls = append(r.calls, one)
		return
	}
	r.calls[r.next] = one
	r.next = (r.next + 1) % maxLastCalls
}

// kept is the session's last calls, which it has from now on.
func (s *session) kept() *lastCalls {
	if s.last == nil {
		s.last = new(lastCalls)
	}
	return s.last
}

// rememberEnded keeps a call that has begun and ends now, after run: one that has
// failed, was slow, or any while somebody is looked at.
func (h *Hub) rememberEnded(c *Call, code wire.Code, run int64) {
	s := h.session(c.conn)
	hard := code != "" || c.queued+run >= int64(SlowCall)
	if s == nil || !hard && !s.watched() {
		return
	}
	one := lastCall{
		method: c.method, trace: traceBytes(c.knownTrace()), ended: c.began + run, waited: micros(c.queued), took: micros(run), code: keptCode(code),
	}
	if hard {
		s.kept().hard.add(one)
	} else {
		s.last.easy.add(one)
	}
}

// rememberRefused keeps a call that was refused before it began; in is what it has
// brought, nil if that was not looked at.
func (h *Hub) rememberRefused(s *session, method *Method, code wire.Code, in *incoming) {
	one := lastCall{method: method, ended: h.clock(), code: code}
	if in != nil {
		one.waited = micros(one.ended - in.arrived)
		switch {
		case in.span != nil:
			one.trace = traceBytes(in.span.TraceID())
		case in.meta.Traceparent != nil:
			one.trace = traceBytes(traceID(in.meta.Traceparent))
		}
	}
	s.kept().hard.add(one)
}

// watched reports whether all calls of the session are kept.
func (s *session) watched() bool { return s.last != nil && s.last.easy != nil }

// watch keeps all calls of the session from now on.
func (h *Hub) watch(s *session) {
	if !s.watched() {
		l := s.kept()
		l.easy, l.since = new(callRing), h.clock()
		h.watching++
	}
}

// forgetCalls drops what is kept of the session: it is another player's from now on,
// or nobody's.
func (h *Hub) forgetCalls(s *session) {
	if s.watched() {
		h.watching--
	}
	s.last = nil
}

// LastCall is a call that has ended.
type LastCall struct {
	Method string        // "": one that there is not
	Code   wire.Code     // of its error, "other" for a long one that the protocol does not have; "": it has succeeded
	At     time.Time     // when it ended
	Waited time.Duration // for the turn, the mailbox and the calls before it; to the microsecond, an hour at most
	Took   time.Duration // from when it began, likewise; 0: it was refused
	Trace  string        // trace id; "": it has none
}

// list shows the calls, the newest first.
func (l *lastCalls) list(h *Hub) []LastCall {
	out := l.hard.appendTo([]LastCall{}, h)
	if l.easy != nil {
		out = l.easy.appendTo(out, h)
		slices.SortStableFunc(out, func(a, b LastCall) int { return b.At.Compare(a.At) })
	}
	return out
}

// appendTo appends the calls to out, the newest first.
func (r *callRing) appendTo(out []LastCall, h *Hub) []LastCall {
	for i := range r.calls {
		one := &r.calls[(r.next+len(r.calls)-1-i)%len(r.calls)]
		call := LastCall{
			Code: one.code, At: h.timeOf(one.ended), Waited: time.Duration(one.waited) * time.Microsecond, Took: time.Duration(one.took) * time.Microsecond,
		}
		if one.method != nil {
			call.Method = one.method.Name
		}
		if one.trace != [16]byte{} {
			call.Trace = hex.EncodeToString(one.trace[:])
		}
		out = append(out, call)
	}
	return out
}

// keptCode is a code that pins no other memory, and not much of its own.
func keptCode(code wire.Code) wire.Code {
	known := codes[codeIndex(code)]
	switch {
	case code == "" || known == code:
		return code
	case len(code) > maxCode:
		return known
	}
	return wire.Code(strings.Clone(string(code)))
}

// micros is a time in microseconds, at least 0 and as much as there is room for.
func micros(nanoseconds int64) uint32 {
	return uint32(min(max(nanoseconds/1000, 0), math.MaxUint32))
}

// traceBytes is a trace id, zero for "" and for what is none.
func traceBytes(id string) (b [16]byte) {
	if len(id) != hex.EncodedLen(len(b)) {
		return b
	}
	if _, err := hex.Decode(b[:], []byte(id)); err != nil {
		return [16]byte{}
	}
	return b
}
