package rpc

import (
	"time"

	"gameserverd/internal/histogram"
	"gameserverd/wire"
)

// codes are the codes of the protocol page, section 3, in its order, and a last one
// for all that methods and clients may send beside them.
var codes = [numCodes]wire.Code{
	InvalidArgument, Unauthenticated, PermissionDenied, Unimplemented, NotFound, AlreadyExists, FailedPrecondition,
	Aborted, OutOfRange, ResourceExhausted, DeadlineExceeded, Canceled, Unavailable, Internal, "other",
}

const numCodes = 15

// Codes names the places of MethodStats.Errors. The last is "other": a code that
// the protocol does not have. Any goroutine.
func Codes() []wire.Code { return append([]wire.Code{}, codes[:]...) }

// codeIndex is the place of a code in Codes.
func codeIndex(code wire.Code) int {
	for i, known := range codes {
		if known == code {
			return i
		}
	}
	return numCodes - 1
}

// transports are what Link.Describe may say, after what is not known yet.
var transports = [...]string{unknownTransport, "tcp", "tls", "websocket", "tls+websocket"}

const unknownTransport = "unknown"

// MethodStats is what a hub has counted of one method. Times are in nanoseconds, on
// histogram.Durations.
type MethodStats struct {
	Calls  uint64           // that have ended or were refused, notifications included
	Errors [numCodes]uint64 // of these, in the order of Codes

	// Of the calls that have begun:
	//
	// Queue is from when the loop had the message, the turn's clock, to when the call
	// began. So it is what those before it took, in the turn and in the turns for which
	// it stayed in the connection's input, and the time in the session's mailbox.
	//
	// Run is from there to when the response was written, or when it was known that
	// nobody is there to get one. A call's begin is the end of the one before, where
	// nothing but its own event lies between the two (see Loop.Recent); so
	// Run has the reading of the call's own bytes from the socket, TLS and decoding
	// included, and the sending of the responses of the event before.
	Queue, Run histogram.Histogram

	// Exemplars are the last calls with a trace id, by their class of Run; nil: there
	// was none.
	Exemplars *[histogram.Classes]Exemplar
}

// Exemplar is one call of those in a class.
type Exemplar struct {
	Trace string        // trace id, 32 hexadecimal digits; "": there was no call
	Value time.Duration // how long it ran
	At    time.Time     // when it ended, by the turn's clock
}

// AskedStats is what a hub has counted of Peers.Call.
type AskedStats struct {
	Calls  uint64              // that came to the player's loop and have ended
	Errors [numCodes]uint64    // of these, in the order of Codes
	Time   histogram.Histogram // of those that were sent: to when the client had answered or it was known that it will not, in nanoseconds
}

// Carrier is how messages of a session travel.
type Carrier struct {
	Transport string // as Link.Describe has it, "unknown" before the first message
	Framing   string // "frames", "stream", or "unknown" before the first message
}

// HubStats is what a hub has counted since it was made, and what it has now.
type HubStats struct {
	Methods     []MethodStats       // in the order of Registry.Methods
	Unknown     uint64              // calls of methods that there are not
	Asked       AskedStats          // calls of clients' functions
	MailboxSize histogram.Histogram // messages in a session's mailbox after one more had come, on histogram.Sizes
	Open        map[Carrier]int     // sessions now; those of a kind that there once was are there with 0
	Gone        uint64              // sessions that clients have ended, and nobody before them
	InboxBytes  int64               // deliveries from other goroutines that wait, about
}

// records are what a hub counts for Stats. Loop only, and of this hub only: a
// session that moves leaves what was counted where it was.
type records struct {
	methods []MethodStats // by Method.index
	unknown uint64
	gone    uint64
	asked   AskedStats
	mailbox histogram.Histogram
	open    [len(transports)][numFramings]openCount
}

type openCount struct{ now, ever int }

// Stats copies the counts so far. It uses the memory of into again, which is the
// caller's; nothing of it is the hub's. Loop only.
func (h *Hub) Stats(into *HubStats) {
	r := &h.records
	for len(into.Methods) < len(r.methods) {
		into.Methods = append(into.Methods, MethodStats{})
	}
	into.Methods = into.Methods[:len(r.methods)]
	for i := range r.methods {
		r.methods[i].copyTo(&into.Methods[i])
	}
	into.Unknown, into.Gone, into.Asked, into.MailboxSize = r.unknown, r.gone, r.asked, r.mailbox
	into.InboxBytes = h.inbox.cost.Load()
	if into.Open == nil {
		into.Open = make(map[Carrier]int)
	}
	clear(into.Open)
	for t := range r.open {
		for f, n := range r.open[t] {
			if n.ever > 0 {
				into.Open[Carrier{transports[t], framing(f).String()}] = n.now
			}
		}
	}
}

func (m *MethodStats) copyTo(into *MethodStats) {
	exemplars := into.Exemplars
	*into = *m
	if m.Exemplars == nil {
		return
	}
	if exemplars == nil {
		exemplars = new([histogram.Classes]Exemplar)
	}
	*exemplars = *m.Exemplars
	into.Exemplars = exemplars
}

// clock is the turn's time in nanoseconds since the first hub was made: the same
// time on all hubs.
func (h *Hub) clock() int64 { return h.loop.Monotonic() + h.offset }

// timeOf is a time of the hub's clock.
func (h *Hub) timeOf(clock int64) time.Time {
	return h.loop.Now().Add(time.Duration(clock - h.clock()))
}

// record counts a call that has begun and ends now, with an error of that code; "":
// with none. It reads the clock, once: this is where the next call begins. The hub
// is the one that the call ends on.
func (h *Hub) record(c *Call, code wire.Code) {
	run := h.loop.Nanotime() + h.offset - c.began
	m := &h.records.methods[c.method.index]
	m.Calls++
	histogram.Durations.Observe(&m.Queue, c.queued)
	histogram.Durations.Observe(&m.Run, run)
	if code != "" {
		m.Errors[codeIndex(code)]++
	}
	if trace := c.knownTrace(); trace != "" {
		m.exemplify(Exemplar{Trace: trace, Value: time.Duration(run), At: h.loop.Now()})
	}
	if code != "" || c.queued+run >= int64(SlowCall) || h.watching > 0 {
		h.rememberEnded(c, code, run)
	}
}

func (m *MethodStats) exemplify(e Exemplar) {
	if m.Exemplars == nil {
		m.Exemplars = new([histogram.Classes]Exemplar)
	}
	m.Exemplars[histogram.Durations.Class(int64(e.Value))] = e
}

// knownTrace is the call's trace id, "" if nobody has asked for one: then there is
// nothing that it joins.
func (c *Call) knownTrace() string {
	if c.kind == plainCall { // the method has returned, so nobody else has the call
		return c.trace
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trace
}

// recordUntold counts a call whose end nobody is told, unless it was counted when
// its time was over, and tells who observes. What is a mistake of ours is logged:
// that there is nobody to tell makes it none of the client's.
func (h *Hub) recordUntold(c *Call, err error) {
	if h.peers.observed() {
		h.peers.after(c, err)
	}
	var code wire.Code
	if err != nil {
		code = h.publicError(c, err).Code
	}
	if !c.answered {
		h.record(c, code)
	}
}

// turnAway counts a call that is refused before it begins; a nil method is one that
// there is not, and a nil in that nothing was looked at of what it has brought.
func (h *Hub) turnAway(s *session, method *Method, code wire.Code, in *incoming) {
	h.rememberRefused(s, method, code, in)
	if method == nil {
		h.records.unknown++
		return
	}
	m := &h.records.methods[method.index]
	m.Calls++
	m.Errors[codeIndex(code)]++
}

// recordAsked counts a call of a client's function that has ended with err.
func (h *Hub) recordAsked(err error) {
	h.records.asked.Calls++
	if err != nil {
		h.records.asked.Errors[codeIndex(wire.CodeOf(err))]++
	}
}

// countOpen counts the session by what carries it, which is told apart by its first
// message.
func (h *Hub) countOpen(s *session) {
	n := &h.records.open[s.transport][s.framing]
	n.now++
	n.ever++
}

// uncountOpen is the opposite of countOpen.
func (h *Hub) uncountOpen(s *session) { h.records.open[s.transport][s.framing].now-- }

// transportIndex is the place of what a link describes among transports.
func transportIndex(described string) uint8 {
	for i, known := range transports {
		if known == described {
			return uint8(i)
		}
	}
	return 0
}
