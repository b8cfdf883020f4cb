// Package server puts the daemon together from its parts, runs it, and takes it
// apart again in the right order. It is the only package that knows all the
// others; it decides nothing that one of them could decide.
//
// Its one invariant: what New opened is closed when New fails or Run returns, but
// for what a loop holds that never ends.
package server

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/admin"
	"gameserverd/internal/config"
	"gameserverd/internal/conn"
	"gameserverd/internal/console"
	"gameserverd/internal/game"
	"gameserverd/internal/gate"
	"gameserverd/internal/handlers"
	authhandlers "gameserverd/internal/handlers/auth"
	"gameserverd/internal/handlers/duel"
	"gameserverd/internal/handlers/room"
	"gameserverd/internal/loop"
	"gameserverd/internal/rpc"
	"gameserverd/internal/systemd"
	"gameserverd/internal/tasks"
	"gameserverd/internal/tracing"
	"gameserverd/internal/transport"
)

// Server is the daemon.
type Server struct {
	// immutable after New
	cfg    *config.Config // as it was started; what a reload changes is in settings
	log    *zap.Logger
	o      Options
	dir    string // that is this daemon's alone: data_dir, or a folder in it
	loops  []*loop.Loop
	sets   []*conn.Set
	budget *conn.Budget // of what waits to be sent
	input  *conn.Budget // of what was received and not handled
	accept *conn.Server
	pool   *loop.Pool
	peers  *rpc.Peers
	admin  *admin.Server // nil: off

	registry *rpc.Registry
	console  *console.Console // nil: there is no admin server

	gate      *gate.Gate
	tracer    *tracing.Tracer // nil: off
	transport *transport.Shared
	pressure  *pressure
	inherited bool // clients come through systemd's sockets
	announce  announcer

	stores    *stores
	tasks     *tasks.Tasks
	taskParts *tasks.Parts

	// any goroutine
	settings       atomic.Pointer[settings]
	maxConnections atomic.Int64
	state          atomic.Int32
	reloads        reloads
	numbers        numbers
	control        control
	warnings       console.Warnings
	passes         passes
	stopOnce       sync.Once
	stop           chan string // why Shutdown was called
}

// Options are what a daemon may have besides its configuration.
type Options struct {
	// Areas adds methods to those of internal/handlers; tests use it.
	Areas func(*handlers.Parts) []rpc.Method
	// Tasks adds background tasks to those of internal/tasks; tests use it.
	Tasks []*tasks.Definition
	// Worker makes it run tasks and nothing else: nobody is served.
	Worker bool
	// Name is the worker's, and its folder's in data_dir; "": the first number that no
	// other worker there has.
	Name string
	// Sockets take the place of the addresses in the configuration.
	Sockets Sockets
	// Notifier tells systemd how the daemon is; nil: there is no systemd.
	Notifier *systemd.Notifier
	// Load reads the configuration anew, for Reread; nil: it stays as it is.
	Load func() (*config.Config, error)
	// Log is told what a reload changes of the log; nil: nothing can be changed.
	Log LogControl
	// Version is the binary's, for operators.
	Version string

	certificateTicks <-chan time.Time // when certificate files are looked at; nil: every 2 s
}

// New builds the daemon and binds every address of the configuration; nobody is
// served before Run. When it fails it leaves nothing open.
func New(cfg *config.Config, log *zap.Logger) (*Server, error) {
	return NewWith(cfg, log, Options{})
}

// NewWith is New with options.
func NewWith(cfg *config.Config, log *zap.Logger, o Options) (_ *Server, err error) {
	s := &Server{cfg: cfg, o: o, stop: make(chan string, 1)}
	log = s.numbers.lines.count(s.warnings.Watch(log))
	s.log = log
	s.reloads.begun = make(chan struct{})
	defer func() {
		if err != nil {
			s.release()
			s.closeCtl()
		}
	}()
	first, err := newSettings(cfg, !o.Worker)
	if err != nil {
		return nil, err
	}
	first.logFiles(log, nil)
	s.settings.Store(first)
	if err := s.makeLoops(); err != nil {
		return nil, err
	}
	if err := s.openStores(); err != nil {
		return nil, err
	}
	if err := s.makeTracer(); err != nil { // a worker has its name now
		return nil, err
	}
	if err := s.makeSessions(o); err != nil {
		return nil, err
	}
	if err := s.makeMetrics(); err != nil {
		return nil, err
	}
	s.accept = conn.NewServer(conn.ServerOptions{Admit: s.admit, OnAcceptError: s.logAccept})
	if o.Worker {
		err = s.listenAdmin(-1)
	} else {
		err = s.listen(o.Sockets)
	}
	if err != nil {
		return nil, err
	}
	s.announce = announcer{s: s, n: o.Notifier}
	if err := s.openCtl(); err != nil {
		return nil, err
	}
	return s, nil
}

// makeLoops makes the loops, which do not turn yet, and the worker pool.
func (s *Server) makeLoops() error {
	n := s.cfg.Loop.Count
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	for i := range n {
		name := fmt.Sprintf("loop-%d", i)
		l, err := loop.New(loop.Options{
			Name: name, SlowCallback: s.cfg.Loop.SlowCallback, OnSlow: s.logSlow,
			OnPanic: func(v any, stack []byte) {
				s.log.Error("callback panicked", zap.String("loop", name), zap.Any("panic", v), zap.ByteString("stack", stack))
			},
		})
		if err != nil {
			return fmt.Errorf("server: %s: %w", name, err)
		}
		s.loops = append(s.loops, l)
	}
	s.pool = loop.NewPool(s.cfg.Loop.Workers, s.cfg.Loop.WorkerQueue)
	return nil
}

func (s *Server) logSlow(slow loop.Slow) {
	s.log.Warn("slow callback", zap.String("loop", slow.Loop), zap.String("method", slow.Label), zap.Uint64("uid", slow.Who),
		zap.Duration("took", slow.Took), zap.String("stack", slow.Stack))
}

func (s *Server) logAccept(e *conn.AcceptError) {
	s.log.Warn("cannot accept connections", zap.Strings("listen", []string{e.Addr}), zap.Int("times", e.Times), zap.Error(e.Err))
}

// makeSessions joins each loop's connections to a hub, and gives the hubs their
// methods.
func (s *Server) makeSessions(o Options) error {
	limits := s.cfg.Limits
	s.maxConnections.Store(int64(s.limitConnections()))
	s.budget, s.input = newBudgets(limits)
	registry := rpc.NewRegistry()
	s.registry = registry
	s.peers = rpc.NewPeers(rpc.Options{
		Registry: registry, Log: s.log, Workers: s.pool, Protocols: framings, Tracer: s.callTracer(),
		Bound: func(uid uint64) { s.stores.players.Online(uid) }, Unbound: func(uid uint64) { s.stores.players.Offline(uid) },
		Limits: rpcLimits(limits, int(s.maxConnections.Load())),
		Input:  s.input,
	})
	s.logCalls()
	s.makeTransport()
	s.join(connOptions(limits, s.budget, s.input))
	s.watchPressure()
	if err := s.makeTasks(); err != nil {
		return err
	}
	s.makePlayers(s.arrived())
	s.taskParts.Players = s.stores.players
	parts := &handlers.Parts{
		Peers: s.peers, Registry: registry, Log: s.log, Clock: time.Now,
		Rooms: rpc.NewRooms(s.peers, rpc.RoomOptions{
			Joined: room.Joined, Left: room.Left, MaxPerPlayer: func() int { return s.config().Game.MaxRoomsPerPlayer },
		}),
		Verifier: verifier{s},
		Players:  s.stores.players,
		Boards:   s.stores.boards,
		SQL:      s.stores.sql,
		Redis:    s.stores.redis,
		Tasks:    s.tasks,
		Shop:     func() *game.Shop { return s.settings.Load().shop },
		Auth: func() authhandlers.Options {
			return authhandlers.Options{Heartbeat: s.config().Limits.IdleTimeout / 3, Gate: s.gate}
		},
		Duel: func() duel.Options { return duel.Options{Timeout: s.config().Game.DuelTimeout} },
		Room: func() room.Options { return room.Options{MaxTextBytes: s.config().Game.RoomMaxTextBytes} },
	}
	methods := handlers.Methods(parts)
	if o.Areas != nil {
		methods = append(methods, o.Areas(parts)...)
	}
	return registry.Add(methods...)
}

// Routes describes the methods that a daemon serves, without starting one.
func Routes() ([]rpc.MethodInfo, error) {
	registry := rpc.NewRegistry()
	if err := registry.Add(handlers.Methods(&handlers.Parts{Registry: registry})...); err != nil {
		return nil, err
	}
	return registry.Methods(), nil
}

// Addrs are the addresses that clients are accepted on, as bound. Any goroutine.
func (s *Server) Addrs() []string { return s.accept.Addrs() }

// AdminAddr is the admin server's address as bound, "" when it is off. Any
// goroutine.
func (s *Server) AdminAddr() string {
	if s.admin == nil {
		return ""
	}
	return s.admin.Addr()
}

// The states of a Server, in order.
const (
	starting int32 = iota
	serving
	draining
)

// Ready reports whether clients are served, or tasks run by a worker, and if not, why.
// Any goroutine.
func (s *Server) Ready() (ok bool, reason string) {
	switch s.state.Load() {
	case serving:
		return s.stores.ready()
	case starting:
		return false, "starting"
	}
	return false, "shutting down"
}

// Report tells how a drain went.
type Report struct {
	Clean     bool          // everything was answered and flushed
	Abandoned []Abandoned   // the calls that were not answered
	Took      time.Duration // from Shutdown to the end
	Deadline  time.Duration // shutdown.deadline, as it was when the drain began
}

// Abandoned is a call that the drain did not wait for.
type Abandoned = rpc.Abandoned

// Shutdown begins the drain; Run returns when it has ended. Any goroutine; only
// the first call counts.
func (s *Server) Shutdown(why string) {
	s.stopOnce.Do(func() { s.stop <- why })
}
