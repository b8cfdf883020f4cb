package conn

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"

	"gameserverd/internal/future"
)

// The reads. Each returns a future of the bytes, which are the caller's, and is
// answered at once if that is possible. A read that cannot be answered any more
// because the stream has ended fails with a *CloseError; bytes that were
// received before stay for others.
type readKind uint8

const (
	noRead     readKind = iota
	readBytes           // n bytes, or any if partial
	readInto            // n bytes, or any if partial, to the caller's own
	readUntil           // up to and including delim
	readRegexp          // up to the end of a match of re
	readClose           // all there is
)

type pendingRead struct {
	kind    readKind
	partial bool
	pumping bool // a callback that goes on with the read is posted
	n       int
	max     int // 0: no limit but the buffer's
	got     int // bytes given to into or chunk
	scanned int // the delimiter does not begin before this
	delim   []byte
	re      *regexp.Regexp
	into    []byte
	chunk   func([]byte)
	f       *future.Future[[]byte]
}

var (
	errNegative = errors.New("conn: a read of less than no bytes")
	errNoDelim  = errors.New("conn: a read until an empty delimiter")
)

// ReadBytes reads n bytes; with partial whatever there is, at least one byte and
// at most n. Loop only.
func (s *Stream) ReadBytes(n int, partial bool) *future.Future[[]byte] {
	return s.start(pendingRead{kind: readBytes, n: n, partial: partial})
}

// ReadInto is ReadBytes into b, and its future's result is the part of b that
// was read. b is the stream's until then; if the read fails it may have been
// written to, and what was is lost. Loop only.
func (s *Stream) ReadInto(b []byte, partial bool) *future.Future[[]byte] {
	return s.start(pendingRead{kind: readInto, n: len(b), into: b, partial: partial})
}

// ReadUntil reads up to and including delim. If that does not end within
// maxBytes (0: MaxBufferSize) the stream is closed with ErrUnsatisfiableRead. It
// keeps delim until it is answered. Loop only.
func (s *Stream) ReadUntil(delim []byte, maxBytes int) *future.Future[[]byte] {
	if len(delim) == 0 {
		return future.Failed[[]byte](errNoDelim)
	}
	return s.start(pendingRead{kind: readUntil, delim: delim, max: maxBytes})
}

// ReadUntilRegexp reads up to the end of the first match of re in what was
// received so far: like Tornado's, it does not wait to see whether more bytes
// would have made the match longer. The search begins anew whenever bytes come,
// so an untrusted peer should be held to a maxBytes (0: MaxBufferSize) of some
// kilobytes. If no match ends within it the stream is closed with
// ErrUnsatisfiableRead. Loop only.
func (s *Stream) ReadUntilRegexp(re *regexp.Regexp, maxBytes int) *future.Future[[]byte] {
	return s.start(pendingRead{kind: readRegexp, re: re, max: maxBytes})
}

// ReadUntilClose reads all that comes until the peer has finished or the stream
// is closed here. It fails if the stream ends with an error, such as a reset:
// then it is not known whether that was all. Loop only.
func (s *Stream) ReadUntilClose() *future.Future[[]byte] {
	return s.start(pendingRead{kind: readClose})
}

// StreamBytes is ReadBytes that gives the bytes to chunk as they come, any
// number at a time; its future's result is empty. A chunk is valid during the
// call only. If chunk panics the stream is closed. Loop only.
func (s *Stream) StreamBytes(n int, chunk func([]byte)) *future.Future[[]byte] {
	return s.start(pendingRead{kind: readBytes, n: n, chunk: chunk})
}

// StreamUntilClose is ReadUntilClose that gives the bytes to chunk as StreamBytes
// does. Loop only.
func (s *Stream) StreamUntilClose(chunk func([]byte)) *future.Future[[]byte] {
	return s.start(pendingRead{kind: readClose, chunk: chunk})
}

func (s *Stream) start(r pendingRead) *future.Future[[]byte] {
	s.ss.set.check("the reads of a stream")
	switch {
	case s.read.kind != noRead:
		return future.Failed[[]byte](ErrReading)
	case r.n < 0 || r.max < 0:
		return future.Failed[[]byte](errNegative)
	}
	r.f = future.New[[]byte]()
	s.read = r
	if r.chunk != nil && s.in.len() > 0 {
		s.pump() // chunk is not called before its future is known
	} else {
		s.settle()
	}
	if s.read.kind == noRead {
		s.afterEOF()
	}
	if s.paused && (s.read.kind != noRead || s.in.len() == 0) {
		s.paused = false // also without a read: else the peer's end would not be seen
		s.ss.set.Resume(s.id)
	}
	return r.f
}

// receive takes new bytes. They are kept in any case; more of them than a read
// has asked for stop the reading until there is one that needs more. This is
// decided when bytes come that nobody waits for and not when a read has ended,
// because then the next one is likely on its way.
func (s *Stream) receive(b []byte) {
	idle := s.read.kind == noRead
	if s.read.chunk != nil && s.in.len() == 0 {
		n := s.read.want(len(b))
		s.give(b[:n])
		b = b[n:]
	} else if s.read.kind == readInto {
		b = b[s.fill(b):]
	}
	if len(b) > 0 && s.end == nil {
		s.in.append(b)
	}
	s.settle()
	switch {
	case idle:
		s.paused = true
		s.ss.set.Pause(s.id)
	case s.read.kind != noRead && !s.read.pumping && s.in.len() > s.ss.o.MaxBufferSize:
		s.CloseWithError(ErrStreamBufferFull)
	}
}

// settle answers the outstanding read, if that can be done now: with what is
// there, or because nothing more will come.
func (s *Stream) settle() {
	r := &s.read
	if r.kind == noRead || r.pumping {
		return
	}
	switch {
	case s.in.len() == 0:
	case r.chunk != nil:
		b := s.in.bytes()[:r.want(s.in.len())]
		s.in.drop(len(b)) // before the call, in which everything may happen
		s.give(b)
	case r.kind == readInto:
		s.in.drop(s.fill(s.in.bytes()))
	}
	n, err := r.find(s.in.bytes())
	switch {
	case r.kind == noRead: // a chunk has closed the stream
	case err != nil:
		s.answer(nil, err)
	case n >= 0:
		s.answer(s.take(n), nil)
	case s.end != nil || s.eof:
		s.settleLast()
	}
}

// settleLast answers a read that waits for what will not come.
func (s *Stream) settleLast() {
	why := s.closeError()
	if clean := why.Reason == PeerClosed || why.Reason == Local && why.Err == nil; s.read.kind == readClose && clean {
		s.answer(s.take(s.in.len()), nil)
		return
	}
	s.answer(nil, why)
}

// take removes the bytes that answer the outstanding read.
func (s *Stream) take(n int) []byte {
	switch r := &s.read; {
	case r.kind == readInto:
		return r.into[:r.got]
	case n == 0 || r.chunk != nil:
		return []byte{}
	}
	return s.in.take(n)
}

// answer ends the outstanding read.
func (s *Stream) answer(b []byte, err error) {
	f := s.read.f
	s.read = pendingRead{}
	switch {
	case err == nil:
		f.Resolve(b)
	case errors.Is(err, ErrUnsatisfiableRead):
		s.CloseWithError(err)
		f.Fail(s.closeError())
	default:
		f.Fail(err)
	}
}

// fill copies bytes to the reader's own memory and returns how many.
func (s *Stream) fill(b []byte) int {
	n := copy(s.read.into[s.read.got:], b)
	s.read.got += n
	return n
}

// want returns how many of so many bytes are for the reader's chunk function.
func (r *pendingRead) want(have int) int {
	if r.kind == readBytes {
		return min(have, r.n-r.got)
	}
	return have
}

// give hands bytes to the reader's chunk function. The read may be over when it
// returns.
func (s *Stream) give(b []byte) {
	if len(b) > 0 {
		s.read.got += len(b)
		s.read.chunk(b)
	}
}

// pump goes on with a read into a chunk function in a callback of its own.
func (s *Stream) pump() {
	s.read.pumping = true // and so it does not end before
	s.ss.loop.AddCallback(func() {
		ok := false
		defer func() {
			if !ok {
				s.close(Broken, errPanic)
			}
		}()
		s.read.pumping = false
		s.settle()
		s.afterEOF()
		ok = true
	})
}

// find returns how many of the bytes answer the read, -1 if more are needed.
func (r *pendingRead) find(b []byte) (int, error) {
	switch r.kind {
	case readBytes, readInto:
		return r.findBytes(len(b)), nil
	case readUntil:
		i := bytes.Index(b[r.scanned:], r.delim)
		if i < 0 {
			r.scanned = max(0, len(b)-len(r.delim)+1)
			return -1, r.checkMax(len(b) + 1) // even the next byte would be too late
		}
		n := r.scanned + i + len(r.delim)
		return n, r.checkMax(n)
	case readRegexp:
		if m := r.re.FindIndex(b); m != nil && (m[1] > 0 || len(b) > 0) {
			return m[1], r.checkMax(m[1])
		}
		return -1, r.checkMax(len(b))
	}
	return -1, nil
}

func (r *pendingRead) findBytes(have int) int {
	if r.into != nil || r.chunk != nil {
		if r.got == r.n || r.partial && r.got > 0 {
			return 0
		}
		return -1
	}
	if have >= r.n || r.partial && have > 0 {
		return min(have, r.n)
	}
	return -1
}

func (r *pendingRead) checkMax(n int) error {
	if r.max == 0 || n <= r.max {
		return nil
	}
	if r.kind == readRegexp {
		return fmt.Errorf("%w: no match of %q in %d bytes", ErrUnsatisfiableRead, r.re, r.max)
	}
	return fmt.Errorf("%w: no %q in %d bytes", ErrUnsatisfiableRead, r.delim, r.max)
}
