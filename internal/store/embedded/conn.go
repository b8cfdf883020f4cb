package embedded

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Bounds of one connection. Requests wait for room, so that a client that writes faster than commands run is slowed down. Replies do
// not: the client may still be writing its pipeline and read nothing until it has, so a server that waited for it would wait for ever
// (net.Pipe does, at about 500 commands). A client that lets them pile up loses the connection, as with a real Redis.
const (
	maxRequests = 1 << 20  // bytes that were written and not read by the server
	maxReplies  = 64 << 20 // bytes that were answered and not read by the client
	keptBuffer  = 64 << 10 // a larger buffer is given back to the garbage collector once it is empty
)

var errTooManyReplies = errors.New("embedded redis: the client has not read 64 MiB of replies")

// addr is both ends' address.
type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "embedded" }

// end is one end of a connection: a net.Conn over two streams of bytes in memory. Any goroutine.
type end struct {
	in, out *stream
	closing func() // nil, or called once by Close
	once    sync.Once
}

// newConn returns both ends of a connection. onClose is called once, by the first Close of the client's end.
func newConn(onClose func()) (client, server *end) {
	requests := newStream(maxRequests, nil)
	replies := newStream(maxReplies, errTooManyReplies)
	return &end{in: replies, out: requests, closing: onClose}, &end{in: requests, out: replies}
}

func (e *end) Read(p []byte) (int, error) { return e.in.read(p) }

func (e *end) Write(p []byte) (int, error) {
	n, err := e.out.write(p)
	if err == errTooManyReplies {
		e.Close()
	}
	return n, err
}

// Close ends both directions; what this end has written can still be read.
func (e *end) Close() error {
	e.out.closeWrite()
	e.in.closeRead()
	e.once.Do(func() {
		if e.closing != nil {
			e.closing()
		}
	})
	return nil
}

func (e *end) LocalAddr() net.Addr  { return addr{} }
func (e *end) RemoteAddr() net.Addr { return addr{} }

func (e *end) SetDeadline(t time.Time) error {
	e.in.setReadDeadline(t)
	e.out.setWriteDeadline(t)
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.in.setReadDeadline(t)
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.setWriteDeadline(t)
	return nil
}

// stream carries bytes one way, from one writer to one reader.
type stream struct {
	// immutable after newStream
	limit int   // bytes that wait in it
	full  error // nil: a writer waits for room; else it fails with this, and the stream is closed

	// any goroutine
	mu      sync.Mutex // guards what follows
	changed sync.Cond  // something of it has changed, or a deadline may be over
	buf     []byte     // what waits is buf[head:]
	head    int
	wclosed error // of reads, once all is read: the writer is gone
	rclosed error // of writes: the reader is gone
	reader  side
	writer  side
}

// side is what one of the two sides waits with.
type side struct {
	closed   bool // by this side itself
	deadline time.Time
	timer    *time.Timer // made by the first wait that has a deadline
}

func newStream(limit int, full error) *stream {
	s := &stream{limit: limit, full: full}
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.reader.closed:
			return 0, net.ErrClosed
		case s.reader.over():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.head < len(s.buf):
			n := copy(p, s.buf[s.head:])
			s.head += n
			if s.head == len(s.buf) {
				s.emptied()
			}
			if s.full == nil {
				s.changed.Broadcast() // somebody may wait for room
			}
			return n, nil
		case s.wclosed != nil:
			return 0, s.wclosed
		}
		s.wait(&s.reader)
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writer.closed:
			return n, net.ErrClosed
		case s.writer.over():
			return n, os.ErrDeadlineExceeded
		case s.rclosed != nil:
			return n, s.rclosed
		case len(p) == 0:
			return n, nil
		}
		room := s.limit - (len(s.buf) - s.head)
		if room < len(p) && s.full != nil {
			s.rclosed, s.wclosed = s.full, s.full
			s.changed.Broadcast()
			return n, s.full
		}
		if room > 0 {
			took := min(room, len(p))
			s.append(p[:took])
			n, p = n+took, p[took:]
			s.changed.Broadcast()
			continue
		}
		s.wait(&s.writer)
	}
}

// append moves what waits to the front where that makes room without a new buffer.
func (s *stream) append(p []byte) {
	if s.head > 0 && len(s.buf)+len(p) > cap(s.buf) && s.head >= len(s.buf)/2 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.head:])]
		s.head = 0
	}
	s.buf = append(s.buf, p...)
}

func (s *stream) emptied() {
	s.head = 0
	if cap(s.buf) > keptBuffer {
		s.buf = nil
		return
	}
	s.buf = s.buf[:0]
}

// wait returns when something may have changed; it needs the lock, and gives it away meanwhile.
func (s *stream) wait(on *side) {
	if !on.deadline.IsZero() {
		left := time.Until(on.deadline)
		if on.timer == nil {
			on.timer = time.AfterFunc(left, s.wake)
		} else {
			on.timer.Reset(left) // it is never stopped: who it wakes looks at the deadline
		}
	}
	s.changed.Wait()
}

// wake takes the lock, so that it cannot come between a look at the clock and the wait that follows.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

func (s *stream) setReadDeadline(t time.Time)  { s.setDeadline(&s.reader, t) }
func (s *stream) setWriteDeadline(t time.Time) { s.setDeadline(&s.writer, t) }

func (s *stream) setDeadline(of *side, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of.deadline = t
	s.changed.Broadcast() // who waits does so until another time now
}

// closeWrite is the writer's: who reads finds the end once all is read.
func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer.closed = true
	if s.wclosed == nil {
		s.wclosed = io.EOF
	}
	s.changed.Broadcast()
}

// closeRead is the reader's: nobody will read what waits.
func (s *stream) closeRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader.closed = true
	s.buf, s.head = nil, 0
	if s.rclosed == nil {
		s.rclosed = io.ErrClosedPipe
	}
	s.changed.Broadcast()
}

func (d *side) over() bool { return !d.deadline.IsZero() && !time.Now().Before(d.deadline) }
