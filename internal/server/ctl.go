package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/ctl"
	"gameserverd/internal/rpc"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

// control is what `gameserverd ctl` talks to, and what it is told of the drain.
type control struct {
	// immutable after New
	server  *ctl.Server // nil: its socket could not be made
	started time.Time

	// any goroutine
	drain  atomic.Pointer[drainBegun]
	report atomic.Pointer[Report]
	closed atomic.Bool
	served chan struct{} // closed when Serve has returned; nil: it was not called
}

type drainBegun struct {
	why      string
	at       time.Time
	deadline time.Duration
}

// openCtl makes the socket in the folder that is locked for this daemon. A daemon without it still
// serves its clients; but somebody who answers there although the folder is
// locked means that the lock does not work, and two daemons on one database ruin
// it.
func (s *Server) openCtl() error {
	s.control.started = time.Now()
	c, err := ctl.New(s.dir, s.ctlDaemon(), s.log)
	var live *ctl.LiveError
	switch {
	case err == nil:
		s.control.server = c
	case errors.As(err, &live):
		return fmt.Errorf("server: data_dir: %w, although the folder is locked for this one: does its file system know locks?", err)
	default:
		s.log.Warn("gameserverd ctl cannot reach this daemon: its socket cannot be made", zap.Error(err))
	}
	return nil
}

// serveCtl answers operators until closeCtl.
func (s *Server) serveCtl() {
	c := &s.control
	if c.server == nil {
		return
	}
	c.served = make(chan struct{})
	go func() {
		defer close(c.served)
		if err := c.server.Serve(); err != nil {
			s.log.Error("gameserverd ctl cannot reach this daemon any more", zap.Error(err))
		}
	}()
}

// ctlCloseTime is how long an operator's request may hold the end up: who watches
// the drain is told how it ended.
const ctlCloseTime = 500 * time.Millisecond

// closeCtl takes the socket away, once.
func (s *Server) closeCtl() {
	c := &s.control
	if c.server == nil || c.closed.Swap(true) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), ctlCloseTime)
	defer cancel()
	c.server.Close(ctx)
	if c.served != nil {
		<-c.served
	}
}

func (s *Server) ctlDaemon() ctl.Daemon {
	return ctl.Daemon{
		Status:   s.status,
		Sessions: s.ctlSessions,
		Kick: func(ctx context.Context, uid uint64, why wire.Closing) (bool, error) {
			return s.peers.Kick(uid, why).Wait(ctx)
		},
		Broadcast: func(method string, params []any) (int, error) { return s.peers.Broadcast(method, params...) },
		Drain:     s.Shutdown,
		Trace:     s.ctlTrace,
		SetLevel:  s.setLevel,
		Reload:    s.ctlReload,
		Tasks:     s.ctlTasks(),
	}
}

// status describes the daemon for an operator. Any goroutine.
func (s *Server) status() ctl.Status {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	st := ctl.Status{
		Role: s.role(), State: [...]string{"starting", "serving", "draining"}[s.state.Load()], Version: s.o.Version, PID: os.Getpid(), Started: s.control.started,
		Listen: s.Addrs(), Admin: s.AdminAddr(), LogLevel: s.log.Level().String(), Loops: len(s.loops),
		Connections: s.peers.Connections(), MaxConnections: int(s.maxConnections.Load()), Online: s.peers.Online(), Underway: s.peers.Underway(),
		Goroutines: runtime.NumGoroutine(), HeapBytes: heap[0].Value.Uint64(), ResidentBytes: resident(),
		Stores:   []ctl.Store{storeState("sql", s.stores.sqlUp), storeState("redis", s.stores.redisUp)},
		Counters: s.counters(), Tasks: s.tasksStatus(),
	}
	st.Ready, st.Reason = s.Ready()
	if d := s.control.drain.Load(); d != nil {
		st.Drain = &ctl.Drain{
			Why: d.why, TookMS: time.Since(d.at).Milliseconds(), DeadlineMS: d.deadline.Milliseconds(),
			Connections: st.Connections, Underway: st.Underway,
		}
		if r := s.control.report.Load(); r != nil {
			st.State = "drained"
			st.Drain.Ended, st.Drain.Clean, st.Drain.Abandoned, st.Drain.TookMS = true, r.Clean, len(r.Abandoned), r.Took.Milliseconds()
		}
	}
	return st
}

func storeState(name string, h *store.Health) ctl.Store {
	up, why, since := h.State()
	return ctl.Store{Name: name, Up: up, Why: why, Since: since}
}

// counters are the counts that are not 0.
func (s *Server) counters() map[string]int64 {
	c := &s.peers.Counters
	all := map[string]int64{
		"failed_notifications": c.FailedNotifications.Load(), "stray_responses": c.StrayResponses.Load(),
		"mailbox_full": c.MailboxFull.Load(), "panics": c.Panics.Load(),
	}
	for code, n := range c.Closed() {
		all["closed_"+code] = n
	}
	below := s.transport.Counters()
	for kind, n := range below.Opened {
		all["opened_"+kind] = int64(n)
	}
	for why, n := range below.Ended {
		all["ended_"+why] = int64(n) // refused, or gone wrong below the protocol
	}
	all["refused_logins"] = s.gate.Counters.Logins.Load()
	t := s.tasks.Counters()
	for name, n := range map[string]int64{
		"applied": t.Applied, "handed": t.Handed, "done": t.Done, "failed": t.Failed, "archived": t.Archived, "revoked": t.Revoked, "lost": t.Lost,
	} {
		all["tasks_"+name] = n
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// resident is the memory of this process that is in RAM, in bytes; 0: not known.
func resident() uint64 {
	b, err := os.ReadFile("/proc/self/statm") // size resident ..., in pages
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

func (s *Server) ctlSessions(ctx context.Context) ([]ctl.Session, error) {
	infos, err := s.peers.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]ctl.Session, len(infos))
	for i, info := range infos {
		out[i] = ctlSession(info)
	}
	return out, nil
}

func ctlSession(info rpc.SessionInfo) ctl.Session {
	one := ctl.Session{
		UID: info.UID, Conn: info.Conn, Loop: info.Hub, Peer: "unix", Transport: info.Transport, Framing: info.Framing,
		AgeMS: info.Age.Milliseconds(), SilentMS: info.Silent.Milliseconds(), Waiting: info.Waiting,
		Mailbox: info.Mailbox, Underway: info.Underway, Rooms: info.Rooms, Messages: info.Messages,
	}
	if info.Peer.IsValid() {
		one.Peer = info.Peer.String()
	}
	return one
}

func (s *Server) ctlTrace(uid uint64, sink func(ctl.Message)) (stop func(), err error) {
	return s.peers.Trace(uid, func(e rpc.TraceEvent) {
		sink(ctl.Message{
			At: e.At, In: e.In, Kind: e.Kind, ID: e.ID, Method: e.Method, Body: e.Body, Failed: e.Failed, Size: e.Size, Took: e.Took,
		})
	})
}

// setLevel changes log.level until the next reload or restart.
func (s *Server) setLevel(level string) error {
	switch {
	case s.o.Log == nil:
		return &ctl.Error{Code: string(wire.FailedPrecondition), Message: "this daemon's log cannot be changed"}
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, level):
		return &ctl.Error{Code: string(wire.InvalidArgument), Message: "the level must be debug, info, warn or error"}
	}
	s.setLogLevel(level)
	return nil
}

func (s *Server) ctlReload() (ctl.Reloaded, error) {
	if err := s.notStarting(); err != nil { // Reread would wait, and the operator with it
		return ctl.Reloaded{}, err
	}
	changed, restart, err := s.Reread("gameserverd ctl reload")
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		return ctl.Reloaded{}, &ctl.Error{Code: string(wire.InvalidArgument), Message: problems.Error()}
	case err != nil:
		return ctl.Reloaded{}, &ctl.Error{Code: string(wire.FailedPrecondition), Message: err.Error()}
	}
	done := ctl.Reloaded{Changed: []ctl.Change{}, Restart: append([]string{}, restart...)}
	for _, c := range changed {
		done.Changed = append(done.Changed, ctl.Change{Key: c.Key, Old: c.Old, New: c.New})
	}
	return done, nil
}
