package rpctest

import (
	"bytes"
	"fmt"
	"slices"

	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// Client is one connection to a Server. It belongs to the test's goroutine.
type Client struct {
	Closed bool // the connection has ended

	s       *Server
	conn    uint64
	unread  []byte // sent and not consumed by the server
	nextID  uint32
	answers map[uint32]Answer
	inbox   []Message
}

// Answer is what became of a call.
type Answer struct {
	Result rpc.Raw
	Err    *rpc.Error // nil when the call succeeded
}

// Message is a notification or a call from the server.
type Message struct {
	Method string
	Params []any  // as wire.Unmarshal decodes into any
	ID     uint32 // of a call, from 1; 0 in a notification
}

// String is the message as one would write a call: "room.left(lobby, 7)".
func (m Message) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s(", m.Method)
	for i, p := range m.Params {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, p)
	}
	b.WriteByte(')')
	return b.String()
}

// Connect opens a connection.
func (s *Server) Connect() *Client {
	s.last += 1 << 32 // a new generation; the slot is the number of connections there have been
	c := &Client{s: s, conn: s.last | (s.last>>32 - 1), answers: make(map[uint32]Answer)}
	s.clients[c.conn] = c
	s.hub.Opened(c.conn)
	s.settle()
	return c
}

// Call calls a method and returns its answer, which may depend on other
// goroutines but not on time or on another client: see Go for those.
func (c *Client) Call(method string, params ...any) (rpc.Raw, *rpc.Error) {
	c.s.t.Helper()
	answer := c.await(c.Go(method, params...), method)
	return answer.Result, answer.Err
}

// Await waits for the answer of the call id, as Server.Wait does.
func (c *Client) Await(id uint32) Answer {
	c.s.t.Helper()
	return c.await(id, fmt.Sprintf("call %d", id))
}

func (c *Client) await(id uint32, what string) (answer Answer) {
	c.s.t.Helper()
	c.s.Wait("the answer to "+what, func() (ok bool) {
		answer, ok = c.Answer(id)
		return ok
	})
	return answer
}

// Must is Call of a method that must succeed; it decodes the result into result
// unless that is nil.
func (c *Client) Must(result any, method string, params ...any) {
	c.s.t.Helper()
	raw, rpcErr := c.Call(method, params...)
	if rpcErr != nil {
		c.s.t.Fatalf("%s: %v", method, rpcErr)
	}
	if result != nil {
		if err := wire.Unmarshal(raw, result); err != nil {
			c.s.t.Fatalf("%s answered %x: %v", method, raw, err)
		}
	}
}

// Go calls a method that may be answered later, and returns the call's id.
func (c *Client) Go(method string, params ...any) (id uint32) {
	c.s.t.Helper()
	c.nextID++
	b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), c.nextID, method), len(params))
	for _, p := range params {
		b = c.encode(b, p)
	}
	c.send(b)
	return c.nextID
}

// Answer returns the answer of the call id, once; ok is false when it is not
// there yet.
func (c *Client) Answer(id uint32) (answer Answer, ok bool) {
	answer, ok = c.answers[id]
	delete(c.answers, id)
	return answer, ok
}

// Received returns the server's notifications and calls, in order, since the
// last time.
func (c *Client) Received() []Message {
	inbox := c.inbox
	c.inbox = nil
	return inbox
}

// Reply answers a call of the server, with an error unless that is nil.
func (c *Client) Reply(id uint32, result any, err *rpc.Error) {
	c.s.t.Helper()
	if err != nil {
		c.send(wire.AppendErrorResponse(wire.BeginFrame(nil), id, err))
		return
	}
	c.send(c.encode(wire.AppendResult(wire.BeginFrame(nil), id), result))
}

// Close ends the connection.
func (c *Client) Close() {
	(*link)(c.s).end(c.conn)
	c.s.settle()
}

func (c *Client) encode(b []byte, v any) []byte {
	c.s.t.Helper()
	b, err := wire.AppendAny(b, v)
	if err != nil {
		c.s.t.Fatal(err)
	}
	return b
}

// send hands a frame that begins at b[0] to the server.
func (c *Client) send(b []byte) {
	wire.EndFrame(b, 0)
	c.unread = append(c.unread, b...)
	(*link)(c.s).offer(c.conn)
	c.s.settle()
}

// receive takes whole frames from the server.
func (c *Client) receive(b []byte) {
	for b = slices.Clone(b); len(b) > 0; {
		n := wire.HeaderLen + wire.FrameLen(b)
		c.message(b[wire.HeaderLen:n])
		b = b[n:]
	}
}

func (c *Client) message(b []byte) {
	var m wire.Message
	if err := m.Parse(b, wire.DefaultMaxElements); err != nil {
		c.s.t.Fatalf("the server sent %x, which is no message: %v", b, err)
	}
	if m.Kind == wire.Response {
		c.answers[m.ID] = Answer{m.Result, wire.ParseError(m.Err)}
		return
	}
	got := Message{Method: string(m.Method), ID: m.ID}
	var params any
	if err := wire.Unmarshal(m.Params, &params); err != nil {
		c.s.t.Fatalf("the server sent params %x: %v", m.Params, err)
	}
	got.Params, _ = params.([]any)
	c.inbox = append(c.inbox, got)
}
