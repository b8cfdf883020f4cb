package storetest

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
)

// Fault happens once, to the next packet of a client that holds a text. A packet is what one read of the client's socket
// returned: all of a request, as long as the client waits for each answer before it sends the next. Any goroutine.
type Fault struct {
	Met <-chan struct{} // closed when it has happened

	kind     faultKind
	text     []byte
	met      chan struct{}
	release  chan struct{} // HoldRequest: closed when the packet may go on
	free     func()        // closes release
	answer   chan struct{} // closed when the server has answered what the client will not hear
	answered func()        // closes answer, and met of LoseReply
}

type faultKind uint8

const (
	loseRequest faultKind = iota
	cutAt
	loseReply
	holdRequest
)

// LoseRequest resets the connection in place of forwarding the next packet that holds the text: the server never gets
// it.
func (l *Link) LoseRequest(text string) *Fault { return l.expect(loseRequest, text) }

// CutAt forwards the next packet that holds the text and resets both connections at once: the server may still be at it
// when the client tries again, or never read it.
func (l *Link) CutAt(text string) *Fault { return l.expect(cutAt, text) }

// LoseReply forwards the next packet that holds the text, waits for the server's reply, drops it and resets the
// connection: the server has done what the packet says, and the client cannot know.
func (l *Link) LoseReply(text string) *Fault { return l.expect(loseReply, text) }

// HoldRequest resets the client's connection at the next packet that holds the text, but keeps the server's, with all
// that is open there, until Release delivers the packet late.
func (l *Link) HoldRequest(text string) *Fault { return l.expect(holdRequest, text) }

// Release delivers the packet that HoldRequest holds, or will hold, and returns when the server has answered it or its
// connection has ended.
func (f *Fault) Release() {
	f.free()
	<-f.answer
}

func (l *Link) expect(kind faultKind, text string) *Fault {
	f := &Fault{kind: kind, text: []byte(text), met: make(chan struct{}), release: make(chan struct{}), answer: make(chan struct{})}
	f.Met = f.met
	f.free = sync.OnceFunc(func() { close(f.release) })
	f.answered = sync.OnceFunc(func() {
		close(f.answer)
		if kind == loseReply {
			close(f.met)
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
	return f
}

// take returns the fault that waits for this packet.
func (l *Link) take(packet []byte) *Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fault
	if f == nil || !bytes.Contains(packet, f.text) {
		return nil
	}
	l.fault = nil
	return f
}

// meet does to the packet what the fault is about. It returns false when the client is to be read no more.
func (f *Fault) meet(p *pipe, packet []byte) bool {
	switch f.kind {
	case loseRequest:
		p.cut()
		close(f.met)
		return false
	case cutAt:
		_, _ = p.server.Write(packet) // the client cannot tell either
		p.cut()
		close(f.met)
		return false
	case holdRequest:
		reset(p.client)
		p.fault.Store(f) // before the reply can come
		close(f.met)
		select {
		case <-f.release:
		case <-p.ended:
			f.answered()
			return false
		}
	case loseReply:
		p.fault.Store(f)
	}
	if _, err := p.server.Write(packet); err != nil {
		p.cut()
	}
	return false
}

// pipe is one client's connection and the one to the server that belongs to it.
type pipe struct {
	client, server net.Conn
	fault          atomic.Pointer[Fault] // the server's next bytes are not for the client
	halves         atomic.Int32          // directions that have ended in an orderly way
	once           sync.Once
	ended          chan struct{} // closed by end
}

// cut resets both connections. Any goroutine.
func (p *pipe) cut() { p.end(reset) }

// end ends both connections, once, each in that way.
func (p *pipe) end(how func(net.Conn)) {
	p.once.Do(func() {
		how(p.client)
		how(p.server)
		close(p.ended)
	})
}

// reset closes a connection so that the other side does not take it for an orderly end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only if it is closed already
	}
	c.Close()
}
