package conn

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

var (
	errStarted = errors.New("conn: the server was started already")
	errStopped = errors.New("conn: the server was stopped")
	errNoSets  = errors.New("conn: a server needs a set")
)

// ServerOptions says how a Server is made.
type ServerOptions struct {
	// NewSet makes the Set of a loop that Start has made. It is called before the loop runs.
	NewSet func(l *loop.Loop) *Set
	// Loop has the options of Start's i-th loop; nil: the zero Options with a name.
	Loop func(i int) loop.Options
	// Admit decides whether a connection may stay, before anything is spent on it;
	// one that may not is closed. The peer of a Unix socket is the zero AddrPort.
	// It runs on the first loop. nil: all may.
	Admit func(peer netip.AddrPort) bool
	// OnAcceptError is told of what keeps connections from being accepted, at most
	// once a second for each listener, on the first loop. nil: nobody is.
	OnAcceptError func(*AcceptError)
}

// ServerStats counts what a Server has done since it was made.
type ServerStats struct {
	Accepted uint64 // given to a Set
	Refused  uint64 // by Admit
	Failed   uint64 // times that accepting was paused
}

// Server accepts connections on any number of addresses and gives each to the
// Set that has the fewest. It is Tornado's TCPServer: Listen, then Start.
type Server struct {
	// immutable after NewServer
	o ServerOptions

	// any goroutine
	mu        sync.Mutex // guards what follows, up to the counters
	listeners []*Listener
	sets      []*Set       // immutable once there are any
	loops     []*loop.Loop // those that Start has made
	ended     chan error   // one for each of loops, when its Start has returned
	stopped   bool
	accepted  atomic.Uint64
	refused   atomic.Uint64
	failed    atomic.Uint64

	// loop only (the first)
	next int // where the search for the fewest begins
}

// NewServer makes a server that listens nowhere yet.
func NewServer(o ServerOptions) *Server { return &Server{o: o} }

// Listen binds addresses, as the function Listen does: all of them or, with an
// error, none. Connections are accepted from Start on. Any goroutine.
func (s *Server) Listen(addresses ...string) error {
	return addAll(s, addresses, Listen, (*Listener).Close)
}

// ListenFD is Listen for sockets that listen already, as the function ListenFD.
// With an error it has taken none over. Any goroutine.
func (s *Server) ListenFD(fds ...int) error {
	for _, fd := range fds {
		if err := checkListening(fd); err != nil {
			return err
		}
	}
	return addAll(s, fds, ListenFD, func(*Listener) {})
}

// addAll makes listeners of all of from, or undoes those that were made.
func addAll[T any](s *Server, from []T, listen func(T) (*Listener, error), undoOne func(*Listener)) error {
	var made []*Listener
	undo := func(err error) error {
		for _, l := range made {
			undoOne(l)
		}
		return err
	}
	for _, v := range from {
		l, err := listen(v)
		if err != nil {
			return undo(err)
		}
		made = append(made, l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return undo(errStopped)
	}
	s.listeners = append(s.listeners, made...)
	if len(s.sets) > 0 {
		s.startListeners(made)
	}
	return nil
}

// Addrs returns the addresses that are listened on, in the order of Listen. Any goroutine.
func (s *Server) Addrs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []string
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Start makes n loops, each with a Set of NewSet's and a goroutine that runs it,
// and begins to accept; n <= 0 is one for each processor that Go uses. Any
// goroutine.
func (s *Server) Start(n int) error {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	var loops []*loop.Loop
	var sets []*Set
	undo := func(err error) error {
		for i, l := range loops {
			if i < len(sets) {
				sets[i].Release()
			}
			_ = l.Close(false)
		}
		return err
	}
	for i := range n {
		o := loop.Options{Name: fmt.Sprintf("loop-%d", i)}
		if s.o.Loop != nil {
			o = s.o.Loop(i)
		}
		l, err := loop.New(o)
		if err != nil {
			return undo(err)
		}
		loops = append(loops, l)
		sets = append(sets, s.o.NewSet(l))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.startOn(sets); err != nil {
		return undo(err)
	}
	s.loops = loops
	s.ended = make(chan error, n)
	for _, l := range loops {
		go func() { s.ended <- l.Start() }()
	}
	return nil
}

// StartOn is Start with the Sets of loops that somebody else runs and closes.
// Any goroutine.
func (s *Server) StartOn(sets ...*Set) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.startOn(sets)
}

func (s *Server) startOn(sets []*Set) error {
	switch {
	case s.stopped:
		return errStopped
	case len(s.sets) > 0:
		return errStarted
	case len(sets) == 0:
		return errNoSets
	}
	s.sets = append([]*Set(nil), sets...)
	s.startListeners(s.listeners)
	return nil
}

// startListeners begins to accept on the first loop.
func (s *Server) startListeners(listeners []*Listener) {
	l := s.sets[0].loop
	l.AddCallback(func() {
		for _, ln := range listeners {
			if err := ln.Start(l, s.take, s.acceptFailed); err != nil {
				s.acceptFailed(&AcceptError{Addr: ln.addr, Err: err, Times: 1})
			}
		}
	})
}

// Sets returns the Sets, in the order of their loops; none before Start. Any goroutine.
func (s *Server) Sets() []*Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Set(nil), s.sets...)
}

// Stats returns the counts so far. Any goroutine.
func (s *Server) Stats() ServerStats {
	return ServerStats{Accepted: s.accepted.Load(), Refused: s.refused.Load(), Failed: s.failed.Load()}
}

// take is given every accepted connection, on the first loop.
func (s *Server) take(fd int, peer netip.AddrPort) {
	if !s.admits(fd, peer) {
		return
	}
	s.accepted.Add(1)
	set := s.fewest()
	if set.loop == s.sets[0].loop {
		// No need to post to ourselves. The error is the set's own affair, as in takeIn.
		_, _ = set.Attach(fd, peer)
		return
	}
	set.give(handoff{fd: fd, peer: peer})
}

// admits asks Admit, and closes fd if that refuses or panics.
func (s *Server) admits(fd int, peer netip.AddrPort) (ok bool) {
	if s.o.Admit == nil {
		return true
	}
	defer func() {
		if !ok {
			s.refused.Add(1)
			closeFD(fd)
		}
	}()
	return s.o.Admit(peer)
}

// fewest is the Set with the fewest connections, of those whose loop has not
// ended. Among several it is the next in turn.
func (s *Server) fewest() *Set {
	best, bestLen := 0, -1
	for k := range s.sets {
		i := (s.next + k) % len(s.sets)
		if s.sets[i].inbox.ended.Load() {
			continue
		}
		if n := s.sets[i].Len(); bestLen < 0 || n < bestLen {
			best, bestLen = i, n
		}
	}
	s.next = (best + 1) % len(s.sets)
	return s.sets[best]
}

func (s *Server) acceptFailed(e *AcceptError) {
	s.failed.Add(uint64(e.Times))
	if s.o.OnAcceptError != nil {
		s.o.OnAcceptError(e)
	}
}

// StopListening closes the listeners; connections stay. The future is resolved
// when no more can come from here to a Set; the first loop must run until then.
// Any goroutine.
func (s *Server) StopListening() *future.Future[struct{}] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	listeners := s.listeners
	done := future.New[struct{}]()
	end := func() {
		closeListeners(listeners)
		done.Resolve(struct{}{})
	}
	// Without a loop, or with one that has ended, nobody else uses them.
	if len(s.sets) == 0 || !s.sets[0].loop.AddCallback(end) {
		end()
	}
	return done
}

func closeListeners(listeners []*Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// Close ends a server that was started by Start: it stops listening, ends the
// loops and closes every connection with LoopClosed. It returns what went wrong
// with a loop. After StartOn it only stops listening. A second Close does
// nothing. Any goroutine but the loops'.
func (s *Server) Close() error {
	s.StopListening()
	s.mu.Lock()
	loops, sets, ended, listeners := s.loops, s.sets, s.ended, s.listeners
	s.loops = nil
	s.mu.Unlock()
	for _, l := range loops {
		// Posted, to come after what was posted before, the closing of the
		// listeners among it.
		l.AddCallback(l.Stop)
	}
	var errs []error
	for range loops {
		errs = append(errs, <-ended)
	}
	if len(loops) > 0 {
		closeListeners(listeners) // if the first loop has failed they are still open
	}
	for i, l := range loops {
		sets[i].Release()
		errs = append(errs, l.Close(false))
	}
	return errors.Join(errs...)
}
