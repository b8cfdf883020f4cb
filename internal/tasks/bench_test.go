package tasks

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
)

// What applying costs the loop beside the row in the group commit.
func BenchmarkWrite(b *testing.B) {
	p := onServers(b, storetest.MariaDB(b), storetest.Redis(b))
	pr := p.begin(0, nil)
	pr.end() // so that nobody but this loop works
	def := pr.define("test.double")
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		task := Make[string](def, strconv.Itoa(i))
		r, o, err := pr.newRow(&task.job, nil)
		if err != nil {
			b.Fatal(err)
		}
		rows := pr.rows(r, o)
		pr.committed(r)
		pr.carrier.waits = pr.carrier.waits[:0] // as the carrier would take it
		_ = rows
	}
}

// What Apply costs more than that: that it is answered in time.
func BenchmarkStoring(b *testing.B) {
	s := storing{timeout: time.Second}
	c := new(commit.Change)
	b.ReportAllocs()
	for b.Loop() {
		receipt := future.New[struct{}]()
		s.add(c, receipt)
		receipt.Resolve(struct{}{})
	}
}

// What it costs to look at a message before asynq has it.
func BenchmarkRefusal(b *testing.B) {
	message := string(foreign(b, map[protoreflect.Name]any{
		"id": "d118248019054851688", "queue": "default", "type": durableType, "payload": make([]byte, 64), "timeout": int64(60), "retry": int32(25),
	}))
	b.ReportAllocs()
	for b.Loop() {
		if err := refusal("default", message); err != nil {
			b.Fatal(err)
		}
	}
}

// benchConcurrency: a durable task waits twice for a commit, so many have to.
const benchConcurrency = 256

// counting is a definition that does nothing but count.
func counting(n *atomic.Int64, ephemeral bool) *Definition {
	return &Definition{Name: "bench.count", Ephemeral: ephemeral, Bind: func([]byte) (func(*Call) ([]byte, error), error) {
		return func(*Call) ([]byte, error) {
			n.Add(1)
			return nil, nil
		}, nil
	}}
}

func (p *place) benchWith(def *Definition) *process {
	return p.begin(benchConcurrency, func(o *Options) { o.Definitions = []*Definition{def} })
}

func done(b *testing.B, n *atomic.Int64, want int) {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for n.Load() < int64(want) {
		<-look.C
	}
	b.ReportMetric(float64(want)/b.Elapsed().Seconds(), "tasks/s")
}

// From the change that is submitted to the row that is gone.
func BenchmarkDurable(b *testing.B) {
	p := onServers(b, storetest.MariaDB(b), storetest.Redis(b))
	var n atomic.Int64
	def := counting(&n, false)
	pr := p.benchWith(def)
	b.ResetTimer()
	room := make(chan struct{}, 5000)
	for range b.N {
		room <- struct{}{}
		task := Make[struct{}](def)
		r, o, err := pr.newRow(&task.job, nil)
		if err != nil {
			b.Fatal(err)
		}
		c := &commit.Change{Home: inline{}, Rows: pr.rows(r, o), Done: func(done commit.Outcome) {
			if done.Err != nil {
				b.Error(done.Err)
			}
			pr.committed(r)
			<-room
		}}
		if err := pr.group.Submit(c); err != nil {
			b.Fatal(err)
		}
	}
	done(b, &pr.counts.done, b.N)
}

func BenchmarkEphemeral(b *testing.B) {
	p := onServers(b, storetest.MariaDB(b), storetest.Redis(b))
	var n atomic.Int64
	def := counting(&n, true)
	pr := p.benchWith(def)
	b.ResetTimer()
	for i := range b.N {
		f := ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](def))
		if i%1000 == 999 {
			wait(b, f)
		}
	}
	done(b, &n, b.N)
}

// asynq by itself, as BenchmarkEphemeral uses it.
func BenchmarkAsynq(b *testing.B) {
	p := onServers(b, storetest.MariaDB(b), storetest.Redis(b))
	pr := p.begin(0, nil)
	var n atomic.Int64
	server := asynq.NewServerFromRedisClient(pr.redis.Client(), asynq.Config{
		Concurrency: benchConcurrency, Queues: map[string]int{"default": 3, "low": 1}, TaskCheckInterval: 150 * time.Millisecond, LogLevel: asynq.ErrorLevel,
	})
	if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { n.Add(1); return nil })); err != nil {
		b.Fatal(err)
	}
	defer server.Shutdown()
	b.ResetTimer()
	tokens := make(chan struct{}, carrierWorkers)
	for range b.N {
		tokens <- struct{}{}
		go func() {
			if _, err := pr.client.Enqueue(asynq.NewTask("x", []byte("12345678"))); err != nil {
				b.Error(err)
			}
			<-tokens
		}()
	}
	done(b, &n, b.N)
}
