package ctl

import (
	"encoding/json"
	"net/http"
	"time"
)

// lines is an answer of JSON lines that goes on for a while.
type lines struct {
	w    http.ResponseWriter
	ctl  *http.ResponseController
	time time.Duration // for each
}

// begin sends the head, so that the client knows that the command was taken. A
// request that is watched has no time of its own; each line has.
func (s *Server) begin(w http.ResponseWriter) lines {
	l := lines{w: w, ctl: http.NewResponseController(w), time: s.lineTime}
	_ = l.ctl.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_ = l.ctl.SetWriteDeadline(time.Now().Add(l.time))
	_ = l.ctl.Flush() // the first line says if the client has gone
	return l
}

// line sends one line; an error means that nobody reads any more.
func (l lines) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = l.ctl.SetWriteDeadline(time.Now().Add(l.time))
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		return err
	}
	return l.ctl.Flush()
}

// progressStep is how often the progress of a drain is told.
const progressStep = 200 * time.Millisecond

// drain begins the drain. With ?wait=true a Status follows every progressStep, a
// line each, and the last one has the drain's end.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.did(r, "drain")
	s.daemon.Drain(who(r))
	if r.URL.Query().Get("wait") != "true" {
		answer(w, s.daemon.Status())
		return
	}
	out := s.begin(w)
	step := time.NewTicker(progressStep)
	defer step.Stop()
	for {
		select {
		case <-step.C:
			if out.line(s.daemon.Status()) != nil {
				return
			}
		case <-s.ending:
			_ = out.line(s.daemon.Status()) // the client may be gone
			return
		case <-r.Context().Done():
			return
		}
	}
}
