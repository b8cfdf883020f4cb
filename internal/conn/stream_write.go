package conn

import "gameserverd/internal/future"

// Write queues b, of which it keeps nothing, behind what was written before. Its
// future is resolved when the kernel has all of it; nobody needs to wait for
// that. It fails if the stream ends before, and with ErrStreamBufferFull, as the
// only effect, if more than MaxWriteBufferSize bytes would wait. What is written
// in one turn of the loop is sent together. Loop only.
func (s *Stream) Write(b []byte) *future.Future[struct{}] {
	set := s.ss.set
	set.check("Write of a stream")
	if s.Closed() {
		return future.Failed[struct{}](s.closeError())
	}
	if set.Pending(s.id)+len(b) > s.ss.o.MaxWriteBufferSize {
		return future.Failed[struct{}](ErrStreamBufferFull)
	}
	// If this returns false the Set has closed the connection: the future fails
	// when that is told, with the reason.
	set.Write(s.id, b)
	s.written += uint64(len(b))
	if len(b) == 0 && len(s.writes) == 0 && set.Pending(s.id) == 0 {
		return future.Resolved(struct{}{})
	}
	f := future.New[struct{}]()
	if len(s.writes) == 0 {
		s.ss.writing = append(s.ss.writing, s)
	}
	s.writes = append(s.writes, pendingWrite{s.written, f})
	return f
}

// Flush sends what was written so far without waiting for the end of the turn,
// as far as the socket takes it. Loop only.
func (s *Stream) Flush() { s.ss.set.Flush(s.id) }

// pendingWrite is a write that has not left.
type pendingWrite struct {
	end uint64 // its last byte, counted from the first of the stream
	f   *future.Future[struct{}]
}

// answerWrites resolves the futures of what has left.
func (s *Stream) answerWrites() {
	if r := s.ss.set.lookup(s.id); r == nil || r.state == stClosed {
		return // what is not unsent any more may have been dropped
	}
	left := s.written - uint64(s.ss.set.Pending(s.id))
	n := 0
	for n < len(s.writes) && s.writes[n].end <= left {
		s.writes[n].f.Resolve(struct{}{})
		n++
	}
	clear(s.writes[:n])
	if s.writes = s.writes[n:]; len(s.writes) == 0 {
		s.writes = nil
	}
}

// failWrites ends those that are left.
func (s *Stream) failWrites(err error) {
	for _, w := range s.writes {
		w.f.Fail(err)
	}
	s.writes = nil
}

// tellSent resolves the futures of what the turn has sent. It looks only at
// streams that somebody waits for.
func (ss *Streams) tellSent() {
	if len(ss.writing) == 0 {
		return
	}
	kept := ss.writing[:0]
	for _, s := range ss.writing {
		if s.answerWrites(); len(s.writes) > 0 {
			kept = append(kept, s)
		}
	}
	clear(ss.writing[len(kept):])
	if ss.writing = kept; len(kept) == 0 && cap(kept) > 64 {
		ss.writing = nil
	}
}
