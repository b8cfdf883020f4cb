package tasks

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Depth is how much waits in a queue of Redis.
type Depth struct {
	Queue  string        `json:"queue"`
	Waits  int           `json:"waits"`  // beyond a thousand an estimate
	Active int           `json:"active"` // that run, on all processes
	Later  int           `json:"later"`  // that asynq has for later; what is due within a minute waits in the process that applied it
	Oldest time.Duration `json:"oldest"` // how long the first has waited

	headMS int64 // when the first was put there; 0: nothing waits
}

const (
	depthEvery  = 5 * time.Second        // Redis and SQL are asked no more often
	depthTime   = 500 * time.Millisecond // they may take so long to answer
	depthKept   = 10 * time.Second       // an answer is shown while no other comes
	depthSample = 500                    // carriers at each end of a queue whose tasks are counted
)

// countRunning counts what runs, by tasks_look: no more rows than the workers have slots.
const countRunning = `SELECT queue, COUNT(*) FROM tasks WHERE state = 1 GROUP BY queue`

// depthsCache is what Depths has answered last.
type depthsCache struct {
	mu     sync.Mutex // guards what follows
	depths []Depth
	known  time.Time     // when Redis has told depths
	asked  time.Time     // when an answer has come last, or none in time
	under  chan struct{} // closed when that is so of a question; nil: nobody asks
}

// Depths are the queues as Redis has them, with the ephemeral tasks: of a queue in which
// nothing ever was zeros. It waits for them until ctx ends, half a second at most, and
// asks every five seconds at most. nil means that they are not known: Redis has not told
// them for ten seconds. Durable tasks that run are missing if SQL does not. The caller
// does not change what it gets. Any goroutine but a loop's.
func (t *Tasks) Depths(ctx context.Context) []Depth {
	ctx, cancel := context.WithTimeout(ctx, depthTime)
	defer cancel()
	c := &t.depths
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under == nil && time.Since(c.asked) >= depthEvery {
		c.under = make(chan struct{})
		go t.refreshDepths()
	}
	if over := c.under; over != nil {
		c.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
	if time.Since(c.known) > depthKept {
		return nil
	}
	return c.depths
}

// refreshDepths asks for Depths.
func (t *Tasks) refreshDepths() {
	ctx, cancel := context.WithTimeout(t.ctx, depthTime)
	defer cancel()
	depths, err := t.askDepths(ctx)
	if err != nil {
		t.o.Log.Debug("how many tasks wait is not known", zap.Error(err))
	} else if err := t.addRunning(ctx, depths); err != nil {
		t.o.Log.Debug("how many durable tasks run is not known", zap.Error(err))
	}
	c := &t.depths
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Now()
	if depths != nil {
		c.depths, c.known = depths, c.asked
	}
	close(c.under)
	c.under = nil
}

// askDepths asks Redis: one pipeline, and another if something waits.
func (t *Tasks) askDepths(ctx context.Context) ([]Depth, error) {
	type asked struct {
		waits, scheduled, retry *redis.IntCmd
		last, first, active     *redis.StringSliceCmd
		since                   *redis.StringCmd
	}
	list := make([]Depth, 0, len(t.o.Queues))
	answers := make([]asked, 0, len(t.o.Queues))
	client := t.o.Redis.Client()
	pipe := client.Pipeline()
	for queue := range t.o.Queues {
		list = append(list, Depth{Queue: queue})
		pending := asynqKey(queue, "pending")
		answers = append(answers, asked{
			waits: pipe.LLen(ctx, pending), last: pipe.LRange(ctx, pending, 0, depthSample-1), first: pipe.LRange(ctx, pending, -depthSample, -1),
			active: pipe.LRange(ctx, asynqKey(queue, "active"), 0, 2*depthSample), scheduled: pipe.ZCard(ctx, asynqKey(queue, "scheduled")), retry: pipe.ZCard(ctx, asynqKey(queue, "retry")),
		})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	pipe = client.Pipeline()
	for i := range list {
		d, a := &list[i], &answers[i]
		d.Waits = countWaits(int(a.waits.Val()), a.last.Val(), a.first.Val())
		d.Later = int(a.scheduled.Val() + a.retry.Val())
		for _, id := range a.active.Val() {
			if strings.HasPrefix(id, ephemeralPrefix) {
				d.Active++ // what durable ones run, SQL says
			}
		}
		if n := len(a.first.Val()); n > 0 {
			a.since = pipe.HGet(ctx, asynqKey(d.Queue, "t:"+a.first.Val()[n-1]), "pending_since")
		}
	}
	if pipe.Len() == 0 {
		return list, nil
	}
	if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil { // Nil: it was taken meanwhile
		return nil, err
	}
	for i := range list {
		if answers[i].since == nil {
			continue
		}
		if ns, err := strconv.ParseInt(answers[i].since.Val(), 10, 64); err == nil {
			list[i].headMS = ns / int64(time.Millisecond)
			list[i].Oldest = max(0, time.Since(time.Unix(0, ns)))
		}
	}
	return list, nil
}

// countWaits is how many tasks n carriers have, of which these are the last and the
// first: exactly, if they are all.
func countWaits(n int, last, first []string) int {
	tasks := 0
	for _, id := range last {
		tasks += carries(id)
	}
	if n <= len(last) {
		return tasks
	}
	some := len(last) + len(first)
	first = first[max(0, some-n):] // those that are not among the last
	for _, id := range first {
		tasks += carries(id)
	}
	if some = len(last) + len(first); n <= some {
		return tasks
	}
	return int(float64(n) * float64(tasks) / float64(some))
}

// addRunning adds the durable tasks that run.
func (t *Tasks) addRunning(ctx context.Context, list []Depth) error {
	rows, err := t.o.SQL.FetchAllContext(ctx, countRunning)
	if err != nil {
		return err
	}
	for _, found := range rows {
		var queue string
		var n int64
		if err := found.Scan(&queue, &n); err != nil {
			return err
		}
		for i := range list {
			if list[i].Queue == queue {
				list[i].Active += int(n)
			}
		}
	}
	return nil
}

// LogDepths writes a line for each queue in which something is, unless Redis takes
// longer than ctx to tell. Any goroutine but a loop's.
func (t *Tasks) LogDepths(ctx context.Context, log *zap.Logger) {
	depths := t.Depths(ctx)
	if depths == nil {
		log.Info("how many tasks wait is not known: redis does not answer in time")
	}
	for _, d := range depths {
		if d.Waits+d.Active+d.Later > 0 {
			log.Info("tasks wait", zap.String("queue", d.Queue), zap.Int("waiting", d.Waits), zap.Int("active", d.Active), zap.Int("later", d.Later), zap.Duration("oldest", d.Oldest))
		}
	}
}
