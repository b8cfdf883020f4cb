package server

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/client"
	"gameserverd/internal/admin"
	"gameserverd/internal/config"
	"gameserverd/internal/console"
	"gameserverd/internal/ctl"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// makeConsole has the admin server show the console, and ask the console whom it shows
// profiles to.
func (s *Server) makeConsole(o *admin.Options) error {
	c := console.Options{
		Daemon: s.ctlDaemon(), Collect: s.numbers.collect, Methods: s.registry.Methods, Player: s.consolePlayer,
		Message: func(uid uint64, text string) error { return s.peers.Notify(uid, noticeMethod, text) },
		Call:    s.consoleCall,
		Settings: func() console.Settings {
			now := s.settings.Load()
			return console.Settings{Token: now.consoleToken, Hosts: now.cfg.Admin.Hosts}
		},
		Warnings: &s.warnings, Off: !s.cfg.Admin.Console, Log: s.log,
	}
	if s.cfg.Admin.Console {
		path := s.cfg.Admin.AuditFile
		if path == "" {
			path = filepath.Join(s.dir, "audit.log")
		}
		var err error
		if c.Audit, err = console.OpenAudit(path); err != nil {
			return config.Problems{s.cfg.Wrong("admin.audit_file", err.Error())}
		}
	}
	o.Pages = func(addr string) admin.Pages {
		c.Addr = addr
		s.console = console.New(c)
		pages := admin.Pages{Guard: s.console.Guard}
		if s.cfg.Admin.Console {
			pages.Console = http.Handler(s.console)
		}
		return pages
	}
	return nil
}

// noticeMethod is the notification by which an operator tells one player something.
const noticeMethod = "sys.notice"

func (s *Server) consolePlayer(ctx context.Context, uid uint64) (p console.Player, online bool, err error) {
	d, online, err := s.peers.Watch(ctx, uid)
	if err != nil || !online {
		return p, false, err
	}
	p = console.Player{Session: console.NewSession(ctlSession(d.SessionInfo)), RoomNames: d.Rooms, Calls: []console.PlayerCall{}, Asked: d.AskedFor,
		Last: []console.LastCall{}, SlowMS: rpc.SlowCall.Milliseconds(), AllSince: &d.AllSince}
	for _, c := range d.Calls {
		p.Calls = append(p.Calls, console.PlayerCall{Method: c.Method, AgeMS: c.Age.Milliseconds()})
	}
	for _, c := range d.Last {
		p.Last = append(p.Last, console.LastCall{Method: c.Method, Code: string(c.Code), At: c.At, WaitedMS: inMS(c.Waited), TookMS: inMS(c.Took), Trace: c.Trace})
	}
	return p, true, nil
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// consoleCall tries a method for an operator. As a player who is online here it goes
// through the player's own session; otherwise through a connection made for it, which
// logs in if it is to be a player.
func (s *Server) consoleCall(ctx context.Context, c console.Call) (a console.Answer, err error) {
	if s.state.Load() != serving || s.o.Worker {
		return a, &ctl.Error{Code: string(wire.Unavailable), Message: "this daemon does not serve clients now"}
	}
	if c.UID != 0 {
		_, online, err := s.peers.Session(ctx, c.UID)
		if err != nil {
			return a, err
		}
		if online {
			return s.callInSession(ctx, c)
		}
	}
	return s.callOnItsOwn(ctx, c)
}

func (s *Server) callInSession(ctx context.Context, c console.Call) (a console.Answer, err error) {
	a.Way = "through the player's session, in the order of the player's own messages"
	params, err := wire.AppendAny(nil, c.Params)
	if err != nil {
		return a, wire.Errorf(wire.InvalidArgument, "%v", err)
	}
	timeout := 10 * time.Second
	if end, ok := ctx.Deadline(); ok {
		timeout = time.Until(end)
	}
	a.Result, err = s.peers.Impersonate(c.UID, timeout, c.Method, params).Wait(ctx)
	return a, err
}

// callOnItsOwn makes a connection within the process, and calls as any client does.
func (s *Server) callOnItsOwn(ctx context.Context, c console.Call) (a console.Answer, err error) {
	a.Way = "on a connection of its own, without a login"
	dial := func(context.Context, string, string) (net.Conn, error) { return s.dialInside(c.UID) }
	conn, err := client.Dial(ctx, "inside", client.WithDialer(dial), client.WithoutReconnect())
	if err != nil {
		return a, err
	}
	defer conn.Close()
	if c.UID != 0 {
		a.Way = "on a connection of its own, logged in as the player for this one call"
		token := s.passes.issue(c.UID)
		defer s.passes.take(token)
		switch _, err := conn.Login(ctx, token); {
		case wire.CodeOf(err) == wire.FailedPrecondition: // the player has logged in since
			return s.callInSession(ctx, c)
		case err != nil:
			return a, err
		}
		defer func() { _ = conn.Logout(ctx) }() // so that the player is offline when the answer is there
	}
	err = conn.Call(ctx, c.Method, &a.Result, c.Params...)
	return a, err
}

// dialInside connects to this daemon without any of its listeners: on the loop where
// uid's code runs, by a pair of sockets. A login there throws nobody out.
func (s *Server) dialInside(uid uint64) (net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(pair[0]), "inside")
	conn, err := net.FileConn(file)
	_ = file.Close() // the connection has a duplicate
	if err != nil {
		_ = unix.Close(pair[1])
		return nil, err
	}
	if slices.Contains(s.config().Listen.ProxyProtocolFrom, "unix") {
		_, err = conn.Write([]byte("PROXY UNKNOWN\r\n"))
	}
	i := s.peers.HomeOf(uid)
	attach := func() {
		if id, err := s.sets[i].Attach(pair[1], netip.AddrPort{}); err == nil { // else it has closed it: the client sees that
			s.numbers.hubs[i].Yield(id)
		}
	}
	if err == nil && !s.loops[i].AddCallback(attach) {
		err = wire.Errorf(wire.Unavailable, "the daemon is shutting down")
	}
	if err != nil {
		_, _ = conn.Close(), unix.Close(pair[1])
		return nil, err
	}
	return conn, nil
}

// passes are tokens that log in once, made for calls that an operator tries. Any
// goroutine. The zero value has none.
type passes struct {
	mu  sync.Mutex
	uid map[string]uint64
}

// issue makes a token; take must follow.
func (p *passes) issue(uid uint64) (token string) {
	token = "console:" + rand.Text() + rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.uid == nil {
		p.uid = make(map[string]uint64)
	}
	p.uid[token] = uid
	return token
}

// take returns whom a token logs in, 0 if there is none such, and forgets it.
func (p *passes) take(token string) (uid uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	uid = p.uid[token]
	delete(p.uid, token)
	return uid
}
