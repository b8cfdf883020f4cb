package rpc

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"gameserverd/wire"
)

const (
	maxTraces    = 16      // of the process, at once
	maxTraceBody = 4 << 10 // bytes of a TraceEvent's Body
	maxTraceIDs  = 4096    // calls that one trace remembers until they are answered
)

// secretMethod is the method whose params no trace shows: they are a proof of who
// somebody is.
const secretMethod = "auth.login"

// TraceEvent is one message of a player who is traced.
type TraceEvent struct {
	At     time.Time
	In     bool          // received from the client; else sent to it
	Kind   wire.Kind     // what it is
	ID     uint32        // msgid; 0 in a notification
	Method string        // of a response too, where its request was seen
	Failed bool          // a response with an error
	Body   []byte        // params, result or error as MessagePack, cut at 4 KiB; the receiver's. nil: secret
	Size   int           // bytes of the whole message
	Took   time.Duration // of a response that is sent: since its request was received, where that was seen
}

// trace is one watch over one player. It lives on the player's home loop.
type trace struct {
	sink  func(TraceEvent) // immutable
	began map[uint32]begun // the client's calls that were not answered yet
	asked map[uint32]string
}

// begun is a call that was seen and not answered yet.
type begun struct {
	method string
	at     time.Time
}

// Trace shows sink every message from and to the player uid, of this session and
// those that follow it, until stop is called, which may be called again. sink runs
// on the player's home loop and must not block. It fails with resource_exhausted
// when 16 traces run, with invalid_argument for uid 0, and with unavailable when
// the loop has closed. Any goroutine.
func (p *Peers) Trace(uid uint64, sink func(TraceEvent)) (stop func(), err error) {
	if uid == 0 {
		return nil, Errorf(InvalidArgument, "uid 0 is nobody")
	}
	if p.tracing.Add(1) > maxTraces {
		p.tracing.Add(-1)
		return nil, &Error{Code: ResourceExhausted, Message: "16 traces run already", RetryAfter: defaultRetry}
	}
	h := p.home(uid)
	t := &trace{sink: sink, began: make(map[uint32]begun), asked: make(map[uint32]string)}
	if !h.loop.AddCallback(func() { h.addTrace(uid, t) }) {
		p.tracing.Add(-1)
		return nil, &Error{Code: Unavailable, Message: "the server is shutting down", RetryAfter: defaultRetry}
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			p.tracing.Add(-1)
			h.loop.AddCallback(func() { h.removeTrace(uid, t) })
		})
	}, nil
}

func (h *Hub) addTrace(uid uint64, t *trace) {
	if h.traces == nil {
		h.traces = make(map[uint64][]*trace)
	}
	h.traces[uid] = append(h.traces[uid], t)
	if s := h.session(h.uids[uid]); s != nil {
		s.flags |= flagTraced
	}
}

func (h *Hub) removeTrace(uid uint64, t *trace) {
	left := slices.DeleteFunc(slices.Clone(h.traces[uid]), func(other *trace) bool { return other == t })
	if len(left) > 0 {
		h.traces[uid] = left
		return
	}
	delete(h.traces, uid)
	if s := h.session(h.uids[uid]); s != nil && h.proxies[uid] == nil {
		s.flags &^= flagTraced
	}
}

// traceIn shows a message of size bytes that was received.
func (h *Hub) traceIn(s *session, m *wire.Message, size int) {
	for _, t := range h.traces[s.uid] {
		t.show(m, true, size)
	}
}

// traceOut shows a message that is to be sent, and reports whether it was taken: it
// answers an Impersonate.
func (h *Hub) traceOut(s *session, message []byte) (taken bool) {
	var m wire.Message
	if m.Parse(message, wire.MaxFrame) != nil { // which a hub's own message cannot fail, nor is it for a trace to say
		return false
	}
	for _, t := range h.traces[s.uid] {
		t.show(&m, false, len(message))
	}
	return h.answerProxy(s.uid, &m)
}

func (t *trace) show(m *wire.Message, in bool, size int) {
	e := TraceEvent{At: time.Now(), In: in, Kind: m.Kind, ID: m.ID, Method: string(m.Method), Size: size}
	body := m.Params
	switch {
	case m.Kind == wire.Request && in && len(t.began) < maxTraceIDs:
		t.began[m.ID] = begun{e.Method, e.At}
	case m.Kind == wire.Request && !in && len(t.asked) < maxTraceIDs:
		t.asked[m.ID] = e.Method
	case m.Kind == wire.Response && in:
		e.Method = t.asked[m.ID]
		delete(t.asked, m.ID)
	case m.Kind == wire.Response:
		if call, seen := t.began[m.ID]; seen {
			e.Method, e.Took = call.method, e.At.Sub(call.at)
			delete(t.began, m.ID)
		}
	}
	if m.Kind == wire.Response {
		if body = m.Result; m.Err != nil {
			body, e.Failed = m.Err, true
		}
	}
	if m.Kind == wire.Response || e.Method != secretMethod {
		e.Body = bytes.Clone(body[:min(len(body), maxTraceBody)])
	}
	t.sink(e)
}
