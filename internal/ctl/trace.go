package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/msgjson"
	"gameserverd/wire"
)

// The bounds of a trace. MaxTrace is also that of a page.
const (
	MaxTrace    = time.Hour
	traceBuffer = 1024 // messages that wait to be written; more are counted and left out
)

// Traced is one line of a trace: a message, or the last line, which has End.
type Traced struct {
	At     time.Time       `json:"at"`
	Dir    string          `json:"dir,omitempty"`  // in: from the client; out: to it
	Kind   string          `json:"kind,omitempty"` // request, response, notification
	ID     uint32          `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Failed bool            `json:"failed,omitempty"` // body is an error
	Body   json.RawMessage `json:"body,omitempty"`   // params, result or error; long values are cut
	Size   int             `json:"size,omitempty"`   // of the whole message, in bytes
	TookMS float64         `json:"took_ms,omitempty"`

	End      string `json:"end,omitempty"`      // why the trace ends
	Messages int    `json:"messages,omitempty"` // in all of it
	Dropped  int    `json:"dropped,omitempty"`  // of them, because the reader was too slow
}

// trace answers GET /trace?uid=7&for_ms=30000.
func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	uid, err := strconv.ParseUint(q.Get("uid"), 10, 64)
	if err != nil || uid == 0 {
		fail(w, http.StatusBadRequest, &Error{invalid, "uid must be a player's number, from 1"})
		return
	}
	ms, err := strconv.ParseInt(q.Get("for_ms"), 10, 64)
	if err != nil || ms < 1 || ms > MaxTrace.Milliseconds() {
		fail(w, http.StatusBadRequest, &Error{invalid, fmt.Sprintf("for_ms must be from 1 to %d", MaxTrace.Milliseconds())})
		return
	}
	trace, err := s.daemon.Buffer(uid, traceBuffer)
	if err != nil {
		failed(w, err)
		return
	}
	s.did(r, "trace", zap.Uint64("uid", uid), zap.Duration("lasts", time.Duration(ms)*time.Millisecond))
	out := s.begin(w)
	last, ok := trace.Follow(r.Context(), Follow{
		For: time.Duration(ms) * time.Millisecond, Ending: s.ending, Show: func(t Traced) error { return out.line(t) },
	})
	if ok {
		_ = out.line(last) // the client may be gone
	}
}

// Trace is a trace that runs. Any goroutine.
type Trace struct {
	Messages <-chan Message // is not closed
	Stop     func()         // ends it; idempotent

	dropped *atomic.Int64
}

// Dropped is how many messages had no room.
func (t Trace) Dropped() int { return int(t.dropped.Load()) }

// Buffer begins a trace of the player uid, whose messages wait for a reader who may be
// slow: room of them; more are left out and counted. Stop must follow. Any goroutine.
func (d Daemon) Buffer(uid uint64, room int) (Trace, error) {
	messages, dropped := make(chan Message, room), new(atomic.Int64)
	stop, err := d.Trace(uid, func(m Message) {
		select {
		case messages <- m:
		default:
			dropped.Add(1)
		}
	})
	if err != nil {
		return Trace{}, err
	}
	return Trace{messages, sync.OnceFunc(stop), dropped}, nil
}

// Follow is how a trace is shown to somebody.
type Follow struct {
	For    time.Duration // how long it may last
	Ending <-chan struct{}
	Show   func(Traced) error // is told each message

	// Beat, if there is one, is asked each Every, and told how many messages had no room;
	// why not "" ends the trace at once.
	Every time.Duration
	Beat  func(dropped int) (why string, err error)
}

// Follow shows the messages until the trace ends, and stops it. last is the line that
// says why; there is none, not ok, where nobody is left to read it: ctx or a function's
// error has ended the trace. Any goroutine.
func (t Trace) Follow(ctx context.Context, f Follow) (last Traced, ok bool) {
	defer t.Stop()
	over := time.NewTimer(f.For)
	defer over.Stop()
	var beats <-chan time.Time
	if f.Beat != nil {
		every := time.NewTicker(f.Every)
		defer every.Stop()
		beats = every.C
	}
	show := func(m Message) error {
		last.Messages++
		return f.Show(TracedOf(m))
	}
	rest := true // of what came before the end is shown
	for last.End == "" {
		var err error
		select {
		case m := <-t.Messages:
			err = show(m)
		case <-beats:
			last.End, err = f.Beat(t.Dropped())
			rest = last.End == ""
		case <-over.C:
			last.End = "the time is over"
		case <-f.Ending:
			last.End = "the daemon ends"
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return last, false
		}
	}
	t.Stop()
	for n := len(t.Messages); rest && n > 0; n-- {
		if show(<-t.Messages) != nil {
			return last, false
		}
	}
	last.At, last.Dropped = time.Now(), t.Dropped()
	return last, true
}

// shown is what a trace shows of a value. The keys under which programs keep what
// nobody else may know are hidden, and so is what looks like a signed token.
var shown = msgjson.Cut{Text: 64, Bin: 24, Items: 16, Hide: aSecret.MatchString, HideText: aToken.MatchString}

var (
	aSecret = regexp.MustCompile(`(?i)token|passw|secret|credential|authoriz|cookie|jwt|api_?key|private_?key`)
	aToken  = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}`) // {" in base64: the head of a JWT
)

// TracedOf is the line of a message. What is sent to log in is never shown. Any
// goroutine.
func TracedOf(m Message) Traced {
	t := Traced{
		At: m.At, Dir: "out", Kind: m.Kind.String(), ID: m.ID, Method: strings.ToValidUTF8(m.Method, "?"),
		Failed: m.Failed, Size: m.Size, TookMS: float64(m.Took.Microseconds()) / 1000,
	}
	if m.In {
		t.Dir = "in"
	}
	switch {
	case m.Body == nil, m.In && m.Kind != wire.Response && strings.HasPrefix(m.Method, "auth."):
		t.Body = json.RawMessage(`"***"`)
	default:
		t.Body = msgjson.AppendCut(nil, m.Body, shown)
	}
	return t
}
