package attack

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server of native framing that has sum, sys.ping and auth.login, and
// one fault that the test gives it.
type fake struct {
	network, addr string
	fault         string

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// The faults of a fake.
const (
	patient  = "bytes that are no message are waited on"
	trusting = "every token is good"
	brittle  = "bytes that are no message end all connections"
	chatty   = "bytes that are no message are answered with another reason"
	lazy     = "a byte that is no message makes every answer take 100 ms"
)

func serveFake(t *testing.T, network, addr, fault string) *fake {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{network: network, addr: l.Addr().String(), fault: fault, conns: map[net.Conn]bool{}}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			tasks.Go(func() {
				f.serve(c)
				c.Close()
				f.mu.Lock()
				delete(f.conns, c)
				f.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.closeAll()
		tasks.Wait()
	})
	return f
}

func (f *fake) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
}

func (f *fake) serve(c net.Conn) {
	head := make([]byte, wire.HeaderLen)
	for {
		if _, err := io.ReadFull(c, head[:1]); err != nil {
			return
		}
		if head[0] != 0 {
			f.bad(c)
			return
		}
		if _, err := io.ReadFull(c, head[1:]); err != nil {
			return
		}
		n := wire.FrameLen(head)
		if n == 0 || n > wire.DefaultMaxFrame {
			f.bad(c)
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		var m wire.Message
		if m.Parse(b, 1000) != nil || m.Kind != wire.Request {
			f.bad(c)
			return
		}
		f.mu.Lock()
		slow := f.fault == "slow now"
		f.mu.Unlock()
		if slow {
			waitFor(100 * time.Millisecond)
		}
		if _, err := c.Write(f.answer(&m)); err != nil {
			return
		}
	}
}

func waitFor(d time.Duration) { <-time.After(d) }

func (f *fake) answer(m *wire.Message) []byte {
	switch string(m.Method) {
	case "sum":
		r := wire.NewReader(m.Params)
		_, _ = r.Array()
		x, _ := r.Int64()
		y, _ := r.Int64()
		return framed(wire.AppendInt(wire.AppendResult(nil, m.ID), x+y)...)
	case "auth.login":
		r := wire.NewReader(m.Params)
		_, _ = r.Array()
		if token, _ := r.String(); f.fault != trusting && !strings.HasPrefix(token, "dev:1000") {
			return framed(wire.AppendErrorResponse(nil, m.ID, wire.Errorf(wire.Unauthenticated, "no"))...)
		}
		b := wire.AppendMap(wire.AppendResult(nil, m.ID), 1)
		return framed(wire.AppendUint(wire.AppendString(b, "uid"), 7)...)
	}
	return framed(wire.AppendNil(wire.AppendResult(nil, m.ID))...)
}

// bad is what comes of bytes that are no message.
func (f *fake) bad(c net.Conn) {
	code := wire.ProtocolError
	switch f.fault {
	case patient:
		_, _ = io.Copy(io.Discard, c)
		return
	case brittle:
		f.closeAll()
		return
	case chatty:
		code = wire.Kicked
	case lazy:
		f.mu.Lock()
		f.fault = "slow now"
		f.mu.Unlock()
	}
	_, _ = c.Write(framed(closing(code)...))
}

func TestFaultsAreFound(t *testing.T) {
	for _, tt := range []struct {
		fault, scenario string
		duration        time.Duration
		broken          string // the rules
	}{
		{"", "malformed", time.Second / 2, ""},
		{"", "logins", time.Second / 2, ""},
		{"", "connections", time.Second / 2, ""},
		{patient, "malformed", quick + time.Second/2, "in time"},
		{trusting, "logins", time.Second / 2, "logins"},
		{brittle, "malformed", time.Second / 2, "good client"},
		{chatty, "malformed", time.Second / 2, "endings"},
		{lazy, "malformed", time.Second / 2, "latency"},
	} {
		t.Run(tt.scenario+" "+tt.fault, func(t *testing.T) {
			t.Parallel()
			f := serveFake(t, "tcp", "127.0.0.1:0", tt.fault)
			report, err := Run(t.Context(), Options{
				Addr: f.addr, Only: []string{tt.scenario}, Duration: tt.duration, Connections: 20, Rate: 100,
				Bounds: Bounds{P99: 90 * time.Millisecond, Memory: 1 << 40},
			})
			if err != nil {
				t.Fatal(err)
			}
			var broken []string
			for _, r := range report.Scenarios[0].Rules {
				// A machine that is busy with other tests may be slow.
				if !r.OK && (r.Name != "latency" || tt.broken == "latency") {
					broken = append(broken, r.Name)
				}
			}
			if strings.Join(broken, " ") != tt.broken {
				t.Errorf("broken: %v, want %q; %+v", broken, tt.broken, report.Scenarios[0])
			}
			if report.PID != os.Getpid() || report.Scenarios[0].Memory == nil {
				t.Errorf("process %d, memory %v", report.PID, report.Scenarios[0].Memory)
			}
			if report.Idle.Calls == 0 || report.Idle.Errors > 0 || report.Scenarios[0].Connections < 20 {
				t.Errorf("idle %+v, %d connections", report.Idle, report.Scenarios[0].Connections)
			}
		})
	}
}

func TestUnixSocketAndSkipped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	serveFake(t, "unix", path, "")
	var told []string
	report, err := Run(t.Context(), Options{
		Addr: "unix:" + path, Only: []string{"huge", "websocket"}, Duration: time.Second / 2, Connections: 10, Rate: 50, Bounds: Bounds{P99: 5 * time.Second},
		Progress: func(p Progress) { told = append(told, p.String()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Scenarios) != 2 || !report.OK || report.Scenarios[1].Skipped == "" || report.PID != os.Getpid() {
		t.Errorf("%+v", report)
	}
	if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, "huge: pass, ") }) {
		t.Errorf("told: %q", told)
	}
}

func TestGoodClientThatIsNotLetIn(t *testing.T) {
	t.Parallel()
	f := serveFake(t, "tcp", "127.0.0.1:0", "")
	var login *LoginError
	if _, err := Run(t.Context(), Options{Addr: f.addr, Login: "nobody"}); !errors.As(err, &login) {
		t.Errorf("got %v", err)
	}
}
