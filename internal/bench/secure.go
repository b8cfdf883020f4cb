package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"gameserverd/internal/conn"
)

// handshakeTime bounds a TLS handshake.
const handshakeTime = 10 * time.Second

// layer is TLS on one connection: crypto/tls on a net.Conn whose bytes the loop brings and takes away. The handshake runs on
// a goroutine, where Read waits. After it everything runs on the loop, where Read says errAgain when nothing has come;
// crypto/tls then keeps what it has of a record, because the error is temporary.
type layer struct {
	// immutable after newLayer
	loop interface{ AddCallback(func()) bool }
	send func(b []byte) // writes records on the loop
	tls  *tls.Conn

	// any goroutine, under mu
	mu      sync.Mutex
	change  sync.Cond // in, ended
	shaking bool      // the handshake has not ended
	in      []byte    // records received; those from at on are not read
	at      int
	out     []byte // records to send, after the handshake
	ended   error  // nothing more comes

	// loop only
	closed bool   // the connection has ended
	buf    []byte // opened, and not yet taken by the session
}

func newLayer(loop interface{ AddCallback(func()) bool }, cfg *tls.Config, send func([]byte)) *layer {
	l := &layer{loop: loop, send: send, shaking: true}
	l.change.L = &l.mu
	l.tls = tls.Client(l, cfg)
	return l
}

// errAgain is temporary for crypto/tls.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing has come" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read implements net.Conn for crypto/tls.
func (l *layer) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.shaking && l.at == len(l.in) && l.ended == nil {
		l.change.Wait()
	}
	switch {
	case l.at < len(l.in):
		n := copy(p, l.in[l.at:])
		if l.at += n; l.at == len(l.in) {
			l.in, l.at = l.in[:0], 0
		}
		return n, nil
	case l.ended != nil:
		return 0, l.ended
	}
	return 0, errAgain
}

// Write implements net.Conn for crypto/tls. It never fails: crypto/tls would not recover from that.
func (l *layer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.shaking {
		l.out = append(l.out, p...)
		return len(p), nil
	}
	b := append([]byte(nil), p...)
	l.loop.AddCallback(func() { l.send(b) })
	return len(p), nil
}

// Close implements net.Conn for crypto/tls, which calls it when a handshake is given up.
func (l *layer) Close() error {
	l.end(net.ErrClosed)
	return nil
}

// The rest of net.Conn has no meaning here.
func (l *layer) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (l *layer) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (l *layer) SetDeadline(time.Time) error      { return nil }
func (l *layer) SetReadDeadline(time.Time) error  { return nil }
func (l *layer) SetWriteDeadline(time.Time) error { return nil }

// end says that nothing more comes. Any goroutine.
func (l *layer) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = err
	}
	l.change.Broadcast()
}

// feed brings bytes that have come. ready says whether open may be called. Loop only.
func (l *layer) feed(b []byte) (ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = append(l.in, b...)
	l.change.Broadcast()
	return !l.shaking
}

// settle ends the part of the handshake's goroutine. Loop only.
func (l *layer) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shaking = false
}

// open appends what has come to buf, opened, and sends what crypto/tls has to say to it. The error is the end of the
// connection. Loop only.
func (l *layer) open(scratch []byte) error {
	for {
		n, err := l.tls.Read(scratch)
		l.buf = append(l.buf, scratch[:n]...)
		if err != nil {
			l.flush()
			if errors.Is(err, errAgain) {
				return nil
			}
			return err
		}
	}
}

// taken removes what the session took from buf. Loop only.
func (l *layer) taken(n int) {
	if l.buf = l.buf[:copy(l.buf, l.buf[n:])]; len(l.buf) == 0 && cap(l.buf) > 64<<10 {
		l.buf = nil
	}
}

// seal sends b. Loop only.
func (l *layer) seal(b []byte) {
	_, _ = l.tls.Write(b) // fails only after a failed Read, which has ended the connection
	l.flush()
}

func (l *layer) flush() {
	if len(l.out) > 0 {
		l.send(l.out)
		l.out = l.out[:0]
	}
}

// write sends b on the connection of s, over TLS where there is TLS. Loop only.
func (w *worker) write(s *session, b []byte) {
	if s.layer != nil {
		s.layer.seal(b)
		return
	}
	w.set.Write(s.id, b)
}

// shake begins the handshake of a connection; secured is called with its outcome. Loop only.
func (w *worker) shake(at int) {
	s := &w.sessions[at]
	id := s.id
	l := newLayer(w.loop, w.tls, func(b []byte) { w.set.Write(id, b) })
	s.layer = l
	w.shaking.Go(func() {
		ctx, cancel := context.WithTimeout(w.dialing, handshakeTime)
		defer cancel()
		err := l.tls.HandshakeContext(ctx)
		w.loop.AddCallback(func() { w.secured(at, err) })
	})
}

// secured goes on after a handshake. Loop only.
func (w *worker) secured(at int, err error) {
	s := &w.sessions[at]
	s.layer.settle()
	if err == nil && s.layer.closed {
		// With TLS 1.3 this is where a server says that it wants another certificate. One
		// that is full may have said so.
		err = s.layer.open(make([]byte, 1<<10))
		_, _, _ = s.take(s.layer.buf, w.clock(), &w.in, nil)
	}
	if err != nil && s.reason == "" {
		s.reason = "TLS: " + handshakeProblem(err)
		w.note(err)
	}
	switch {
	case s.layer.closed:
		w.fail(at)
	case err != nil:
		w.set.Close(s.id, conn.Local, err)
	default:
		if w.secure == "" {
			state := s.layer.tls.ConnectionState()
			w.secure = tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite)
		}
		w.begin(at)
		w.opaque(s.id, s, nil) // what came behind the handshake
	}
}

// opaque is Data of a connection with TLS. Loop only.
func (w *worker) opaque(id uint64, s *session, b []byte) {
	l := s.layer
	if !l.feed(b) {
		return
	}
	if w.scratch == nil {
		w.scratch = make([]byte, 64<<10)
	}
	err := l.open(w.scratch)
	if len(l.buf) > 0 {
		l.taken(w.plain(id, l.buf))
	}
	if err != nil && !l.closed {
		if s.reason == "" && !errors.Is(err, io.EOF) {
			s.reason = "TLS: " + err.Error()
			w.note(err)
		}
		w.set.Close(id, conn.PeerClosed, nil)
	}
}

// note keeps the first error of TLS, for who can explain it. Loop only.
func (w *worker) note(err error) {
	if w.why == nil {
		w.why = err
	}
}

// handshakeProblem is what is common to all handshakes that fail for the same reason.
func handshakeProblem(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server ended the connection in or right behind the handshake"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no handshake within %v", handshakeTime)
	}
	return err.Error()
}

// NoConnectionError is the error of a run in which no connection could be used.
type NoConnectionError struct {
	Addr string
	Why  map[string]int // how many failed, by reason
	TLS  error          // what crypto/tls said first; nil: nothing
}

func (e *NoConnectionError) Error() string {
	return fmt.Sprintf("%s: no connection could be used: %s", e.Addr, counts(e.Why))
}

// Unwrap gives TLS.
func (e *NoConnectionError) Unwrap() error { return e.TLS }
