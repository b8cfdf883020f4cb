package conn

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// Errors of a Stream's futures. Use errors.Is.
var (
	// ErrReading: a read was asked for while another one was outstanding.
	ErrReading = errors.New("conn: the stream is reading already")
	// ErrUnsatisfiableRead: what a read looks for was not within its limit. The
	// stream is closed with it.
	ErrUnsatisfiableRead = errors.New("conn: the end of the read was not found within its limit")
	// ErrStreamBufferFull: more input than MaxBufferSize would have to be kept, and
	// the stream is closed with it; or more output than MaxWriteBufferSize, and
	// nothing but that Write has failed.
	ErrStreamBufferFull = errors.New("conn: the stream's buffer is full")
	// ErrStreamClosed: the stream is closed. What fails with it is a *CloseError,
	// which has the reason and the real error.
	ErrStreamClosed = errors.New("conn: the stream is closed")
)

// Is makes every CloseError an ErrStreamClosed.
func (e *CloseError) Is(target error) bool { return target == ErrStreamClosed }

// StreamOptions bounds the streams of a Streams. The zero value has the
// defaults, which are Tornado's.
type StreamOptions struct {
	// MaxBufferSize is how many received bytes a stream keeps; 100 MiB if 0. A read
	// that cannot be answered from so many closes the stream with
	// ErrStreamBufferFull. Reading stops long before unless a read asks for more.
	MaxBufferSize int
	// ReadChunkSize is how many bytes are read at once, and so how many are kept
	// that nobody has asked for; 64 KiB if 0, and at most that and half of
	// MaxBufferSize.
	ReadChunkSize int
	// MaxWriteBufferSize is how many bytes may wait to be sent; 1 GiB if 0, and at
	// most that. A Write that exceeds it fails with ErrStreamBufferFull.
	MaxWriteBufferSize int
	// HalfOpen keeps a stream open for writing when the peer has finished sending:
	// the owner calls Close or Shutdown then. Without it such a stream closes by
	// itself when everything received was read and everything written was sent.
	HalfOpen bool
	// Linger is how long a graceful close waits for the peer, as in Options; 2 s if 0.
	Linger time.Duration
}

// maxStreamOutput is the most that a stream may have unsent: less than what its
// Set would stop the reading for, or close it.
const maxStreamOutput = 1<<30 - 1

func (o *StreamOptions) setDefaults() {
	if o.MaxBufferSize <= 0 {
		o.MaxBufferSize = 100 << 20
	}
	if o.ReadChunkSize <= 0 || o.ReadChunkSize > maxIO {
		o.ReadChunkSize = maxIO
	}
	o.ReadChunkSize = max(1, min(o.ReadChunkSize, o.MaxBufferSize/2))
	if o.MaxWriteBufferSize <= 0 || o.MaxWriteBufferSize > maxStreamOutput {
		o.MaxWriteBufferSize = maxStreamOutput
	}
}

// Streams has the streams of one loop, which share a Set.
type Streams struct {
	// immutable after NewStreams
	loop *loop.Loop
	set  *Set
	o    StreamOptions

	// loop only
	table     []*Stream // by Slot
	handle    func(*Stream)
	attaching bool      // Attach is running: what opens is not a server's
	writing   []*Stream // those with unanswered writes
}

// NewStreams makes the streams of loop l. Loop only.
func NewStreams(l *loop.Loop, o StreamOptions) *Streams {
	o.setDefaults()
	ss := &Streams{loop: l, o: o}
	ss.set = NewSet(l, (*streamHandler)(ss), Options{
		ReadChunk: o.ReadChunkSize,
		// A stream refuses what it has no room for: the Set never has to.
		MaxOutput: maxStreamOutput + 1,
		HighWater: maxStreamOutput + 1,
		Linger:    o.Linger,
	})
	l.BeforeWait(ss.tellSent) // behind the Set's, which sends
	return ss
}

// StreamSets returns what a ServerOptions.NewSet may be: the Sets of streams, of
// which handle is given every one that is accepted, on its loop.
func StreamSets(o StreamOptions, handle func(*Stream)) func(*loop.Loop) *Set {
	return func(l *loop.Loop) *Set {
		ss := NewStreams(l, o)
		ss.HandleStream(handle)
		return ss.set
	}
}

// Set returns the Set under the streams, for a Server that is to accept them
// and for a Dialer. Nothing may be done with its connections but through their
// streams. Any goroutine.
func (ss *Streams) Set() *Set { return ss.set }

// Loop returns the loop of the streams. Any goroutine.
func (ss *Streams) Loop() *loop.Loop { return ss.loop }

// Len returns how many streams are open. Any goroutine.
func (ss *Streams) Len() int { return ss.set.Len() }

// HandleStream gives fn every stream that a Server accepts into Set; without
// one they are closed. If fn panics its stream is closed. Loop only.
func (ss *Streams) HandleStream(fn func(*Stream)) { ss.handle = fn }

// Attach takes over fd, a connected stream socket, and returns its stream. It
// closes fd on error. Loop only.
func (ss *Streams) Attach(fd int) (*Stream, error) { return ss.attach(fd, peerOf(fd)) }

func (ss *Streams) attach(fd int, peer netip.AddrPort) (*Stream, error) {
	ss.attaching = true
	defer func() { ss.attaching = false }()
	id, err := ss.set.Attach(fd, peer)
	if err != nil {
		return nil, err
	}
	return ss.at(id), nil
}

// CloseAll closes every stream as Close does. Loop only.
func (ss *Streams) CloseAll() {
	for _, s := range ss.table {
		if s != nil {
			s.Close()
		}
	}
}

// at returns the stream of id, nil if there is none.
func (ss *Streams) at(id uint64) *Stream {
	if slot := Slot(id); int(slot) < len(ss.table) {
		return ss.table[slot]
	}
	return nil
}

// Stream is one connection with reads that are answered later, Tornado's
// IOStream. It is open when it is made. Its methods are for the loop only.
//
// One read may be outstanding. The bytes of a future are the caller's.
type Stream struct {
	// immutable after Opened
	ss   *Streams
	id   uint64
	peer netip.AddrPort

	// loop only
	in      streamBuffer // received and not yet read
	read    pendingRead
	writes  []pendingWrite
	written uint64 // bytes given to Write
	paused  bool   // the Set reads no more until a read needs it
	eof     bool   // the peer has finished: what is in `in` is the last
	ending  bool   // eof is about to close the stream
	end     *CloseError
	gone    *CloseError // the Set's last word
	told    bool        // onClose was called, or will be
	onClose func(*CloseError)
}

// errEOF is the end of a stream whose peer has finished.
var errEOF = &CloseError{Reason: PeerClosed, Err: io.EOF}

// Peer returns the address of the other end; the zero AddrPort for a Unix
// socket. Any goroutine.
func (s *Stream) Peer() netip.AddrPort { return s.peer }

// Loop returns the stream's loop. Any goroutine.
func (s *Stream) Loop() *loop.Loop { return s.ss.loop }

// Closed tells whether nothing can be written any more. Bytes that were
// received before can still be read. Loop only.
func (s *Stream) Closed() bool { return s.end != nil || s.gone != nil }

// Err returns why the stream has ended, a *CloseError; nil while it is open or
// has bytes that were received before the peer's end and not yet read. Loop only.
func (s *Stream) Err() error {
	if s.end == nil {
		return nil
	}
	return s.end
}

// Reading tells whether a read is outstanding. Loop only.
func (s *Stream) Reading() bool { return s.read.kind != noRead }

// Writing tells whether written bytes wait to be sent. Loop only.
func (s *Stream) Writing() bool { return s.ss.set.Pending(s.id) > 0 }

// SetNoDelay sends small writes at once (which is what an accepted or dialled
// stream does) or lets the kernel collect them. Loop only.
func (s *Stream) SetNoDelay(on bool) error {
	r := s.ss.set.open(s.id)
	if r == nil {
		return s.closeError()
	}
	v := 0
	if on {
		v = 1
	}
	return unix.SetsockoptInt(int(r.fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, v)
}

// SetCloseCallback makes fn be called once when the stream has ended, after
// everything that was received was read or given up and every continuation of
// the stream's futures that was attached in time. It may be set on a stream that
// is closed already. Loop only.
func (s *Stream) SetCloseCallback(fn func(*CloseError)) {
	s.onClose = fn
	if s.gone != nil && s.end != nil {
		s.tell()
	}
}

// Close ends the stream now. What the socket does not take at once of what was
// written is dropped, and its futures fail, as does the outstanding read, but
// for a ReadUntilClose, which has its end. It may be called again. Loop only.
func (s *Stream) Close() { s.CloseWithError(nil) }

// CloseWithError is Close for a reason, which the futures and the close callback
// are told. Loop only.
func (s *Stream) CloseWithError(err error) { s.close(Local, err) }

func (s *Stream) close(r Reason, err error) {
	s.ss.set.Flush(s.id)
	s.answerWrites()
	s.stop(&CloseError{Reason: r, Err: err})
	s.ss.set.Close(s.id, r, err)
}

// Shutdown ends the stream when what was written has been sent: reading ends
// now, and the close callback comes when the peer has closed too or Linger is
// over. Loop only.
func (s *Stream) Shutdown() {
	if s.end != nil {
		return
	}
	s.stop(&CloseError{Reason: Local})
	s.ss.set.Shutdown(s.id, Local)
}

// stop is the end for reads and further writes.
func (s *Stream) stop(why *CloseError) {
	if s.end == nil {
		s.end = why
	}
	s.settle()
	if s.gone != nil {
		s.finish()
	}
}

// closeError is what a call on a closed stream fails with.
func (s *Stream) closeError() *CloseError {
	switch {
	case s.end != nil:
		return s.end
	case s.gone != nil:
		return s.gone
	}
	return errEOF
}

// afterEOF closes a stream that has nothing left to read, unless its owner goes
// on. The owner learns of its last bytes in a callback of the next turn, queued
// before or after this one, and may answer there: so the end comes in the turn
// after that.
func (s *Stream) afterEOF() {
	if !s.eof || s.end != nil || s.ending || s.ss.o.HalfOpen && s.gone == nil || !s.drained() {
		return
	}
	s.ending = true
	s.ss.loop.AddCallback(func() {
		s.ss.loop.AddCallback(func() {
			s.ending = false
			if s.end == nil && s.drained() {
				s.endOfInput()
			}
		})
	})
}

// drained tells whether nothing that was received is left.
func (s *Stream) drained() bool { return s.in.len() == 0 && s.read.kind == noRead }

// endOfInput closes a stream whose peer has finished, behind what is unsent.
func (s *Stream) endOfInput() {
	switch {
	case s.gone != nil:
		s.stop(s.gone)
	case s.Writing():
		s.stop(errEOF)
		s.ss.set.Shutdown(s.id, PeerClosed)
	default:
		s.stop(errEOF)
		s.ss.set.Close(s.id, PeerClosed, io.EOF)
	}
}

// closed is the Set's last call.
func (s *Stream) closed(err *CloseError) {
	if err.Reason == PeerClosed && err.Err == nil {
		err = errEOF
	}
	s.gone = err
	if s.end == nil && err.Reason == PeerClosed {
		// An end like any other, for those who have not read everything yet.
		s.eof = true
		s.settle()
		s.failWrites(err)
		s.afterEOF()
		return
	}
	if s.end == nil || err.Err != nil {
		s.end = err
	}
	s.settle()
	s.finish()
}

// finish is the end of everything.
func (s *Stream) finish() {
	s.failWrites(s.end)
	s.tell()
}

// tell calls the close callback behind whatever was posted before.
func (s *Stream) tell() {
	if s.told || s.onClose == nil {
		return
	}
	s.told = true
	s.ss.loop.AddCallback(func() {
		if fn := s.onClose; fn != nil {
			s.onClose = nil
			fn(s.end)
		}
	})
}

// streamHandler is the Streams as its Set sees it.
type streamHandler Streams

// Opened implements Handler.
func (h *streamHandler) Opened(id uint64) {
	ss := (*Streams)(h)
	slot := int(Slot(id))
	for slot >= len(ss.table) {
		ss.table = append(ss.table, nil)
	}
	s := &Stream{ss: ss, id: id, peer: ss.set.Peer(id)}
	ss.table[slot] = s
	if ss.attaching {
		return
	}
	if ss.handle == nil {
		s.Close()
		return
	}
	ss.handle(s) // a panic closes the connection, which is the Set's doing
}

// Data implements Handler.
func (h *streamHandler) Data(id uint64, b []byte) int {
	if s := (*Streams)(h).at(id); s != nil {
		s.receive(b)
	}
	return len(b)
}

// EOF implements Handler.
func (h *streamHandler) EOF(id uint64) {
	if s := (*Streams)(h).at(id); s != nil {
		s.eof = true
		s.settle()
		s.afterEOF()
	}
}

// Closed implements Handler.
func (h *streamHandler) Closed(id uint64, err error) {
	ss := (*Streams)(h)
	s := ss.at(id)
	if s == nil {
		return
	}
	ss.table[Slot(id)] = nil
	var why *CloseError
	if !errors.As(err, &why) {
		why = &CloseError{Reason: Broken, Err: err}
	}
	s.closed(why)
}

// peerOf asks the kernel for the other end of fd.
func peerOf(fd int) netip.AddrPort {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPortOf(sa)
}
