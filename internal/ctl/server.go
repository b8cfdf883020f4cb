package ctl

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Times and sizes that a slow or wrong client may take. Traces and drains that are
// watched go on for longer, and must take each line within lineTimeout.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	lineTimeout   = 5 * time.Second
	askTimeout    = 15 * time.Second // of what a loop has to answer
	idleTimeout   = 10 * time.Second
	maxHeader     = 16 << 10
	maxBody       = 1 << 20
	maxRequests   = 64 // at once; one more is answered resource_exhausted
)

// Server answers on the socket. Any goroutine.
type Server struct {
	// immutable after New
	daemon   Daemon
	log      *zap.Logger
	path     string
	listener *net.UnixListener
	made     os.FileInfo // the socket as it was made
	http     http.Server
	askTime  time.Duration // askTimeout; tests have less patience
	lineTime time.Duration // lineTimeout

	// any goroutine
	ending   chan struct{} // closed by Close: what is watched is told the end
	requests chan struct{} // full: too many at once
	looking  chan struct{} // full: somebody takes a snapshot of the sessions
}

// New binds the socket in dir, which the caller has for itself. Requests wait
// until Serve; Close frees the socket whether Serve ran or not. The error is a
// *LiveError when another process answers there.
func New(dir string, d Daemon, log *zap.Logger) (*Server, error) {
	quiet, err := zap.NewStdLogAt(log, zap.DebugLevel) // what net/http has to say is about clients
	if err != nil {
		return nil, err
	}
	s := &Server{
		daemon: d, log: log, path: SocketPath(dir), askTime: askTimeout, lineTime: lineTimeout,
		ending: make(chan struct{}), requests: make(chan struct{}, maxRequests), looking: make(chan struct{}, 1),
	}
	s.http = http.Server{
		Handler: s.bounded(s.routes()),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, operator{}, peerOf(c))
		},
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          quiet,
	}
	if s.listener, s.made, err = bind(dir); err != nil {
		return nil, err
	}
	return s, nil
}

// operator is the key of who has connected in a request's context.
type operator struct{}

// Path is where the socket is.
func (s *Server) Path() string { return s.path }

// Serve answers requests until Close; then it returns nil. Call it once.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close takes the socket away, tells those who watch the end, lets requests under
// way end until ctx does, and then cuts them. Once.
func (s *Server) Close(ctx context.Context) {
	// The name first: as long as the socket answers nobody puts another in its
	// place, so that what is taken away here is ours.
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
		_ = os.Remove(s.path) // a next daemon replaces one that is left
	}
	close(s.ending)
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // an operator's request is cut
	}
	// Shutdown knows only listeners that Serve has seen.
	_ = s.listener.Close()
}

// bounded refuses requests that are too many at once, and bounds their bodies.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.requests <- struct{}{}:
			defer func() { <-s.requests }()
		default:
			fail(w, http.StatusServiceUnavailable, &Error{exhausted, "too many requests at once"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// did logs what an operator has changed.
func (s *Server) did(r *http.Request, what string, fields ...zap.Field) {
	who, _ := r.Context().Value(operator{}).(unix.Ucred)
	s.log.Info("an operator's command", append([]zap.Field{
		zap.String("command", what), zap.Uint32("by_uid", who.Uid), zap.Int32("by_pid", who.Pid),
	}, fields...)...)
}
