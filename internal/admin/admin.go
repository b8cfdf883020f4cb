// Package admin is the daemon's HTTP server for operators: whether the process
// is up, whether it serves, its metrics, Go's profiles, and the console if it is given
// one. It carries no game traffic, and of itself changes nothing in the daemon and
// asks nobody who they are: whoever makes the console guards it and the profiles, and
// the rest is for everybody who reaches the address, which belongs on loopback or an
// inner network.
//
// Invariant: /healthz answers as long as the process runs, also while it
// drains; only /readyz says whether clients should come.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"go.uber.org/zap"
)

// Readiness says whether the daemon takes clients and, when it does not, why
// ("starting", "draining"). It is called on HTTP goroutines: any goroutine.
type Readiness func() (ok bool, reason string)

// Options is what New needs.
type Options struct {
	Addr     string       // host:port to listen on; port 0: a free one
	Listener net.Listener // listens already, and is Close's to close; nil: Addr
	Ready    Readiness
	Metrics  http.Handler // of /metrics; nil: there is none
	Log      *zap.Logger

	// Pages makes what else is served, once the address is bound; nil: nothing is.
	Pages func(addr string) Pages
}

// Pages are what is served beside health, readiness and metrics.
type Pages struct {
	Console http.Handler                    // of / and /console/; nil: / lists what there is
	Guard   func(http.Handler) http.Handler // lets profiles answer only those who may; nil: all may
}

// Times that a slow or silent client may take. The profiles that run for a while
// extend writeTimeout by the seconds asked for.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
)

// Server is the admin HTTP server. Any goroutine.
type Server struct {
	// immutable after New
	http     http.Server
	listener net.Listener
}

// New binds o.Addr, or takes o.Listener. Requests wait until Serve; Close frees
// the address whether Serve ran or not, and so does New when it fails.
func New(o Options) (*Server, error) {
	listener := o.Listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", o.Addr); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	quiet, err := zap.NewStdLogAt(o.Log, zap.DebugLevel) // what net/http has to say is about clients
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	var pages Pages
	if o.Pages != nil {
		pages = o.Pages(listener.Addr().String())
	}
	return &Server{
		listener: listener,
		http: http.Server{
			Handler:           routes(o, pages),
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          quiet,
		},
	}, nil
}

// Addr is the bound address, with the real port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers requests until Close; then it returns nil. Call it once.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// Close stops listening, lets requests under way end until ctx does, and then
// cuts them. The error is ctx's when it had to cut. Idempotent.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close() // Shutdown's error says more
	}
	// Shutdown knows only listeners that Serve has seen.
	_ = s.listener.Close()
	return err
}

func routes(o Options, pages Pages) http.Handler {
	mux := http.NewServeMux()
	list := "/healthz\n/readyz\n/debug/pprof/"
	if o.Metrics != nil {
		list += "\n/metrics"
		mux.Handle("GET /metrics", o.Metrics)
	}
	if pages.Console != nil {
		mux.Handle("/{$}", pages.Console)
		mux.Handle("/console/", pages.Console)
	} else {
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, list) })
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ok, reason := o.Ready(); ok {
			answer(w, http.StatusOK, "ok")
		} else {
			answer(w, http.StatusServiceUnavailable, reason)
		}
	})
	guard := pages.Guard
	if guard == nil {
		guard = func(next http.Handler) http.Handler { return next }
	}
	// Registered by hand: importing net/http/pprof for its side effect would
	// put the profiles on http.DefaultServeMux of everyone who imports us.
	for path, profile := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
	} {
		mux.Handle("/debug/pprof/"+path, guard(profile))
	}
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client may be gone
}
