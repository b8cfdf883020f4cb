package transport

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/conn"
)

// Settings are what an operator may change while the daemon runs. A connection
// keeps those that it began with.
type Settings struct {
	Protocols        []string       // what clients may speak: frames, stream, websocket
	TLS              *tls.Config    // nil: no TLS
	RefusePlain      bool           // where TLS is on: only TLS, but for clients on a unix socket
	Origins          []string       // pages that may connect; none: those of the host that is connected to
	ProxyFrom        []netip.Prefix // from these addresses a connection must begin with a PROXY header
	ProxyUnix        bool           // and those on a unix socket
	MaxHandshakes    int            // TLS handshakes under way at once
	HandshakeTimeout time.Duration  // for a PROXY header, a handshake, an upgrade, from when it began
	FrameTimeout     time.Duration  // for a TLS record, from its first bytes to its last, to about a second; 0: none
	MaxFrame         int            // bytes of one message
}

// Gate says who may come, by address; see internal/gate. Any goroutine.
type Gate interface {
	// Open counts a connection from a, or says why there may be no more.
	Open(a netip.Addr) (ok bool, why string)
	// Close takes an Open that was ok back.
	Close(a netip.Addr)
}

// SharedOptions are what NewShared takes.
type SharedOptions struct {
	Settings
	Gate Gate        // nil: everybody may come
	Log  *zap.Logger // nil: nothing is logged
	// Input counts received bytes that the layers hold: half messages, mostly.
	// nil: they are not counted.
	Input *conn.Budget
	// Workers is how many handshakes may compute at the same time. One that waits
	// for its client does not count. 0: one.
	Workers int
}

// Shared is what the Muxes of a process have in common.
type Shared struct {
	// immutable after NewShared
	gate  Gate
	log   *zap.Logger
	input *conn.Budget
	turns chan struct{} // has room for the handshakes that may compute now

	// any goroutine
	settings   atomic.Pointer[Settings]
	handshakes atomic.Int64  // under way
	begun      atomic.Uint64 // handshakes since the start
	warned     atomic.Int64  // when a full handshake pool was last logged, Unix ns
	opened     [kinds]atomic.Uint64
	ended      [outcomes]atomic.Uint64
}

// NewShared makes what the Muxes of a process share.
func NewShared(o SharedOptions) *Shared {
	s := &Shared{gate: o.Gate, log: o.Log, input: o.Input, turns: make(chan struct{}, max(o.Workers, 1))}
	if s.gate == nil {
		s.gate = everybody{}
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.Set(o.Settings)
	return s
}

// Set gives the settings of connections that begin from now on. Any goroutine.
func (s *Shared) Set(o Settings) {
	o.Protocols = slices.Clone(o.Protocols)
	o.Origins = slices.Clone(o.Origins)
	o.ProxyFrom = slices.Clone(o.ProxyFrom)
	s.settings.Store(&o)
}

// Settings returns the settings in force, which must not be changed. Any goroutine.
func (s *Shared) Settings() Settings { return *s.settings.Load() }

// everybody is the gate of those who have none.
type everybody struct{}

func (everybody) Open(netip.Addr) (bool, string) { return true, "" }
func (everybody) Close(netip.Addr)               {}

// kind is what a connection turned out to be.
type kind uint8

const (
	kindTCP kind = iota
	kindTLS
	kindWebSocket
	kindTLSWebSocket
	kinds
)

// String is the kind as Describe has it.
func (k kind) String() string { return [kinds]string{"tcp", "tls", "websocket", "tls+websocket"}[k] }

// outcome is how a connection ended before it was a session's.
type outcome uint8

const (
	byGate          outcome = iota // limits by address: told too_many_connections
	byPlain                        // TLS is required: told protocol_error
	byProtocol                     // not in listen.protocols: told protocol_error
	byHandshakes                   // too many handshakes under way: closed
	badProxy                       // no valid PROXY header: closed
	badHandshake                   // the handshake failed
	badUpgrade                     // no valid WebSocket upgrade: answered by HTTP
	lateHandshake                  // the time for all this was over
	brokenTLS                      // bytes that are no TLS records, after the handshake
	brokenWebSocket                // bytes that are no WebSocket frames, after the upgrade
	outcomes
)

var outcomeNames = [outcomes]string{"address", "plain", "protocol", "handshakes", "proxy_header", "handshake", "upgrade", "handshake_timeout", "tls", "websocket"}

// String is the outcome as Counters has it.
func (o outcome) String() string { return outcomeNames[o] }

// Counters are counts since the start, and what is under way.
type Counters struct {
	// Opened has the connections that went as far as to speak: by tcp, tls,
	// websocket, tls+websocket.
	Opened map[string]uint64
	// Ended has those that were refused or went wrong before or below the
	// protocol, each once and nowhere else (Upper.ClaimEnd): by address, plain,
	// protocol, handshakes, proxy_header, handshake, upgrade, handshake_timeout, tls,
	// websocket.
	Ended      map[string]uint64
	Handshakes int // under way
}

// Counters returns the counts so far. Any goroutine.
func (s *Shared) Counters() Counters {
	c := Counters{Opened: make(map[string]uint64, kinds), Ended: make(map[string]uint64, outcomes)}
	for k := range kinds {
		c.Opened[k.String()] = s.opened[k].Load()
	}
	for o := range outcomes {
		c.Ended[o.String()] = s.ended[o].Load()
	}
	c.Handshakes = int(s.handshakes.Load())
	return c
}

// Handshakes returns how many are under way, and how many have begun since the
// start. Any goroutine.
func (s *Shared) Handshakes() (underway int, begun uint64) {
	return int(s.handshakes.Load()), s.begun.Load()
}

// proxied tells whether a connection from this address must begin with a PROXY header.
func (o *Settings) proxied(peer netip.AddrPort) bool {
	if !peer.IsValid() {
		return o.ProxyUnix
	}
	for _, p := range o.ProxyFrom {
		if p.Contains(peer.Addr()) {
			return true
		}
	}
	return false
}

// startHandshake counts one more handshake, if there may be one.
func (s *Shared) startHandshake(limit int) bool {
	if s.handshakes.Add(1) <= int64(limit) {
		s.begun.Add(1)
		return true
	}
	s.handshakes.Add(-1)
	s.ended[byHandshakes].Add(1)
	const every = int64(10 * time.Second)
	now, last := time.Now().UnixNano(), s.warned.Load()
	if now-last >= every && s.warned.CompareAndSwap(last, now) {
		s.log.Warn("too many TLS handshakes at once: connections are closed", zap.Int("limit", limit), zap.Uint64("closed", s.ended[byHandshakes].Load()))
	}
	return false
}
