// Tasks measures internal/tasks from outside a daemon, and fills databases for the measurements of one.
//
//	tasks -sqlite FILE | -mysql DSN  -redis embedded | URL  durable|ephemeral|asynq [-n 50000] [-concurrency 256]
//	tasks -mysql DSN -redis URL  backlog [-n 1000000]
//	tasks -mysql DSN  players [-n 1000000]
//
// durable applies tasks that do nothing, as fast as the group commit takes them, and waits until all have run and their
// rows are gone; ephemeral does it with ephemeral ones, and asynq with asynq alone, on the same Redis: the limit of
// ephemeral. backlog applies durable tasks that nobody runs, and players fills a database that a daemon has made with
// players who were seen today. Results are JSON, one value a line; progress goes to standard error.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/store"
	"gameserverd/internal/store/embedded"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/tasks"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("tasks: ")
	file := flag.String("sqlite", "", "file of an SQLite database")
	dsn := flag.String("mysql", "", "DSN of a MySQL or MariaDB database")
	redis := flag.String("redis", "embedded", "URL of a Redis server, or embedded")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "tasks -sqlite FILE | -mysql DSN [-redis URL]  durable|ephemeral|asynq|backlog|players [flags]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if (*file == "") == (*dsn == "") || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	var err error
	switch what, args := flag.Arg(0), flag.Args()[1:]; what {
	case "players":
		err = fill(*dsn, args)
	case "durable", "ephemeral", "asynq", "backlog":
		err = measure(what, *file, *dsn, *redis, args)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// process is what a daemon has of tasks.
type process struct {
	sql      *store.SQL
	group    *commit.Group
	redis    *store.Redis
	embedded *embedded.Server // nil: a server
	tasks    *tasks.Tasks
	ran      atomic.Int64
	def      *tasks.Definition
	asynqs   *asynq.Server // of asynq alone
}

const timeout = 10 * time.Second

func open(file, dsn, redis string, concurrency int, ephemeral bool) (p *process, err error) {
	p = &process{}
	driver, where := store.Driver("sqlite"), file
	if dsn != "" {
		driver, where = "mysql", dsn
	}
	if p.sql, err = store.OpenSQL(store.SQLOptions{Driver: driver, DSN: where, MaxOpen: 16, MaxIdle: 16, Queue: 20_000, Timeout: timeout}); err != nil {
		return nil, err
	}
	if _, err := schema.Up(context.Background(), p.sql, zap.NewNop()); err != nil {
		return nil, err
	}
	p.group = commit.New(commit.Options{DB: p.sql, BatchRows: 500, Queue: 20_000, Timeout: timeout, Log: zap.NewNop()})
	o := store.RedisOptions{URL: redis, PoolSize: 500, Timeout: timeout}
	if redis == "embedded" {
		if p.embedded, err = embedded.Start(embedded.Options{Clock: time.Now, Log: zap.NewNop()}); err != nil {
			return nil, err
		}
		o.Dial = func(ctx context.Context) (net.Conn, error) { return p.embedded.Dial(ctx) }
	}
	if p.redis, err = store.OpenRedis(o); err != nil {
		return nil, err
	}
	p.def = &tasks.Definition{Name: "bench.count", Ephemeral: ephemeral, Bind: func([]byte) (func(*tasks.Call) ([]byte, error), error) {
		return func(*tasks.Call) ([]byte, error) {
			p.ran.Add(1)
			return nil, nil
		}, nil
	}}
	p.tasks, err = tasks.New(tasks.Options{
		SQL: p.sql, Group: p.group, Redis: p.redis, Definitions: []*tasks.Definition{p.def}, Queues: map[string]int{"default": 1}, Concurrency: concurrency,
		Parts: &tasks.Parts{SQL: p.sql, Log: zap.NewNop(), Clock: time.Now}, Log: zap.NewNop(), Clock: time.Now,
	})
	return p, err
}

func (p *process) close() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if p.asynqs != nil {
		p.asynqs.Shutdown()
	}
	_ = p.tasks.Close(ctx) // the process ends next
	_ = p.group.Close(ctx)
	_ = p.redis.Close(ctx)
	_ = p.sql.Close(ctx)
}

func measure(what, file, dsn, redis string, args []string) error {
	flags := flag.NewFlagSet(what, flag.ExitOnError)
	n := flags.Int64("n", 50_000, "how many tasks")
	concurrency := flags.Int("concurrency", 256, "how many run at once")
	flags.Parse(args)
	workers := *concurrency
	if what == "asynq" || what == "backlog" {
		workers = 0
	}
	p, err := open(file, dsn, redis, workers, what == "ephemeral")
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.tasks.Start(); err != nil {
		return err
	}
	if what == "backlog" {
		return p.apply(*n, func() int64 { return p.tasks.Counters().Handed })
	}
	apply := map[string]func(int64) error{"durable": p.durable, "ephemeral": p.ephemeral, "asynq": p.asynq(*concurrency)}[what]
	if err := apply(*n / 10); err != nil { // connections, prepared statements
		return err
	}
	began := time.Now()
	if err := apply(*n); err != nil {
		return err
	}
	fmt.Printf("{\n  \"tasks_per_second\": %.1f\n}\n", float64(*n)/time.Since(began).Seconds())
	return nil
}

// inline runs a callback where the result is known.
type inline struct{}

func (inline) AddCallback(fn func()) bool { fn(); return true }

// waiting is how many durable tasks wait for their commit at most.
const waiting = 5000

// durable returns when n tasks have run and their rows are gone.
func (p *process) durable(n int64) error {
	before := p.tasks.Counters().Done
	return p.apply(n, func() int64 { return p.tasks.Counters().Done - before })
}

// apply applies n durable tasks and waits for the count of them.
func (p *process) apply(n int64, count func() int64) error {
	room := make(chan struct{}, waiting)
	failed := make(chan error, 1)
	for range n {
		select {
		case room <- struct{}{}:
		case err := <-failed:
			return err
		}
		receipt, err := tasks.Apply(p.tasks, tasks.Make[struct{}](p.def))
		if err != nil {
			return err
		}
		receipt.Stored().Then(inline{}, func(_ struct{}, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
			<-room
		})
	}
	return until("done", n, count)
}

// together is how many ephemeral tasks are handed over before one is waited for: redis
// takes no more than some thousands at once.
const together = 5000

func (p *process) ephemeral(n int64) error {
	before := p.ran.Load()
	var last *future.Future[tasks.ID]
	for i := range n {
		last = tasks.ApplyEphemeral(p.tasks, tasks.MakeEphemeral[struct{}](p.def))
		if i%together == together-1 {
			if _, err := last.Wait(context.Background()); err != nil {
				return err
			}
		}
	}
	return until("run", n, func() int64 { return p.ran.Load() - before })
}

// enqueuers are how many goroutines hand tasks to asynq, as in internal/tasks.
const enqueuers = 4

func (p *process) asynq(concurrency int) func(int64) error {
	client := asynq.NewClientFromRedisClient(p.redis.Client())
	server := asynq.NewServerFromRedisClient(p.redis.Client(), asynq.Config{
		Concurrency: concurrency, TaskCheckInterval: 150 * time.Millisecond, LogLevel: asynq.ErrorLevel,
	})
	return func(n int64) error {
		if p.asynqs == nil {
			p.asynqs = server
			if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { p.ran.Add(1); return nil })); err != nil {
				return err
			}
		}
		before := p.ran.Load()
		left := atomic.Int64{}
		left.Store(n)
		failed := make(chan error, enqueuers)
		for range enqueuers {
			go func() {
				for left.Add(-1) >= 0 {
					if _, err := client.Enqueue(asynq.NewTask("bench.count", make([]byte, 8))); err != nil {
						failed <- err
						return
					}
				}
				failed <- nil
			}()
		}
		for range enqueuers {
			if err := <-failed; err != nil {
				return err
			}
		}
		return until("run", n, func() int64 { return p.ran.Load() - before })
	}
}

// stall is how long nothing may happen.
const stall = time.Minute

// until waits for a count to come to n.
func until(what string, n int64, count func() int64) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	said, last, moved := time.Now(), int64(0), time.Now()
	for {
		now := count()
		switch {
		case now >= n:
			return nil
		case now > last:
			last, moved = now, time.Now()
		case time.Since(moved) > stall:
			return fmt.Errorf("%d of %d %s, and none in the last %v", now, n, what, stall)
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			fmt.Fprintf(os.Stderr, "tasks: %d of %d %s\n", now, n, what)
		}
		<-look.C
	}
}
