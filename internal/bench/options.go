package bench

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/wire"
)

// Options says what to call, how often, and for how long. The zero value of each field is its default.
type Options struct {
	Addr        string        // HOST:PORT of the server; default 127.0.0.1:5700
	Connections int           // default 10
	Loops       int           // event loops, one CPU each; default 1
	Depth       int           // calls outstanding on each connection: default 1; with Rate the most that may be, default 256
	Rate        float64       // calls a second on all connections together; 0: as fast as answers come
	Duration    time.Duration // of the measurement; default 10 s, with Total unlimited
	Total       uint64        // ends the measurement after so many calls; 0: Duration alone does
	Warmup      time.Duration // calls that begin in this time before the measurement do not count; negative: none; default 1 s
	Method      string        // default sum
	Params      wire.Raw      // its params, an array; nil: 1, 2 for sum, none for others
	Login       string        // token of auth.login, in which {i} stands for the connection's number, from 1; "": no login
	Logins      []string      // instead of Login: a token for each connection
	TLS         *tls.Config   // nil: plain; its ServerName is the host of Addr unless it says another
	Expect      wire.Raw      // the result that every answer must have; nil: any

	// JSON appends a value as JSON, for the values in the result; nil: they are left out.
	JSON func(b []byte, v wire.Raw) []byte
}

// The defaults and bounds of Options.
const (
	defaultAddr        = "127.0.0.1:5700"
	DefaultConnections = 10
	defaultRateDepth   = 256
	defaultDuration    = 10 * time.Second
	DefaultWarmup      = time.Second
	defaultMethod      = "sum"

	maxDepth    = 1 << 16
	maxRate     = 1e8
	spareFiles  = 64 // descriptors that are not connections
	unlimitedNS = int64(1) << 62
)

// resolve fills in the defaults and reports all that is wrong.
func (o Options) resolve() (Options, error) {
	if o.Addr == "" {
		o.Addr = defaultAddr
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Loops == 0 {
		o.Loops = 1
	}
	if o.Depth == 0 {
		o.Depth = 1
		if o.Rate > 0 {
			o.Depth = defaultRateDepth
		}
	}
	if o.Duration == 0 && o.Total == 0 {
		o.Duration = defaultDuration
	}
	if o.Warmup == 0 {
		o.Warmup = DefaultWarmup
	}
	o.Warmup = max(o.Warmup, 0)
	if o.Method == "" {
		o.Method = defaultMethod
	}
	if o.Params == nil {
		o.Params = wire.AppendArray(nil, 0)
		if o.Method == defaultMethod {
			o.Params = wire.AppendInt(wire.AppendInt(wire.AppendArray(nil, 2), 1), 2)
		}
	}
	if host, _, err := net.SplitHostPort(o.Addr); o.TLS != nil && o.TLS.ServerName == "" && err == nil {
		o.TLS = o.TLS.Clone()
		o.TLS.ServerName = host
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
	if o.Connections < 1 {
		bad("connections: %d, must be at least 1", o.Connections)
	}
	if o.Loops < 1 || o.Loops > max(o.Connections, 1) {
		bad("loops: %d, must be from 1 to the number of connections (%d); this machine has %d CPUs", o.Loops, o.Connections, runtime.NumCPU())
	}
	if o.Depth < 1 || o.Depth > maxDepth {
		bad("depth: %d, must be from 1 to %d", o.Depth, maxDepth)
	}
	if !(o.Rate >= 0 && o.Rate <= maxRate) {
		bad("rate: %v calls a second, must be from 0 (as fast as answers come) to %.0f", o.Rate, maxRate)
	}
	if o.Duration < 0 {
		bad("duration: %v, must be positive", o.Duration)
	}
	if len(o.Method) > wire.MaxMethod {
		bad("method: %d bytes, must be at most %d", len(o.Method), wire.MaxMethod)
	}
	if size := len(o.Params) + len(o.Method) + 16; size > wire.MaxFrame {
		bad("params: %d bytes, a frame holds at most %d", len(o.Params), wire.MaxFrame)
	}
	r := wire.NewReader(o.Params)
	if _, err := r.Array(); err != nil || wire.Check(o.Params, wire.DefaultMaxElements) != nil {
		bad("params: must be an array")
	}
	if o.Login != "" && o.Logins != nil {
		bad("login: one token for all and a list of them")
	}
	if o.Logins != nil && len(o.Logins) < o.Connections {
		bad("login: %d tokens for %d connections", len(o.Logins), o.Connections)
	}
	if o.Expect != nil {
		if _, err := newExpectation(o.Expect); err != nil {
			bad("expect: %w", err)
		}
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && uint64(max(o.Connections, 0))+spareFiles > files.Cur {
		bad("connections: %d need %d descriptors, this process may have %d (ulimit -n)", o.Connections, o.Connections+spareFiles, files.Cur)
	}
	return errors.Join(problems...)
}

// token is the login token of connection i, counted from 0.
func (o Options) token(i int) string {
	if o.Logins != nil {
		return o.Logins[i]
	}
	return strings.ReplaceAll(o.Login, "{i}", strconv.Itoa(i+1))
}

// json is a validated value as JSON; nil stays nil.
func (o Options) json(v wire.Raw) json.RawMessage {
	if v == nil || o.JSON == nil {
		return nil
	}
	return o.JSON(nil, v)
}
