package attack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Options says what to attack, and how much. The zero value of a field is its
// default.
type Options struct {
	Addr  string // HOST:PORT or unix:/path; default 127.0.0.1:5700
	Again string // Addr again, to attack what is not on loopback

	TLS    *tls.Config // speak TLS; nil: plain. The TLS scenario runs either way
	Login  string      // token of the good client, in which {i} stands for a number; default dev:{i}
	Logins []string    // instead of Login: GoodConnections tokens

	Duration    time.Duration // of each scenario; default 3 s
	Connections int           // at once, of the attack; default 200
	Rate        int           // new connections a second, of the attack; default 500
	Only        []string      // scenarios by name; nil: all
	PID         int           // of the daemon; 0: found by who listens on Addr, if that is on this machine

	Bounds Bounds

	Progress func(Progress) // called about once a second, and at the end of each scenario; nil: nobody is told
}

// Bounds are what is asked of the daemon. A limit that is 0 is not known, and
// what depends on it is not judged.
type Bounds struct {
	LoginTimeout     time.Duration // limits.login_timeout of the daemon
	FrameTimeout     time.Duration // limits.frame_timeout
	HandshakeTimeout time.Duration // limits.handshake_timeout
	P99              time.Duration // of the good client, at most; 0: 10 times its idle value before the attack, or behind the scenario if that is more, at least 50 ms
	Memory           int64         // bytes that the daemon may grow in a scenario; 0: 128 MiB, and 64 KiB for each connection
}

// GoodConnections is how many connections the good client has.
const GoodConnections = 4

// The defaults of Options.
const (
	DefaultAddr        = "127.0.0.1:5700"
	DefaultDuration    = 3 * time.Second
	DefaultConnections = 200
	DefaultRate        = 500
	defaultLogin       = "dev:{i}"
	firstLogin         = 1_000_001 // what {i} is for the first good connection

	maxDuration    = time.Minute
	maxConnections = 10_000
	maxRate        = 10_000
)

func (o Options) resolve() (Options, error) {
	if o.Addr == "" {
		o.Addr = DefaultAddr
	}
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	if o.Login == "" {
		o.Login = defaultLogin
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	return o, o.check()
}

// Check reports all that is wrong with o, one line each. Any goroutine.
func (o Options) Check() error {
	_, err := o.resolve()
	return err
}

func (o Options) check() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Duration < 0 || o.Duration > maxDuration {
		bad("duration: %v, must be up to %v", o.Duration, maxDuration)
	}
	if o.Connections < 1 || o.Connections > maxConnections {
		bad("connections: %d, must be from 1 to %d", o.Connections, maxConnections)
	}
	if o.Rate < 1 || o.Rate > maxRate {
		bad("rate: %d connections a second, must be from 1 to %d", o.Rate, maxRate)
	}
	if o.Logins != nil && len(o.Logins) < GoodConnections {
		bad("login: %d tokens; the good client has %d connections", len(o.Logins), GoodConnections)
	}
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			bad("scenario: there is no %q, but %s", name, strings.Join(Names(), ", "))
		}
	}
	return errors.Join(problems...)
}

// ErrNotAllowed is why something that is not on loopback was not attacked.
var ErrNotAllowed = errors.New("it is not on loopback, and only who runs it may attack it: say the address a second time")

// Allowed reports whether o.Addr may be attacked: it is a unix socket, or all of
// ips, the addresses of its host, are on loopback, or o.Again says it again.
func (o Options) Allowed(ips []netip.Addr) error {
	if strings.HasPrefix(o.Addr, "unix:") || o.Again == o.Addr {
		return nil
	}
	onLoopback := func(ip netip.Addr) bool { return ip.Unmap().IsLoopback() }
	if len(ips) > 0 && !slices.ContainsFunc(ips, func(ip netip.Addr) bool { return !onLoopback(ip) }) {
		return nil
	}
	if o.Again != "" {
		return fmt.Errorf("%s and %s are not the same: %w", o.Addr, o.Again, ErrNotAllowed)
	}
	return fmt.Errorf("%s: %w", o.Addr, ErrNotAllowed)
}

// token is the login of good connection i.
func (o Options) token(i int) string {
	if o.Logins != nil {
		return o.Logins[i]
	}
	return strings.ReplaceAll(o.Login, "{i}", fmt.Sprint(firstLogin+i))
}

// serverName is the host of o.Addr.
func (o Options) serverName() string {
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return ""
	}
	return host
}
