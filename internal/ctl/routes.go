package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"gameserverd/internal/msgjson"
	"gameserverd/wire"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.daemon.Status()) })
	mux.HandleFunc("GET /sessions", s.sessions)
	mux.HandleFunc("POST /kick", s.kick)
	mux.HandleFunc("POST /broadcast", s.broadcast)
	mux.HandleFunc("POST /drain", s.drain)
	mux.HandleFunc("GET /trace", s.trace)
	mux.HandleFunc("GET /loglevel", func(w http.ResponseWriter, _ *http.Request) { answer(w, Level{s.daemon.Status().LogLevel}) })
	mux.HandleFunc("POST /loglevel", s.setLevel)
	mux.HandleFunc("POST /reload", s.reload)
	s.taskRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, &Error{string(wire.Unimplemented),
			r.Method + " " + r.URL.Path + " is not served; there are GET /status /sessions /trace /loglevel /tasks /tasks/show and POST /kick /broadcast /drain /loglevel /reload /tasks/run /tasks/act"})
	})
	return mux
}

// aCode is what a closing code may be.
var aCode = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// maxMessage bounds what an operator tells a player, in bytes.
const maxMessage = 1024

// maxRetry bounds when a player who was kicked may come back.
const maxRetry = 24 * time.Hour

func (s *Server) kick(w http.ResponseWriter, r *http.Request) {
	var k Kick
	if !read(w, r, &k) {
		return
	}
	if k.Code == "" {
		k.Code = wire.Kicked
	}
	if k.Message == "" {
		k.Message = "an operator has ended the session"
	}
	retry := time.Duration(k.RetryAfterMS) * time.Millisecond
	problem := ""
	switch {
	case k.UID == 0:
		problem = "uid must be a player's number, from 1"
	case !aCode.MatchString(k.Code):
		problem = "code must be 1 to 64 characters of a-z, 0-9 and _"
	case len(k.Message) > maxMessage:
		problem = fmt.Sprintf("message has %d bytes, at most %d may be sent", len(k.Message), maxMessage)
	case k.RetryAfterMS < 0 || k.RetryAfterMS > maxRetry.Milliseconds():
		problem = "retry_after_ms must be from 0 to a day"
	}
	if problem != "" {
		fail(w, http.StatusBadRequest, &Error{invalid, problem})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.askTime)
	defer cancel()
	online, err := s.daemon.Kick(ctx, k.UID, wire.Closing{Code: k.Code, Message: k.Message, Reconnect: k.Reconnect, RetryAfter: retry})
	if err != nil {
		failed(w, err)
		return
	}
	s.did(r, "kick", zap.Uint64("uid", k.UID), zap.String("code", k.Code), zap.String("why", k.Message), zap.Bool("online", online))
	answer(w, Kicked{online})
}

func (s *Server) broadcast(w http.ResponseWriter, r *http.Request) {
	var b Broadcast
	if !read(w, r, &b) {
		return
	}
	problem := ""
	switch {
	case b.Method == "" || len(b.Method) > wire.MaxMethod:
		problem = fmt.Sprintf("method must have 1 to %d bytes", wire.MaxMethod)
	case b.Method == wire.ClosingMethod:
		problem = "sys.closing means that the connection ends: kick and drain send it"
	}
	params := make([]any, len(b.Params))
	for i, raw := range b.Params {
		var err error
		if params[i], err = msgjson.Parse(string(raw)); err != nil && problem == "" {
			problem = fmt.Sprintf("param %d: %v", i+1, err)
		}
	}
	if problem != "" {
		fail(w, http.StatusBadRequest, &Error{invalid, problem})
		return
	}
	sessions, err := s.daemon.Broadcast(b.Method, params)
	s.did(r, "broadcast", zap.String("method", b.Method), zap.Int("sessions", sessions), zap.Error(err))
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, Told{sessions})
}

func (s *Server) setLevel(w http.ResponseWriter, r *http.Request) {
	var l Level
	if !read(w, r, &l) {
		return
	}
	old := s.daemon.Status().LogLevel
	fields := []zap.Field{zap.String("old", old), zap.String("new", l.Level)}
	// Before, where it would not be written after.
	if quiet := l.Level == "warn" || l.Level == "error"; quiet {
		s.did(r, "loglevel", fields...)
	} else {
		defer s.did(r, "loglevel", fields...)
	}
	if err := s.daemon.SetLevel(l.Level); err != nil {
		failed(w, err)
		return
	}
	answer(w, Level{s.daemon.Status().LogLevel})
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	s.did(r, "reload")
	done, err := s.daemon.Reload()
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, done)
}

// read decodes the body of a request.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	err := ReadObject(r.Body, v)
	if err == nil {
		return true
	}
	status := http.StatusBadRequest
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		status = http.StatusRequestEntityTooLarge
	}
	fail(w, status, &Error{invalid, err.Error()})
	return false
}

// ReadObject decodes the body of a request of an operator into v: one JSON object,
// with no fields but v's and nothing behind it. Any goroutine.
func ReadObject(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more follows after the object")
		}
	}
	if err != nil {
		return fmt.Errorf("the body must be one JSON object: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, v any) { write(w, http.StatusOK, v) }

// failed answers with an error of the daemon.
func failed(w http.ResponseWriter, err error) {
	var e *Error
	var coded *wire.Error
	switch {
	case errors.As(err, &e):
	case errors.As(err, &coded):
		e = &Error{string(coded.Code), coded.Message}
	case errors.Is(err, context.DeadlineExceeded):
		e = &Error{string(wire.DeadlineExceeded), "an event loop does not answer: something holds it, and the log has it as `slow callback`"}
	default:
		e = &Error{string(wire.CodeOf(err)), err.Error()}
	}
	status := http.StatusInternalServerError
	switch e.Code {
	case string(wire.NotFound):
		status = http.StatusNotFound
	case invalid, string(wire.FailedPrecondition):
		status = http.StatusBadRequest
	case unavailable, exhausted, string(wire.DeadlineExceeded), string(wire.Canceled):
		status = http.StatusServiceUnavailable
	}
	fail(w, status, e)
}

func fail(w http.ResponseWriter, status int, e *Error) {
	write(w, status, struct {
		Error *Error `json:"error"`
	}{e})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client may be gone
}

// who is the process that sent a request, for a drain's reason.
func who(r *http.Request) string {
	cred, _ := r.Context().Value(operator{}).(unix.Ucred)
	return fmt.Sprintf("gameserverd ctl drain, by uid %d", cred.Uid)
}
