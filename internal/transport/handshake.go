package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"gameserverd/internal/conn"
	"gameserverd/internal/loop"
)

// The first bytes of a TLS connection:
//
//	| 22 (handshake) | version, 2 bytes | length, 2 bytes | ClientHello ... |
const (
	recordHandshake = 0x16
	recordHeader    = 5
	maxRecord       = 16<<10 + 2048
)

// maxHandshakeInput is how many bytes that the handshake has not asked for stop
// the reading from its client.
const maxHandshakeInput = 32 << 10

// handshake is a TLS connection whose crypto/tls state is on a goroutine of its
// own, and stays there until the handshake has ended: crypto/tls remembers an
// error of any kind, so it must be given a connection that blocks. The goroutine
// is started when the client's first record is there, computes only while it has
// one of Shared.turns, and gives that back while it waits for the client.
type handshake struct {
	// immutable
	loop   *loop.Loop
	shared *Shared
	layer  *tlsLayer

	// loop only
	started bool // there is a goroutine

	// any goroutine
	mu     sync.Mutex // guards what follows
	more   sync.Cond  // in has grown, or err is set
	in     []byte     // received and not read; the front of it is read away
	out    []byte     // written and not taken by the loop
	err    error      // what reads find behind in; errClosed: they find nothing else
	full   bool       // the loop has stopped reading from the client
	posted bool       // take is on its way to the loop
}

// startTLS makes k a TLS connection whose handshake begins. It was counted by
// Shared.startHandshake.
func (k *stack) startTLS(config *tls.Config) {
	t := &tlsLayer{stack: k}
	s := &handshake{loop: k.mux.loop, shared: k.mux.shared, layer: t}
	s.more.L = &s.mu
	t.shake = s
	t.conn = tls.Server(t, config)
	k.tls = t
	k.mux.isEarly(k)
}

// give hands over what the client has sent. Loop only.
func (s *handshake) give(b []byte) {
	s.mu.Lock()
	s.in = append(s.in, b...)
	full := len(s.in) > maxHandshakeInput
	s.full = s.full || full
	begun := s.started || helloCame(s.in)
	s.mu.Unlock()
	if full {
		s.layer.stack.mux.set.Pause(s.layer.stack.id)
	}
	if begun && !s.started {
		s.started = true
		go s.run()
		return
	}
	s.more.Signal()
}

// helloCame tells whether the first record is there, or something that is none.
func helloCame(b []byte) bool {
	if len(b) < recordHeader {
		return false
	}
	n := int(b[3])<<8 | int(b[4])
	return b[1] != 3 || n > maxRecord || len(b) >= recordHeader+n
}

// held is how many bytes wait for the handshake. Loop only.
func (s *handshake) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cap(s.in)
}

// end says that nothing more comes, and why. Loop only.
func (s *handshake) end(err error) {
	s.mu.Lock()
	if s.err == nil || err == errClosed {
		s.err = err
	}
	s.mu.Unlock()
	s.more.Signal()
	if !s.started && err != errClosed {
		s.layer.stack.fail(badHandshake, conn.PeerClosed, err)
	}
}

// cancel ends the handshake of a connection that is closed or being closed. Loop only.
func (s *handshake) cancel() {
	s.end(errClosed)
	if !s.started {
		s.started = true // and never will be
		s.shared.handshakes.Add(-1)
	}
}

// run is the goroutine.
func (s *handshake) run() {
	s.shared.turns <- struct{}{}
	err := s.shake()
	s.shared.endTurn()
	s.shared.handshakes.Add(-1)
	s.loop.AddCallback(func() { s.done(err) })
}

// shake is the handshake; a panic in it costs only this connection.
func (s *handshake) shake() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a panic: %v", v)
		}
	}()
	return s.layer.conn.Handshake()
}

// read is the goroutine's Read: it waits.
func (s *handshake) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 && s.err == nil {
		s.wait()
	}
	if s.err == errClosed || len(s.in) == 0 {
		return 0, s.err
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

// endTurn lets the next handshake compute. Before it does, whoever else waits for
// this processor runs, the loops among them: the goroutine that the turn wakes
// would go on in the same time slice, and the next after it, and a loop that comes
// back from epoll_wait would find no processor for the 10 ms that such a slice lasts.
func (s *Shared) endTurn() {
	runtime.Gosched()
	<-s.turns
}

// wait waits for the client, without keeping others from computing. Locked.
func (s *handshake) wait() {
	s.mu.Unlock()
	s.shared.endTurn()
	s.mu.Lock()
	if s.full {
		s.full = false
		s.loop.AddCallback(s.readOn)
	}
	for len(s.in) == 0 && s.err == nil {
		s.more.Wait()
	}
	s.mu.Unlock()
	s.shared.turns <- struct{}{}
	s.mu.Lock()
}

// readOn goes on reading from a client that was stopped.
func (s *handshake) readOn() {
	if k := s.layer.stack; s.layer.shake == s && !k.has(ended) {
		k.mux.set.Resume(k.id)
	}
}

// write is the goroutine's Write: the loop sends.
func (s *handshake) write(b []byte) {
	s.mu.Lock()
	s.out = append(s.out, b...)
	first := !s.posted
	s.posted = true
	s.mu.Unlock()
	if first {
		s.loop.AddCallback(s.take)
	}
}

// take sends what the goroutine has written. Loop only.
func (s *handshake) take() {
	s.mu.Lock()
	out := s.out
	s.out, s.posted = nil, false
	s.mu.Unlock()
	// What a handshake that was cut off had to say is sent as well, if it can be.
	if k := s.layer.stack; k.mux != nil && len(out) > 0 {
		k.mux.set.Write(k.id, out)
	}
}

// done goes on with what the handshake has come to. Loop only.
func (s *handshake) done(err error) {
	t := s.layer
	k := t.stack
	if k.mux == nil || k.has(ended) {
		return
	}
	s.take()
	if err != nil {
		k.fail(badHandshake, conn.Broken, fmt.Errorf("TLS handshake: %w", err))
		return
	}
	t.shake = nil
	t.eof = errors.Is(s.err, errEOF)
	if len(s.in) > 0 {
		t.behind = append([]byte(nil), s.in...) // application data
	}
	k.count()
	k.mux.isWarm(k)
	// The pledge that each read has left is offered now, and all else with it.
	k.mux.set.Resume(k.id)
	k.mux.set.Yield(k.id)
}
