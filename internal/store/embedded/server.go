package embedded

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/zap"
)

// The keys that expire grow older in steps, so that one may live a step too short. A step walks all keys, and comes later where that
// takes long: at most one part in stepShare of the time goes into it.
const (
	stepEvery = 100 * time.Millisecond
	stepShare = 20
)

var errClosed = errors.New("embedded redis: closed")

// Options are what Start needs.
type Options struct {
	Clock func() time.Time // what keys expire by, in steps of 100 ms and more; nil: time.Now. TIME and the ids of streams are always real time
	Log   *zap.Logger      // for a command that panicked; nil: nowhere
}

// Server is a Redis in this process. Any goroutine.
type Server struct {
	// immutable after Start
	clock func() time.Time
	log   *zap.Logger
	stop  chan struct{} // closed by Close
	ended sync.WaitGroup

	// any goroutine
	mu     sync.Mutex // guards what follows
	now    *instance
	closed bool
}

// Start returns an empty Redis. Close it when it is no longer needed.
func Start(o Options) (*Server, error) {
	s := &Server{clock: o.Clock, log: o.Log, stop: make(chan struct{})}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	var err error
	if s.now, err = s.launch(); err != nil {
		return nil, err
	}
	begun := s.clock()
	s.ended.Go(func() { s.runClock(begun) })
	return s, nil
}

// Dial returns a new connection, which the caller closes. It fails when ctx has ended or the server is closed. Any goroutine.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	return s.now.connect(s), nil
}

// Flush forgets all keys and scripts, as if the server had been replaced by an empty one. Connections stay. Any goroutine.
func (s *Server) Flush() {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	now.flush()
}

// Close ends the server and its connections, and returns when nothing of it runs any more. Any goroutine.
func (s *Server) Close() {
	s.mu.Lock()
	now, first := s.now, !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.stop)
		now.shutdown()
	}
	s.ended.Wait()
	now.wait()
}

// launch makes an empty miniredis without a listener.
func (s *Server) launch() (*instance, error) {
	m := miniredis.NewMiniRedis()
	// Only its own Dial starts a miniredis that listens nowhere. That connection is not used: see newConn.
	c, err := m.Dial()
	if err != nil {
		return nil, err
	}
	c.Close()
	return newInstance(m), nil
}

// runClock lets keys grow older until Close. Of miniredis' own ways, ClockTTL would walk all keys with each command, and SetTime would
// write what SET EXAT and XCLAIM read without the lock.
func (s *Server) runClock(last time.Time) {
	timer := time.NewTimer(stepEvery)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-timer.C:
		}
		s.mu.Lock()
		in := s.now
		s.mu.Unlock()
		now := s.clock()
		took := in.age(now.Sub(last))
		last = now
		timer.Reset(max(stepEvery, stepShare*took))
	}
}

// crashed is called when a command has panicked: the data that it leaves behind cannot be trusted. An empty server takes its place.
func (s *Server) crashed(old *instance, command string, v any, stack []byte) {
	s.log.Error("the embedded redis has crashed: an empty one takes its place", zap.String("redis_command", command), zap.Any("panic", v), zap.ByteString("stack", stack))
	old.unlock(stack)
	s.mu.Lock()
	if s.now == old && !s.closed {
		if fresh, err := s.launch(); err == nil {
			s.now = fresh
		}
	}
	s.mu.Unlock()
	old.shutdown()
	go old.wait() // wakes what blocks in it, this session being the last to end
}
