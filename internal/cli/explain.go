package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"gameserverd/client"
	"gameserverd/internal/nearest"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// step says how far a call had come.
type step uint8

const (
	connecting step = iota
	loggingIn
	calling
	waiting
)

// failure is what there is to explain.
type failure struct {
	step   step
	err    error
	conn   *client.Client // to ask for the methods; nil: there is none
	method string         // that was called
}

// explained is an error as `call` prints it. With --json it is one object.
type explained struct {
	Code       string          `json:"code"`
	Message    string          `json:"message"`
	Data       json.RawMessage `json:"data,omitempty"`
	RetryAfter int64           `json:"retry_after_ms,omitempty"`
	Hint       string          `json:"hint"`
}

// Signature is "sum(x int, y int)"; optional params are in brackets. Any
// goroutine.
func Signature(m rpc.MethodInfo) string {
	var params []string
	for _, p := range m.Params {
		s := p.Name + " " + p.Type
		if p.Optional {
			s = "[" + s + "]"
		}
		params = append(params, s)
	}
	return m.Name + "(" + strings.Join(params, ", ") + ")"
}

func (c *Call) explain(f failure) explained {
	var closing *client.ClosingError
	if errors.As(f.err, &closing) {
		return explained{
			Code: closing.Code, Message: "the server closed the connection: " + closing.Message,
			RetryAfter: closing.RetryAfter.Milliseconds(), Hint: c.hintClosing(closing.Closing),
		}
	}
	e := explained{Code: string(client.CodeOf(f.err)), Message: f.err.Error()}
	var sent *client.Error
	if errors.As(f.err, &sent) {
		e.Message, e.RetryAfter = sent.Message, sent.RetryAfter.Milliseconds()
		if data, ok := sent.Data.(wire.Raw); ok {
			e.Data = AppendJSON(nil, data)
		}
	}
	if f.step == connecting {
		e.Code, e.Hint = string(client.Unavailable), c.hintConnecting(f.err)
		return e
	}
	e.Hint = c.hint(f, client.Code(e.Code), time.Duration(e.RetryAfter)*time.Millisecond)
	return e
}

// hintConnecting says what to do when there is no connection.
func (c *Call) hintConnecting(err error) string {
	var dns *net.DNSError
	if hint := TLSHint(err); hint != "" {
		return hint
	}
	switch {
	case c.TLS != nil && isCut(err):
		return c.Addr + " ended the connection in the TLS handshake: is TLS on there (listen.tls.cert_file), and listen.protocols not too narrow?"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Sprintf("nothing listens on %s. Is the daemon running? Start it with: %s serve", c.Addr, c.Program)
	case errors.As(err, &dns):
		return fmt.Sprintf("%s is no host that is known here; --addr takes HOST:PORT or unix:/path", dns.Name)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s did not answer within --timeout %v: is the address right, and the network up?", c.Addr, c.Timeout)
	case errors.Is(err, syscall.EACCES):
		return "this user may not open " + c.Addr
	default:
		return "is the address right? --addr takes HOST:PORT or unix:/path"
	}
}

// hint says what to do about an error by its code.
func (c *Call) hint(f failure, code client.Code, retry time.Duration) string {
	if f.step == loggingIn && (code == client.Unauthenticated || code == client.InvalidArgument) {
		return "the token was refused: where auth.mode is dev, a token is dev: and the player's number, as in --login dev:7; where it is jwt, " + c.Program + " token --uid 7 makes one"
	}
	if hint := TLSHint(f.err); hint != "" {
		return hint
	}
	again := "try again later"
	if retry > 0 {
		again = fmt.Sprintf("try again after %v", retry)
	}
	switch code {
	case client.InvalidArgument:
		return c.hintArguments(f)
	case client.Unauthenticated:
		return "log in first: add --login dev:7"
	case client.PermissionDenied:
		return "this login may not do that; try another --login"
	case client.Unimplemented:
		return c.hintUnimplemented(f)
	case client.NotFound:
		return "check the names and numbers in the arguments"
	case client.AlreadyExists:
		return "it exists already; choose another name"
	case client.FailedPrecondition:
		return "something else has to come first; the message says what"
	case client.Aborted:
		return "something else changed it at the same time: read it again, then repeat the call"
	case client.OutOfRange:
		return "use a smaller number, or one that is in the range"
	case client.ResourceExhausted:
		return "a limit was reached: " + again
	case client.DeadlineExceeded:
		return fmt.Sprintf("no answer in time; the call may have run. --timeout (%v now) allows more time", c.Timeout)
	case client.Canceled:
		return "the call was given up before its answer"
	case client.Unavailable:
		if errors.Is(f.err, client.ErrMayHaveRun) || f.conn != nil && f.conn.Err() != nil {
			hint := "the connection was lost before the answer, so the call may have run; is " + c.Addr + " a gameserverd, and still running?"
			switch {
			case c.TLS == nil:
				hint += " Where it speaks only TLS, add --tls"
			case len(c.TLS.Certificates) == 0:
				hint += " Where it wants a client's certificate, add --cert and --key"
			}
			return hint
		}
		return "the server cannot do that just now: " + again
	case client.Internal:
		return "a bug in the handler; the server's log has the details under the same trace"
	default:
		return "this code is not one of the protocol's own; the method's documentation should tell"
	}
}

// hintArguments says what the method takes.
func (c *Call) hintArguments(f failure) string {
	hint := c.Program + " routes lists the parameters of every method"
	for _, m := range methods(f.conn) {
		if m.Name == f.method {
			hint = "the method is " + Signature(m)
		}
	}
	if text := f.err.Error(); strings.Contains(text, "string, got integer") || strings.Contains(text, "string, got float") {
		hint += `; a string that looks like a number needs quotes of its own: '"7"'`
	}
	return hint
}

// hintUnimplemented names the nearest method, or who lacks the one called.
func (c *Call) hintUnimplemented(f failure) string {
	var names []string
	for _, m := range methods(f.conn) {
		if m.Name == f.method {
			return "the server has " + f.method + ", but the client that it asked does not answer; with --answer a waiting call does"
		}
		names = append(names, m.Name)
	}
	if near := nearest.Name(f.method, names); near != "" {
		return fmt.Sprintf("did you mean %s? %s routes lists all methods", near, c.Program)
	}
	return c.Program + " routes lists all methods; one that was just written is served after make generate and a restart"
}

// hintClosing says what to do after the server ended the connection.
func (c *Call) hintClosing(closing client.Closing) string {
	again := "try again"
	if closing.RetryAfter > 0 {
		again = fmt.Sprintf("try again after %v", closing.RetryAfter)
	}
	if c.TLS == nil && strings.Contains(closing.Message, "TLS") {
		return "add --tls"
	}
	switch closing.Code {
	case wire.ProtocolError:
		return "the server did not understand what was sent: are both of the same version?"
	case wire.FrameTooLarge:
		return "the arguments are larger than the server's limits.max_frame_bytes"
	case wire.LoginTimeout:
		return "stay connected only with a login: add --login dev:7"
	case wire.IdleTimeout:
		return "the server heard nothing for limits.idle_timeout"
	case wire.SlowConsumer:
		return "what the server sent was not read fast enough"
	case wire.RateLimited:
		return "too many calls: " + again
	case wire.TooManyConnections:
		return "the server is full (limits.max_connections): " + again
	case wire.Replaced:
		return "the same player logged in on another connection; use another --login"
	case wire.Kicked:
		return "somebody ended this session; the message says why"
	case wire.ServerShutdown:
		return "the server is stopping: " + again
	default:
		return "this code is not one of the protocol's own"
	}
}

// askTime bounds what an explanation may cost.
const askTime = 2 * time.Second

// methods asks the server for its methods. An explanation can do without them,
// so an error only means that there are none.
func methods(conn *client.Client) (out []rpc.MethodInfo) {
	if conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if conn.Call(ctx, "sys.methods", &out) != nil {
		return nil
	}
	return out
}
