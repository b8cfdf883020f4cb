package bench

import (
	"fmt"

	"gameserverd/wire"
)

// target is what is called. Immutable after start.
type target struct {
	method string
	params wire.Raw
}

// state is how far a connection has come.
type state uint8

const (
	dialing state = iota
	loggingIn
	ready  // may call
	closed // or was never open
)

// loginID is the msgid of auth.login, the only call outstanding at its time.
const loginID = 0

// session is the protocol on one connection: what is outstanding, what comes in, what goes out. Bytes in, bytes out.
type session struct {
	id      uint64 // of the connection in its set
	calls   outstanding
	state   state
	reason  string // why the server closes it, or why it cannot be used
	waiting bool   // auth.login has no answer yet
	layer   *layer // TLS; nil: plain
}

// login appends the call of auth.login.
func (s *session) login(out []byte, token string) []byte {
	s.state, s.waiting = loggingIn, true
	start := len(out)
	out = wire.AppendRequest(wire.BeginFrame(out), loginID, "auth.login")
	out = wire.AppendString(wire.AppendArray(out, 1), token)
	wire.EndFrame(out, start)
	return out
}

// call appends one call that begins, or was due, at now.
func (s *session) call(out []byte, t *target, now int64) []byte {
	start := len(out)
	out = wire.AppendRequest(wire.BeginFrame(out), s.calls.begin(now), t.method)
	out = append(out, t.params...)
	wire.EndFrame(out, start)
	return out
}

// intake is what a worker's sessions share while they take messages in.
type intake struct {
	message wire.Message // reused
	window  window
	expect  *expectation
	*tally
}

// take takes in the whole frames at the start of b, which were received at now. It returns how many bytes they are and
// out with what is to be sent at once. An error means that the server broke the protocol.
func (s *session) take(b []byte, now int64, in *intake, out []byte) (int, []byte, error) {
	taken := 0
	for len(b)-taken >= wire.HeaderLen {
		size := wire.FrameLen(b[taken:])
		if size == 0 || size > wire.MaxFrame {
			return taken, out, fmt.Errorf("a frame of %d bytes", size)
		}
		end := taken + wire.HeaderLen + size
		if len(b) < end {
			break
		}
		if err := in.message.Parse(b[taken+wire.HeaderLen:end], wire.DefaultMaxElements); err != nil {
			return taken, out, err
		}
		taken = end
		switch in.message.Kind {
		case wire.Response:
			s.answer(now, in)
		case wire.Notification:
			in.notifications++
			if string(in.message.Method) == "sys.closing" {
				s.closing(in.message.Params)
			}
		case wire.Request:
			in.requests++
			start := len(out)
			out = wire.AppendErrorResponse(wire.BeginFrame(out), in.message.ID, unserved)
			wire.EndFrame(out, start)
		}
	}
	return taken, out, nil
}

var unserved = wire.Errorf(wire.Unimplemented, "the load generator has no methods")

func (s *session) answer(now int64, in *intake) {
	m := &in.message
	if s.waiting && m.ID == loginID {
		s.waiting, s.state = false, ready
		if m.Err != nil {
			s.state, s.reason = closed, "login: "+wire.ParseError(m.Err).Error()
		}
		return
	}
	in.seen++
	begun, ok := s.calls.end(m.ID)
	if !ok {
		in.unasked++
		return
	}
	if in.window.holds(begun) {
		in.answered(begun, now, m, in.expect)
	}
}

func (s *session) closing(params wire.Raw) {
	if c, err := wire.ParseClosing(params); err == nil {
		s.reason = "sys.closing " + c.Code
	}
}
