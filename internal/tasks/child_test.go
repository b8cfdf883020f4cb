package tasks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// childEnv makes this test binary a worker process, which tests kill: JSON of childOptions.
const childEnv = "TASKS_CHILD"

type childOptions struct {
	DSN, Redis  string
	Lease, Lost time.Duration
	Concurrency int
	Ticks       bool // it has a schedule, of test.tick each second
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := beChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set(strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))) // they wait more than they work
	}
	storetest.Main(m)
}

// beChild runs tasks until standard input ends, or somebody kills it.
func beChild(text string) error {
	var o childOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	sql, err := store.OpenSQL(store.SQLOptions{Driver: store.MySQL, DSN: o.DSN, Timeout: 2 * time.Second})
	if err != nil {
		return err
	}
	redis, err := store.OpenRedis(store.RedisOptions{URL: o.Redis, Timeout: 2 * time.Second, PoolSize: 50})
	if err != nil {
		return err
	}
	log := zap.NewNop()
	if os.Getenv("TASKS_LOG") != "" {
		log, _ = zap.NewDevelopment()
	}
	var schedules []Schedule
	if o.Ticks {
		when, err := ParseWhen("@every 1s", "UTC")
		if err != nil {
			return err
		}
		schedule, err := Scheduled(effects(), "test.tick", when)
		if err != nil {
			return err
		}
		schedules = append(schedules, schedule)
	}
	t, err := New(Options{
		Schedules: schedules, SQL: sql, Group: commit.New(commit.Options{DB: sql, Log: log}), Redis: redis, Definitions: effects(), Queues: map[string]int{"default": 3, "low": 1},
		Concurrency: o.Concurrency, CatchUp: time.Hour, Lease: o.Lease, Lost: o.Lost,
		Parts: &Parts{SQL: sql, Log: log, Clock: time.Now}, Log: log, Clock: time.Now,
	})
	if err == nil {
		err = t.Start()
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	drain, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	t.Drain(drain)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = t.Close(ctx) // a store that is away may hold it
	return nil
}

// The tables of what the tasks of child processes do: what took effect, by key, and
// which runs began.
const (
	createEffects = `CREATE TABLE effects (id VARBINARY(200) NOT NULL PRIMARY KEY)`
	createBegun   = `CREATE TABLE begun (n BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, id VARBINARY(200) NOT NULL, pid BIGINT NOT NULL)`
	insertEffect  = `INSERT IGNORE INTO effects (id) VALUES (?)`
	insertBegun   = `INSERT INTO begun (id, pid) VALUES (?, ?)`
	countEffect   = `SELECT COUNT(*) FROM effects WHERE id = ?`
	countBegun    = `SELECT COUNT(*) FROM begun WHERE id = ?`
	countOpen     = `SELECT COUNT(*) FROM tasks WHERE state IN (0, 1) AND name <> 'test.tick'`
	countTicks    = `SELECT COUNT(*) FROM tasks_ticks WHERE id <> 0`
	countTicked   = `SELECT COUNT(*) FROM effects JOIN tasks_ticks t ON effects.id = CONCAT('tick ', t.tick_ms, ' by ', t.id)`
	countTickings = `SELECT COUNT(*) FROM effects WHERE id LIKE 'tick %'`
)

// effects are the tasks of child processes. Their effects are rows, of which an
// idempotent key makes one of however many runs.
func effects() []*Definition {
	one := func(name string, ephemeral bool, fn func(c *Call, s string) error) *Definition {
		return &Definition{Name: name, Params: []string{"s string"}, Retries: 2, Ephemeral: ephemeral,
			Bind: func(args []byte) (func(*Call) ([]byte, error), error) {
				var s string
				if err := Decode(name, args, Arg{"s", &s}); err != nil {
					return nil, err
				}
				return func(c *Call) ([]byte, error) { return nil, fn(c, s) }, nil
			}}
	}
	list := []*Definition{
		one("test.effect", false, func(c *Call, s string) error {
			n, _ := strconv.Atoi(s)
			work := time.NewTimer(time.Duration(n) * time.Millisecond)
			defer work.Stop()
			select {
			case <-work.C:
			case <-c.Done():
				return c.Err()
			}
			_, err := c.SQL.ExecContext(c, insertEffect, c.Key())
			return err
		}),
		one("test.hopeless", false, func(c *Call, s string) error { return errors.New("as always") }),
		one("test.hang", true, func(c *Call, s string) error {
			if _, err := c.SQL.ExecContext(c, insertBegun, s, int64(os.Getpid())); err != nil {
				return err
			}
			<-c.Done()
			return c.Err()
		}),
	}
	list = append(list, &Definition{Name: "test.tick", Params: []string{"ms int64"}, Retries: 50, Bind: func(args []byte) (func(*Call) ([]byte, error), error) {
		var ms int64
		if err := Decode("test.tick", args, Arg{"ms", &ms}); err != nil {
			return nil, err
		}
		return func(c *Call) ([]byte, error) {
			_, err := c.SQL.ExecContext(c, insertEffect, fmt.Sprintf("tick %d by %s", ms, c.ID))
			return nil, err
		}, nil
	}})
	return append(list, one("test.parent", false, func(c *Call, s string) error {
		// A second run applies nothing: the first has, or its row's key is not there.
		r, err := Apply(c.Tasks, Make[struct{}](c.Tasks.define("test.effect"), s), Unique(c.Key(), time.Hour))
		if err != nil {
			return err
		}
		_, err = r.Stored().Wait(c)
		var refused *wire.Error
		if err != nil && !(errors.As(err, &refused) && refused.Code == wire.AlreadyExists) {
			return err
		}
		_, err = c.SQL.ExecContext(c, insertEffect, c.Key())
		return err
	}))
}

// child is a worker process.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
	asked bool // to end by itself
}

// startChild starts one, and returns when it takes tasks.
func startChild(t testing.TB, o childOptions) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text), "GORACE=atexit_sleep_ms=0 halt_on_error=1")
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := storetest.StartChild(c.cmd); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the worker process says %q: %v", line, err)
	}
	go func() {
		_ = c.cmd.Wait() // killed
		close(c.ended)
	}()
	t.Cleanup(c.kill)
	return c
}

// kill is kill -9. One that has ended by itself has failed.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && !status.Signaled() && !c.asked {
		c.t.Errorf("a worker process ended by itself: %v", c.cmd.ProcessState)
	}
}

// end lets it drain: what it has is handed back.
func (c *child) end() {
	c.asked = true
	c.stdin.Close()
	<-c.ended
}

func (c *child) signal(s syscall.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Error(err)
	}
}

// count runs a query for one number.
func (p *place) count(sql *store.SQL, query string, args ...any) (n int64) {
	p.t.Helper()
	row, err := sql.FetchOneContext(limited(p.t), query, args...)
	if err == nil {
		err = row.Scan(&n)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// withEffects makes the tables of effects.
func (p *place) withEffects() *place {
	p.t.Helper()
	sql := p.openSQL()
	for _, query := range []string{createEffects, createBegun} {
		if _, err := sql.ExecContext(limited(p.t), query); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := sql.Close(limited(p.t)); err != nil {
		p.t.Fatal(err)
	}
	return p
}
