package server

import (
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/auth"
	"gameserverd/internal/config"
	"gameserverd/internal/conn"
	"gameserverd/internal/gate"
	"gameserverd/internal/transport"
)

// certificate is what was read for TLS; the zero value: TLS is off.
type certificate struct {
	cert, key, roots string    // where the files are; "": none
	until            time.Time // when the first of the chain ends
	stamps           [3]stamp
}

// stamp tells whether a file has changed.
type stamp struct {
	size    int64
	changed time.Time
	mode    os.FileMode
}

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 14 * 24 * time.Hour

// newTransport makes transport settings of a configuration and reads the files
// that it names.
func newTransport(cfg *config.Config) (o transport.Settings, c certificate, problems config.Problems) {
	l := &cfg.Listen
	o = transport.Settings{
		Protocols: l.Protocols, RefusePlain: l.TLS.Plain == "refuse", Origins: l.WebSocket.Origins,
		MaxHandshakes: cfg.Limits.MaxHandshakes, HandshakeTimeout: cfg.Limits.HandshakeTimeout, FrameTimeout: cfg.Limits.FrameTimeout, MaxFrame: cfg.Limits.MaxFrameBytes,
	}
	for _, from := range l.ProxyProtocolFrom {
		if from == "unix" {
			o.ProxyUnix = true
			continue
		}
		prefix, err := netip.ParsePrefix(from)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(from); err == nil {
				a = a.Unmap()
				prefix = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil { // Load has checked it
			problems = append(problems, cfg.Wrong("listen.proxy_protocol_from", err.Error()))
			continue
		}
		o.ProxyFrom = append(o.ProxyFrom, prefix)
	}
	if l.TLS.CertFile == "" {
		return o, c, problems
	}
	c.cert, c.key = auth.Locate(l.TLS.CertFile), auth.Locate(l.TLS.KeyFile)
	if l.TLS.ClientCAFile != "" {
		c.roots = auth.Locate(l.TLS.ClientCAFile)
	}
	// Before the files are read: a change meanwhile is seen as one.
	c.stamps = c.look()
	var err error
	if o.TLS, c.until, err = transport.LoadTLS(c.cert, c.key, c.roots); err != nil {
		problems = append(problems, cfg.Wrong("listen.tls.cert_file", err.Error()))
	}
	return o, c, problems
}

// look stats the files.
func (c *certificate) look() (s [3]stamp) {
	for i, name := range [...]string{c.cert, c.key, c.roots} {
		if info, err := os.Stat(name); err == nil {
			s[i] = stamp{size: info.Size(), changed: info.ModTime(), mode: info.Mode()}
		}
	}
	return s
}

// log says what was loaded, and when it ends.
func (c *certificate) log(log *zap.Logger) {
	if c.cert == "" {
		return
	}
	log.Info("certificate loaded", zap.String("file", c.cert), zap.Time("not_after", c.until), zap.Bool("client_certificates", c.roots != ""))
	if c.stamps[1].mode.Perm()&0o007 != 0 {
		log.Warn("anybody can read the certificate's key: chmod o= it", zap.String("file", c.key))
	}
	c.warnOfEnd(log, time.Now())
}

// warnOfEnd warns of a certificate that ends soon, or has ended.
func (c *certificate) warnOfEnd(log *zap.Logger, now time.Time) {
	if left := c.until.Sub(now); c.cert != "" && left < expiresSoon {
		log.Warn("the certificate ends soon", zap.String("file", c.cert), zap.Time("not_after", c.until), zap.Duration("left", left.Round(time.Minute)))
	}
}

// makeTransport makes what stands between connections and hubs. The settings are
// those in force.
func (s *Server) makeTransport() {
	now := s.settings.Load()
	s.gate = gate.New(gateLimits(now.cfg.Limits), time.Now)
	s.transport = transport.NewShared(transport.SharedOptions{
		Settings: now.transport, Gate: s.gate, Log: s.log, Input: s.input,
		// Half of the processors: what handshakes have to compute must not hold up
		// those who are connected.
		Workers: max(1, runtime.GOMAXPROCS(0)/2),
	})
}

func gateLimits(l config.Limits) gate.Limits {
	return gate.Limits{PerAddress: l.MaxConnectionsPerIP, ConnectionRate: l.ConnectionRatePerIP, LoginRate: l.LoginRatePerIP}
}

// join puts a Mux between each loop's connections and its hub.
func (s *Server) join(o conn.Options) {
	s.sets = make([]*conn.Set, len(s.loops))
	muxes := make([]*transport.Mux, len(s.loops))
	for i, l := range s.loops {
		muxes[i] = transport.NewMux(l, s.transport)
		s.sets[i] = conn.NewSet(l, muxes[i], o)
	}
	for i, l := range s.loops {
		hub := s.peers.AddHub(hubLoop{l})
		muxes[i].Connect(s.sets[i], hub, muxes)
		hub.Connect(muxes[i])
		s.numbers.hubs = append(s.numbers.hubs, hub)
	}
}

// framings are what hubs speak; which of them clients may is the Mux's to say,
// since to a hub WebSocket is frames.
var framings = []string{"frames", "stream"}

// watchEvery is how often certificate files are looked at.
const watchEvery = 2 * time.Second

// watchCertificates reads certificate files again when they have changed, and
// gives memory back that many handshakes have left, until the function that it returns is called. ticks is when to look; nil: every 2 s.
func (s *Server) watchCertificates(ticks <-chan time.Time) (stop func()) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		if ticks == nil {
			t := time.NewTicker(watchEvery)
			defer t.Stop()
			ticks = t.C
		}
		w := certificateWatch{s: s, warned: time.Now()}
		after := afterHandshakes{handshakes: s.transport.Handshakes, free: debug.FreeOSMemory}
		for {
			select {
			case <-done:
				return
			case now := <-ticks:
				w.look(now)
				after.look(now)
			}
		}
	})
	return func() {
		close(done)
		watching.Wait()
	}
}

// certificateWatch is what the watcher remembers from look to look.
type certificateWatch struct {
	s      *Server
	seen   [3]stamp // what the files were like at the last look
	failed [3]stamp // and when they could not be used
	warned time.Time
}

// look reads the files if they have changed, and have stopped changing: a
// certificate and its key are two files, and take two writes.
func (w *certificateWatch) look(now time.Time) {
	c := &w.s.settings.Load().certificate
	if c.cert == "" {
		return
	}
	if now.Sub(w.warned) >= 24*time.Hour {
		w.warned = now
		c.warnOfEnd(w.s.log, now)
	}
	seen := c.look()
	settled := seen == w.seen
	w.seen = seen
	if seen == c.stamps || seen == w.failed || !settled {
		return
	}
	w.s.log.Info("the certificate's files have changed", zap.String("file", c.cert))
	if err := w.s.rereadCertificate(); err != nil {
		w.failed = seen
		w.s.log.Warn("the certificate cannot be loaded: the old one stays in force", zap.String("file", c.cert), zap.Error(err))
	}
}

// rereadCertificate puts what is in the files now in force, and changes nothing
// else.
func (s *Server) rereadCertificate() error {
	s.reloads.turn.Lock()
	defer s.reloads.turn.Unlock()
	next := *s.settings.Load()
	o, c, problems := newTransport(next.cfg)
	if len(problems) > 0 {
		return problems
	}
	next.transport, next.certificate = o, c
	if s.putInForce(&next) {
		c.log(s.log)
	}
	return nil
}

// changed tells whether other files, or others' contents, are in force than in old.
func (c *certificate) changed(old *certificate) bool {
	return old == nil || *c != *old
}
