// Package console is the page where operators see a daemon run and act on it: an
// http.Handler with the page's files and what its script asks for. It measures
// nothing and decides nothing about the daemon, which is a struct of functions; it
// decides who may ask, and writes down what they change.
//
// Invariant: nothing is changed before a line in the audit log says who does it; when
// the line cannot be written, it is refused.
package console

import (
	"context"
	"embed"
	"io/fs"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/ctl"
	"gameserverd/internal/metrics"
	"gameserverd/internal/rpc"
)

// Options is what New needs. Functions are called on HTTP goroutines: any goroutine.
type Options struct {
	Daemon  ctl.Daemon
	Collect metrics.Collect
	Methods func() []rpc.MethodInfo
	Player  func(ctx context.Context, uid uint64) (p Player, online bool, err error)
	Message func(uid uint64, text string) error
	// Call calls a method as a player, or as nobody if its UID is 0. An error is the
	// method's answer.
	Call     func(ctx context.Context, c Call) (Answer, error)
	Settings func() Settings
	Warnings *Warnings // nil: the log is not watched
	Addr     string    // that the listener is bound to: host:port
	Audit    *Audit    // is Close's to close
	Off      bool      // only Guard is of use
	Log      *zap.Logger
}

// Settings are what a reload changes.
type Settings struct {
	Token string   // signs in; "": there is none
	Hosts []string // names by which browsers may ask, besides localhost and addresses
}

// Console answers what the page asks. Any goroutine.
type Console struct {
	// immutable after New
	o      Options
	local  bool // nobody but this machine reaches the listener
	cookie string
	mux    *http.ServeMux

	// any goroutine
	signins  signins
	live     live
	requests chan struct{} // full: too many at once of those who have signed in
	entering chan struct{} // full: too many sign in at once
	near     chan struct{} // the same, of those who come by ssh -L
	looking  chan struct{} // full: somebody takes a snapshot of the sessions
	calls    chan struct{} // full: too many methods are tried at once
	ending   chan struct{} // closed by End: streams end
	closing  sync.Once
}

// The bounds of what is asked at once, and of a request's body in bytes.
const (
	maxRequests = 64
	maxSignIns  = 16
	signInTime  = time.Second // until all of its body is there: anybody can begin one
	maxCalls    = 8
	maxBody     = 1 << 20
)

// New makes a console; End and Close end it.
func New(o Options) *Console {
	c := &Console{
		o: o, local: onlyLocal(o.Addr), cookie: cookieName(o.Addr), mux: http.NewServeMux(),
		requests: make(chan struct{}, maxRequests), entering: make(chan struct{}, maxSignIns), near: make(chan struct{}, maxSignIns),
		looking: make(chan struct{}, 1), calls: make(chan struct{}, maxCalls), ending: make(chan struct{}),
	}
	c.signins.init()
	c.live.init(o, c.ending)
	c.routes()
	return c
}

// End ends the streams of open pages: they would hold the end of the server up. What
// is done for operators goes on. Idempotent.
func (c *Console) End() {
	c.closing.Do(func() {
		close(c.ending)
		c.live.end()
	})
}

// Close ends the streams and closes the audit log, after the requests under way have
// ended: what comes of them is written there. Idempotent.
func (c *Console) Close() {
	c.End()
	if c.o.Audit != nil {
		_ = c.o.Audit.close() // every line is with the kernel; a second time there is nothing to close
	}
}

// Reopen opens the audit log again by its name, after it was moved away. With an error
// the old file is still written to. Any goroutine.
func (c *Console) Reopen() error {
	if c.o.Audit == nil {
		return nil
	}
	return c.o.Audit.reopen()
}

// Pages is how many pages are open. Any goroutine.
func (c *Console) Pages() int { return c.live.pages() }

// ServeHTTP answers / and /console/.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if !c.knownHost(r) {
		fail(w, http.StatusMisdirectedRequest, "host", "the console is not called "+hostOf(r.Host)+": use an address or localhost, or add the name to admin.hosts")
		return
	}
	c.mux.ServeHTTP(w, r)
}

//go:embed page
var page embed.FS

func (c *Console) routes() {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // of a name in this file
	}
	static := http.FileServerFS(files)
	c.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, files, "index.html")
	})
	c.mux.Handle("GET /console/page/", http.StripPrefix("/console/page", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") { // no list of files
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		static.ServeHTTP(w, r)
	})))
	c.mux.Handle("GET /console/hello", c.own(c.hello))
	c.mux.Handle("POST /console/signin", c.own(func(w http.ResponseWriter, r *http.Request) {
		places := c.entering
		if askerOf(r).near() {
			places = c.near
		}
		bounded(places, c.signIn)(w, r)
	}))
	c.mux.Handle("POST /console/signout", c.own(c.signOut))
	for pattern, fn := range map[string]http.HandlerFunc{
		"GET /console/live": c.serveLive, "GET /console/players": c.players, "GET /console/player": c.player, "GET /console/trace": c.trace,
		"GET /console/methods": c.methods, "GET /console/warnings": c.warnings, "GET /console/tasks": c.tasks, "GET /console/task": c.task,
	} {
		c.mux.Handle(pattern, c.own(c.signedIn(bounded(c.requests, fn))))
	}
	for pattern, fn := range map[string]http.HandlerFunc{
		"POST /console/kick": c.kick, "POST /console/message": c.message, "POST /console/call": c.call,
		"POST /console/tasks/run": c.runTask, "POST /console/tasks/act": c.actOnTask,
	} {
		c.mux.Handle(pattern, c.own(c.signedIn(c.changing(bounded(c.requests, fn)))))
	}
	c.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "not_found", "there is no such page")
	})
}

// onlyLocal tells whether nobody but this machine can reach an address that is
// listened on.
func onlyLocal(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return strings.HasPrefix(addr, "/") || strings.HasPrefix(addr, "@") // a Unix socket's
	}
	return ap.Addr().Unmap().IsLoopback()
}

// askTime bounds what a loop has to answer.
const askTime = 15 * time.Second
