package dashboards

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/future"
	"gameserverd/internal/handlers"
	"gameserverd/internal/rpc"
	"gameserverd/internal/server"
	"gameserverd/internal/storetest"
	"gameserverd/internal/tasks"
	"gameserverd/internal/tlstest"
	"gameserverd/wire"
)

// daemon is one that runs in this process, with methods and tasks that make trouble.
type daemon struct {
	*server.Server
	t     testing.TB
	cfg   *config.Config
	roots *tls.Config // nil: without TLS

	reread atomic.Pointer[func() (*config.Config, error)]
	never  *future.Future[struct{}] // what test.never waits for
	let    chan struct{}            // closed, it lets the task test.wait end
	ended  chan struct{}
	report server.Report
	err    error
}

func startDaemon(t testing.TB, cfg *config.Config, roots *tls.Config) *daemon {
	t.Helper()
	d := &daemon{t: t, cfg: cfg, roots: roots, never: future.New[struct{}](), let: make(chan struct{}), ended: make(chan struct{})}
	var err error
	nowhere := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zapcore.InfoLevel)
	d.Server, err = server.NewWith(cfg, zap.New(nowhere), server.Options{
		Areas: d.methods, Tasks: d.tasks(), Version: "test", Load: func() (*config.Config, error) { return (*d.reread.Load())() },
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		d.report, d.err = d.Run()
		close(d.ended)
	}()
	t.Cleanup(func() {
		select {
		case <-d.let:
		default:
			close(d.let)
		}
		d.Shutdown("the test is over")
		d.awaitEnd()
	})
	eventually(t, "the daemon is ready", func() bool { ok, _ := d.Ready(); return ok })
	return d
}

// awaitEnd waits until the drain is over.
func (d *daemon) awaitEnd() {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		d.t.Fatal("the drain never ends")
	}
	if d.err != nil {
		d.t.Error(d.err)
	}
}

// reload makes change to the configuration and has it read again.
func (d *daemon) reload(change func(c *config.Config) error) error {
	load := func() (*config.Config, error) {
		c := *d.cfg
		return &c, change(&c)
	}
	d.reread.Store(&load)
	_, _, err := d.Reread("the test says so")
	return err
}

// methods are what players must not have: they fail, panic, and hold their loop.
func (d *daemon) methods(p *handlers.Parts) []rpc.Method {
	sync := func(name string, fn func(c *rpc.Call, a *rpc.Args) error, params ...rpc.Param) rpc.Method {
		return rpc.Method{Name: name, Params: params, Sync: func(c *rpc.Call, a *rpc.Args, out []byte) ([]byte, error) {
			return wire.AppendNil(out), fn(c, a)
		}}
	}
	ms := rpc.Param{Name: "ms"}
	slow := func(name string, concurrent bool) rpc.Method {
		return rpc.Method{Name: name, Params: []rpc.Param{ms}, Concurrent: concurrent, Blocking: func(_ *rpc.Call, a *rpc.Args) (func([]byte) ([]byte, error), error) {
			n, err := a.Int64("ms")
			return func(out []byte) ([]byte, error) {
				<-time.After(time.Duration(n) * time.Millisecond)
				return wire.AppendNil(out), nil
			}, err
		}}
	}
	return []rpc.Method{
		sync("test.fail", func(*rpc.Call, *rpc.Args) error { return errors.New("it fails") }),
		sync("test.panic", func(*rpc.Call, *rpc.Args) error { panic("a test") }),
		sync("test.hold", func(_ *rpc.Call, a *rpc.Args) error {
			n, err := a.Int64("ms")
			<-time.After(time.Duration(n) * time.Millisecond)
			return err
		}, ms),
		sync("test.flood", func(c *rpc.Call, a *rpc.Args) error {
			uid, err := a.Uint64("uid")
			if err != nil {
				return err
			}
			return p.Peers.Notify(uid, "test.flooded", make([]byte, 128<<10))
		}, rpc.Param{Name: "uid"}),
		sync("test.apply", func(_ *rpc.Call, a *rpc.Args) error {
			name, err := a.String("name")
			if err != nil {
				return err
			}
			_, err = tasks.Apply(p.Tasks, tasks.Make[struct{}](d.task(name)))
			return err
		}, rpc.Param{Name: "name"}),
		{Name: "test.never", Async: func(*rpc.Call, *rpc.Args) (rpc.Pending, error) {
			return rpc.Await(d.never, func(out []byte, _ struct{}) ([]byte, error) { return wire.AppendNil(out), nil }), nil
		}},
		slow("test.slow", true), slow("test.inorder", false),
	}
}

// tasks are one that ends, one that is tried again, one that is given up, and one
// that waits.
func (d *daemon) tasks() []*tasks.Definition {
	def := func(name string, retries int, fn func(*tasks.Call) error) *tasks.Definition {
		return &tasks.Definition{Name: name, Retries: retries, Bind: func(args []byte) (func(*tasks.Call) ([]byte, error), error) {
			return func(c *tasks.Call) ([]byte, error) { return nil, fn(c) }, tasks.Decode(name, args)
		}}
	}
	return []*tasks.Definition{
		def("test.done", 0, func(*tasks.Call) error { return nil }),
		def("test.flaky", 5, func(*tasks.Call) error { return errors.New("not yet") }),
		def("test.broken", 0, func(*tasks.Call) error { return errors.New("never") }),
		def("test.wait", 0, func(c *tasks.Call) error {
			select {
			case <-d.let:
				return nil
			case <-c.Done():
				return c.Err()
			}
		}),
	}
}

func (d *daemon) task(name string) *tasks.Definition {
	for _, def := range d.tasks() {
		if def.Name == name {
			return def
		}
	}
	panic("there is no task " + name)
}

// login connects a player, who goes with the test.
func (d *daemon) login(ctx context.Context, uid uint64, o ...client.Option) *client.Client {
	d.t.Helper()
	if d.roots != nil {
		o = append(o, client.WithTLS(d.roots))
	}
	c, err := client.Dial(ctx, d.Addrs()[0], o...)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	if _, err := c.Login(ctx, fmt.Sprint("dev:", uid)); err != nil {
		d.t.Fatal(err)
	}
	return c
}

// raw is a client that does as it likes.
type raw struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (d *daemon) raw() *raw {
	d.t.Helper()
	c, err := net.Dial("tcp", d.Addrs()[0])
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		d.t.Fatal(err)
	}
	return &raw{c, d.t, bufio.NewReader(c)}
}

// send sends a message as a frame, as far as the server takes it.
func (c *raw) send(message []byte, params ...any) {
	c.t.Helper()
	for _, p := range params {
		var err error
		if message, err = wire.AppendAny(message, p); err != nil {
			c.t.Fatal(err)
		}
	}
	wire.EndFrame(message, 0)
	_, _ = c.Write(message) // an end is seen by who reads
}

func (c *raw) request(id uint32, method string, params ...any) {
	c.t.Helper()
	c.send(wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), id, method), len(params)), params...)
}

// child is a daemon of its own process.
type child struct {
	t     testing.TB
	admin string // its address
	env   []string
	cmd   *exec.Cmd
}

// startChild starts one that pushes; it can be ended and started again.
func startChild(t testing.TB, admin, push string, from *tlstest.Authority) *child {
	t.Helper()
	c := &child{t: t, admin: admin, env: append(os.Environ(), childEnv+"="+t.TempDir(), adminEnv+"="+admin, pushEnv+"="+push, certEnv+"="+from.CertFile, keyEnv+"="+from.KeyFile)}
	c.start()
	t.Cleanup(c.end)
	return c
}

func (c *child) start() {
	c.t.Helper()
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env, c.cmd.Stderr = c.env, os.Stderr
	if err := storetest.StartChild(c.cmd); err != nil {
		c.t.Fatal(err)
	}
}

// end lets it drain.
func (c *child) end() {
	c.t.Helper()
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended, and Wait says how
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the daemon of its own: %v", err)
	}
	c.cmd = nil
}

// value is the sum of a metric's series as the daemon says itself, a tenth of a second
// old at most.
func (d *daemon) value(metric string) (sum float64) {
	d.t.Helper()
	response, err := http.Get("http://" + d.AdminAddr() + "/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		series, text, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil && (series == metric || strings.HasPrefix(series, metric+"{")) {
			sum += v
		}
	}
	return sum
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	over := time.After(40 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never: %s", what)
		}
	}
}
