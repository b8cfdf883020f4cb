package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/handlers"
	"gameserverd/internal/rpc"
	"gameserverd/internal/server"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// deadline is how long a test waits for what must happen.
const deadline = 10 * time.Second

// daemon runs a server for the test. Beside the methods that ship it has
// test.fail(code), which fails with that code.
func daemon(t *testing.T) *server.Server {
	t.Helper()
	cfg := config.Default()
	cfg.Listen.TCP, cfg.Listen.Admin, cfg.Loop.Count, cfg.DataDir = []string{"127.0.0.1:0"}, "", 1, t.TempDir()
	fail := rpc.Method{
		Name: "test.fail", Doc: "Fails.", Public: true, Params: []rpc.Param{{Name: "code", Type: "str"}}, Result: "nil", Where: "call_test.go:1",
		Sync: func(_ *rpc.Call, a *rpc.Args, out []byte) ([]byte, error) {
			code, err := a.String("code")
			if err != nil {
				return out, err
			}
			return out, &rpc.Error{Code: wire.Code(code), Message: "as asked", Data: map[string]any{"trace": "abc"}, RetryAfter: 1500 * time.Millisecond}
		},
	}
	s, err := server.NewWith(cfg, zap.NewNop(), server.Options{Areas: func(*handlers.Parts) []rpc.Method { return []rpc.Method{fail} }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Run()
		ended <- err
	}()
	t.Cleanup(func() {
		s.Shutdown("the test has ended")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// terminal is what a call prints. Any goroutine.
type terminal struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // one value after each write
}

func newTerminal() *terminal { return &terminal{changed: make(chan struct{}, 1)} }

func (o *terminal) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (o *terminal) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// until waits until text was printed.
func (o *terminal) until(t *testing.T, text string) {
	t.Helper()
	late := time.After(deadline)
	for !strings.Contains(o.String(), text) {
		select {
		case <-o.changed:
		case <-late:
			t.Fatalf("%q was not printed, but:\n%s", text, o.String())
		}
	}
}

// call runs c against s and returns what it printed and its exit code.
func call(t *testing.T, s *server.Server, c *Call) (out, err string, code int) {
	t.Helper()
	stdout, stderr := newTerminal(), newTerminal()
	c.Out, c.Err, c.Program = stdout, stderr, "gameserverd"
	if c.Addr == "" {
		c.Addr = s.Addrs()[0]
	}
	if c.Timeout == 0 {
		c.Timeout = deadline
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	failed := c.Run(ctx)
	var exit *ExitError
	if failed != nil && !errors.As(failed, &exit) {
		t.Fatalf("%s: %T is no ExitError: %v", c.Method, failed, failed)
	}
	if exit != nil {
		code = exit.Code
		if text := exit.Error(); text != "" {
			io.WriteString(stderr, text+"\n")
		}
	}
	return stdout.String(), stderr.String(), code
}

func TestCallPrintsTheResult(t *testing.T) {
	s := daemon(t)
	for _, c := range []struct {
		call *Call
		want string
	}{
		{&Call{Method: "sum", Args: []string{"1", "-3"}}, "-2\n"},
		{&Call{Method: "echo", Args: []string{"9007199254740993"}, JSON: true, Pretty: true}, "9007199254740993\n"},
		{&Call{Method: "echo", Args: []string{`{"$bin":"AAE="}`}}, `{"$bin":"AAE="}` + "\n"},
		{&Call{Method: "echo", Args: []string{`[1,{"a":2}]`}, Pretty: true}, `[1,{"a":2}]` + "\n"},
		{&Call{Method: "echo", Args: []string{`["` + strings.Repeat("x", wide) + `"]`}, Pretty: true}, "[\n  \"" + strings.Repeat("x", wide) + "\"\n]\n"},
		{&Call{Method: "echo", Args: []string{`["` + strings.Repeat("x", wide) + `"]`}}, `["` + strings.Repeat("x", wide) + "\"]\n"},
		{&Call{Method: "sum", Args: []string{"1", "2"}, Notify: true}, ""},
	} {
		out, err, code := call(t, s, c.call)
		if out != c.want || err != "" || code != 0 {
			t.Errorf("%s %v: printed %q and %q, exit code %d; want %q", c.call.Method, c.call.Args, out, err, code, c.want)
		}
	}
	out, err, code := call(t, s, &Call{Method: "player.get", Login: "dev:7"})
	if !strings.Contains(out, `"name":"player7"`) || err != "" || code != 0 {
		t.Errorf("with a login: %q, %q, %d", out, err, code)
	}
}

func TestErrorsAreExplained(t *testing.T) {
	s := daemon(t)
	for _, c := range []struct {
		call       *Call
		text, hint string
	}{
		{&Call{Method: "smu"}, `error: unimplemented: .*"smu"`, `hint: did you mean sum\? gameserverd routes lists all methods`},
		{&Call{Method: "zzzzzzzzzzzz"}, `error: unimplemented:`, `hint: gameserverd routes lists all methods; one that was just written is served after make generate and a restart$`},
		{&Call{Method: "sum", Args: []string{"1", "x"}}, `error: invalid_argument: .*\by\b.*got string`, `hint: the method is sum\(x int, y int\)$`},
		{&Call{Method: "sum", Args: []string{"1", "2.5"}}, `error: invalid_argument: .*got float`, `hint: the method is sum\(x int, y int\)$`},
		{&Call{Method: "room.join", Args: []string{"1"}, Login: "dev:1"}, `error: invalid_argument: .*got integer`, `needs quotes of its own: '"7"'$`},
		{&Call{Method: "player.get"}, `error: unauthenticated:`, `hint: log in first: add --login dev:7`},
		{&Call{Method: "player.get", Login: "7"}, `error: unauthenticated:`, `hint: the token was refused:`},
		{&Call{Method: "room.say", Args: []string{"lobby", "hi"}, Login: "dev:7"}, `error: failed_precondition:`, `hint: something else has to come first`},
		{&Call{Method: "duel.challenge", Args: []string{"8"}, Login: "dev:7"}, `error: failed_precondition:`, `hint: `},
		{&Call{Method: "sum", Args: []string{"9223372036854775807", "1"}}, `error: out_of_range:`, `hint: `},
	} {
		out, err, code := call(t, s, c.call)
		if out != "" || code != ExitFailed || !regexp.MustCompile(`(?m)^`+c.text).MatchString(err) || !regexp.MustCompile(`(?m)^.*`+c.hint).MatchString(err) {
			t.Errorf("%s %v: printed %q, exit code %d and\n%s\nwant %s\n%s", c.call.Method, c.call.Args, out, code, err, c.text, c.hint)
		}
	}
}

// Every code of the protocol has words of its own.
func TestEveryCodeHasAHint(t *testing.T) {
	s := daemon(t)
	hints := map[string]string{}
	for code, again := range map[wire.Code]bool{
		wire.InvalidArgument: false, wire.Unauthenticated: false, wire.PermissionDenied: false, wire.Unimplemented: false,
		wire.NotFound: false, wire.AlreadyExists: false, wire.FailedPrecondition: false, wire.Aborted: false, wire.OutOfRange: false,
		wire.ResourceExhausted: true, wire.DeadlineExceeded: false, wire.Canceled: false, wire.Unavailable: true, wire.Internal: false, "own": false,
	} {
		_, text, exit := call(t, s, &Call{Method: "test.fail", Args: []string{string(code)}, JSON: true})
		var e explained
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatalf("%s: %q: %v", code, text, err)
		}
		if exit != ExitFailed || e.Code != string(code) || e.Message != "as asked" || e.RetryAfter != 1500 || string(e.Data) != `{"trace":"abc"}` {
			t.Errorf("%s: exit code %d, %s", code, exit, text)
		}
		if strings.Contains(e.Hint, "1.5s") != again {
			t.Errorf("%s: the hint is %q", code, e.Hint)
		}
		if other := hints[e.Hint]; e.Hint == "" || other != "" {
			t.Errorf("%s and %s have the same hint %q", code, other, e.Hint)
		}
		hints[e.Hint] = string(code)
	}
	_, text, _ := call(t, s, &Call{Method: "test.fail", Args: []string{"internal"}})
	if want := "error: internal: as asked\ndata: {\"trace\":\"abc\"}\nhint: "; !strings.HasPrefix(text, want) {
		t.Errorf("for people: %q, want %q", text, want)
	}
}

func TestEveryClosingHasAHint(t *testing.T) {
	c := &Call{}
	hints := map[string]string{}
	for _, code := range []string{
		wire.ProtocolError, wire.FrameTooLarge, wire.LoginTimeout, wire.IdleTimeout, wire.SlowConsumer,
		wire.RateLimited, wire.TooManyConnections, wire.Replaced, wire.Kicked, wire.ServerShutdown, "own",
	} {
		hint := c.hintClosing(wire.Closing{Code: code, RetryAfter: time.Second})
		if other := hints[hint]; hint == "" || other != "" {
			t.Errorf("%s and %s have the same hint %q", code, other, hint)
		}
		hints[hint] = code
	}
	if hint := c.hintClosing(wire.Closing{Code: wire.ProtocolError, Message: "this server is spoken to by TLS only"}); hint != "add --tls" {
		t.Errorf("a server of TLS only: %q", hint)
	}
}

func TestNoServer(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.Addr().String()
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct {
		call *Call
		want string
	}{
		{&Call{Addr: addr}, "hint: nothing listens on " + addr + ". Is the daemon running? Start it with: gameserverd serve"},
		{&Call{Addr: "unix:" + t.TempDir() + "/none"}, "Is the daemon running?"},
		{&Call{Addr: "nonsense"}, "hint: is the address right? --addr takes HOST:PORT or unix:/path"},
		{&Call{Addr: silent.Addr().String(), Timeout: 50 * time.Millisecond}, "hint: no answer in time; the call may have run. --timeout (50ms now)"},
	} {
		c.call.Method = "sys.ping"
		out, text, code := call(t, nil, c.call)
		if out != "" || code != ExitFailed || !strings.Contains(text, c.want) {
			t.Errorf("%s: printed %q, exit code %d and\n%s\nwant %s", c.call.Addr, out, code, text, c.want)
		}
	}
}

// Something that is no gameserverd is called by name, not only by symptom.
func TestAnotherServer(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		conn, err := other.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		io.Copy(io.Discard, conn)
	}()
	_, text, code := call(t, nil, &Call{Addr: other.Addr().String(), Method: "sys.ping"})
	if code != ExitFailed || !strings.Contains(text, "is "+other.Addr().String()+" a gameserverd") {
		t.Errorf("exit code %d:\n%s", code, text)
	}
}

func TestBadArgumentsAreUsage(t *testing.T) {
	for _, c := range []*Call{
		{Method: "echo", Args: []string{"1", `{"a`}},
		{Method: "echo", Args: []string{"18446744073709551616"}},
		{Method: "echo", Answer: "[1"},
	} {
		c.Addr = "127.0.0.1:1" // never dialled
		if _, text, code := call(t, nil, c); code != ExitUsage || text == "" {
			t.Errorf("%v %s: exit code %d, %s", c.Args, c.Answer, code, text)
		}
	}
}

// background runs a call that stays connected.
type background struct {
	out, err *terminal
	stop     context.CancelFunc
	ended    chan error
}

func start(t *testing.T, s *server.Server, c *Call) *background {
	ctx, cancel := context.WithCancel(context.Background())
	b := &background{out: newTerminal(), err: newTerminal(), stop: cancel, ended: make(chan error, 1)}
	c.Addr, c.Timeout, c.Out, c.Err = s.Addrs()[0], deadline, b.out, b.err
	go func() { b.ended <- c.Run(ctx) }()
	t.Cleanup(cancel)
	return b
}

func (b *background) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-b.ended:
		return err
	case <-time.After(deadline):
		t.Fatalf("the call did not end; it printed\n%s\n%s", b.out, b.err)
		return nil
	}
}

func TestTwoTerminalsChat(t *testing.T) {
	s := daemon(t)
	listener := start(t, s, &Call{Method: "room.join", Args: []string{"lobby"}, Login: "dev:7", Wait: time.Hour})
	listener.out.until(t, `{"notification":"room.joined","params":["lobby",7]}`)
	keys, typed := io.Pipe()
	talker := start(t, s, &Call{Method: "room.join", Args: []string{"lobby"}, Login: "dev:8", Stdin: keys})
	listener.out.until(t, `{"notification":"room.joined","params":["lobby",8]}`)
	io.WriteString(typed, "room.say lobby \"good morning\"\n\nroom.say nowhere hi\nroom.say {\n")
	listener.out.until(t, `{"notification":"room.said","params":["lobby",8,"good morning",`)
	talker.out.until(t, `"good morning"`)
	talker.err.until(t, "error: failed_precondition:")
	talker.err.until(t, "error: { is not JSON")
	typed.Close()
	var exit *ExitError
	if err := talker.end(t); !errors.As(err, &exit) || exit.Code == 0 {
		t.Errorf("a session with failed calls ended with %v", err)
	}
	listener.out.until(t, `{"notification":"room.left","params":["lobby",8]}`)
	listener.stop() // Ctrl-C
	if err := listener.end(t); err != nil || listener.err.String() != "" {
		t.Errorf("interrupted while waiting: %v, %q", err, listener.err)
	}
}

func TestAnswers(t *testing.T) {
	s := daemon(t)
	willing := start(t, s, &Call{Method: "sys.time", Login: "dev:7", Wait: time.Hour, Answer: "true"})
	deaf := start(t, s, &Call{Method: "sys.time", Login: "dev:8", Wait: time.Hour})
	willing.out.until(t, "\n")
	deaf.out.until(t, "\n")
	if out, text, code := call(t, s, &Call{Method: "duel.challenge", Args: []string{"7"}, Login: "dev:9"}); !strings.Contains(out, `{"accepted":true}`) || code != 0 {
		t.Errorf("a willing player: %q, %q, %d", out, text, code)
	}
	willing.out.until(t, `{"call":"duel.offer","params":[9]}`)
	if _, text, code := call(t, s, &Call{Method: "duel.challenge", Args: []string{"8"}, Login: "dev:9"}); code != ExitFailed ||
		!strings.Contains(text, "error: unimplemented:") || !strings.Contains(text, "hint: the server has duel.challenge, but the client that it asked") {
		t.Errorf("a player who answers nothing: %d\n%s", code, text)
	}
	deaf.out.until(t, `{"call":"duel.offer","params":[9]}`)
	// The newest login wins, and the old terminal says so.
	if _, text, code := call(t, s, &Call{Method: "sys.ping", Login: "dev:7"}); code != 0 {
		t.Fatal(text)
	}
	var exit *ExitError
	if err := willing.end(t); !errors.As(err, &exit) || exit.Code != ExitFailed || !strings.Contains(willing.err.String(), "error: replaced:") {
		t.Errorf("replaced: %v\n%s", err, willing.err)
	}
}

func TestWaitEndsByItself(t *testing.T) {
	s := daemon(t)
	if out, text, code := call(t, s, &Call{Method: "sum", Args: []string{"1", "2"}, Wait: time.Millisecond}); out != "3\n" || text != "" || code != 0 {
		t.Errorf("printed %q, %q, exit code %d", out, text, code)
	}
}

func TestInterruptedCall(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	c := &Call{Method: "sys.ping", Addr: silent.Addr().String(), Timeout: time.Hour, Out: io.Discard, Err: io.Discard}
	go func() { ended <- c.Run(ctx) }()
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	cancel()
	var exit *ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Code != ExitInterrupted {
		t.Errorf("ended with %v", err)
	}
}
