package storetest

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Link is a TCP proxy before a server, whose faults a test switches on and off. It knows no protocol; see Fault for
// what it takes for a packet. Any goroutine.
type Link struct {
	Addr string // where clients connect: 127.0.0.1:port

	// immutable after Proxy
	server string // address, or the path of a unix socket
	ln     net.Listener
	ctx    context.Context // ends with the test
	end    context.CancelFunc
	all    sync.WaitGroup // the goroutines

	mu      sync.Mutex
	refuse  bool
	delay   time.Duration
	stalled chan struct{} // closed when the stall ends; nil: none
	pipes   map[*pipe]bool
	left    int64 // bytes of clients until the cut; < 0: no cut
	fault   *Fault
}

// Proxy starts a proxy before the server at addr, 127.0.0.1:port or the path of a unix socket; the test's end stops it.
// See Server.At for the DSN or URL that leads through it.
func Proxy(t testing.TB, addr string) *Link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{Addr: ln.Addr().String(), server: addr, ln: ln, pipes: map[*pipe]bool{}, left: -1}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.all.Add(1)
	go l.accept()
	t.Cleanup(func() {
		l.end()
		ln.Close()
		l.Cut()
		l.all.Wait()
	})
	return l
}

// Delay makes every packet, in both directions, wait that long; 0 ends it.
func (l *Link) Delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// Stall holds back all bytes, with the connections open, until Resume. New connections are taken and hear nothing.
func (l *Link) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled == nil {
		l.stalled = make(chan struct{})
	}
}

// Resume ends Stall: what was held back goes on.
func (l *Link) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled != nil {
		close(l.stalled)
		l.stalled = nil
	}
}

// Refuse resets new connections at once while it is on; those that are open stay.
func (l *Link) Refuse(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = on
}

// Cut resets all connections that are open.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pipes {
		p.cut()
	}
}

// CutAfter resets a connection when n more bytes of clients, of all together, have gone to the server.
func (l *Link) CutAfter(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = n
}

func (l *Link) accept() {
	defer l.all.Done()
	for {
		client, err := l.ln.Accept()
		if err != nil {
			return // closed by the test's end
		}
		l.all.Add(1)
		go l.serve(client)
	}
}

// serve carries one client's connection. It dials by itself, so that a server that takes no connections holds up nobody
// else.
func (l *Link) serve(client net.Conn) {
	defer l.all.Done()
	network := "tcp"
	if strings.HasPrefix(l.server, "/") {
		network = "unix"
	}
	l.mu.Lock()
	refuse := l.refuse
	l.mu.Unlock()
	var server net.Conn
	if !refuse {
		var d net.Dialer
		server, _ = d.DialContext(l.ctx, network, l.server) // a client of a server that is away is reset
	}
	if server == nil {
		reset(client)
		return
	}
	p := &pipe{client: client, server: server, ended: make(chan struct{})}
	l.mu.Lock()
	l.pipes[p] = true
	if l.ctx.Err() != nil {
		p.cut() // the cleanup's Cut may have been before
	}
	l.mu.Unlock()
	l.all.Add(1)
	go func() {
		defer l.all.Done()
		l.down(p)
	}()
	l.up(p)
	<-p.ended
	l.mu.Lock()
	delete(l.pipes, p)
	l.mu.Unlock()
}

// up carries the client's bytes to the server.
func (l *Link) up(p *pipe) {
	b := make([]byte, 64<<10)
	for {
		n, err := p.client.Read(b)
		if n > 0 && !l.request(p, b[:n]) {
			return
		}
		if err != nil {
			p.finish(err, p.server)
			return
		}
	}
}

// request forwards one packet of the client. It returns false when the client is to be read no more.
func (l *Link) request(p *pipe, b []byte) bool {
	if !l.pass(p) {
		return false
	}
	if f := l.take(b); f != nil {
		return f.meet(p, b)
	}
	n, cut := l.budget(len(b))
	if _, err := p.server.Write(b[:n]); err != nil || cut {
		p.cut()
		return false
	}
	return true
}

// budget returns how many of the n bytes may go on, and whether the connection ends after them.
func (l *Link) budget(n int) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left < 0 {
		return n, false
	}
	if int64(n) < l.left {
		l.left -= int64(n)
		return n, false
	}
	n = int(l.left)
	l.left = -1
	return n, true
}

// down carries the server's bytes to the client. It ends the pipe.
func (l *Link) down(p *pipe) {
	b := make([]byte, 64<<10)
	for {
		n, err := p.server.Read(b)
		if f := p.fault.Load(); f != nil {
			p.cut()
			f.answered()
			return
		}
		if n > 0 {
			if !l.pass(p) {
				return
			}
			if _, err := p.client.Write(b[:n]); err != nil {
				p.cut()
				return
			}
		}
		if err != nil {
			p.finish(err, p.client)
			return
		}
	}
}

// pass waits out the delay and the stall. It returns false if the pipe was cut meanwhile.
func (l *Link) pass(p *pipe) bool {
	l.mu.Lock()
	delay, stalled := l.delay, l.stalled
	l.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.ended:
			return false
		}
	}
	if stalled != nil {
		select {
		case <-stalled:
		case <-p.ended:
			return false
		}
	}
	return true
}

// finish passes on the end of one direction: an orderly one leaves the other direction open.
func (p *pipe) finish(err error, to net.Conn) {
	half, ok := to.(interface{ CloseWrite() error })
	if err != io.EOF || !ok || half.CloseWrite() != nil {
		p.cut()
	} else if p.halves.Add(1) == 2 {
		p.end(func(c net.Conn) { c.Close() })
	}
}
