package attack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gameserverd/client"
)

// goodRate is how many calls a second the good client makes on all its connections.
const goodRate = 200

// Times of the good client.
const (
	callTime    = 5 * time.Second // a call that takes longer has failed
	connectTime = 10 * time.Second
	newcomers   = 5 * time.Second // for a new client to get in behind a scenario
	probeTime   = 2 * time.Second
)

// good is the well-behaved client. Any goroutine.
type good struct {
	conns  []*client.Client
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex
	latencies []time.Duration
	failed    int
	first     string // error
}

// newGood connects and logs in, and begins to call.
func newGood(ctx context.Context, a *attack) (*good, error) {
	g := &good{}
	for i := range GoodConnections {
		c, err := a.client(ctx)
		if err == nil {
			g.conns = append(g.conns, c)
			if _, err = c.Login(ctx, a.o.token(i)); err != nil {
				err = &LoginError{err}
			}
		}
		if err != nil {
			g.close()
			return nil, err
		}
	}
	calling, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	for _, c := range g.conns {
		g.tasks.Go(func() { g.call(calling, c) })
	}
	return g, nil
}

// LoginError is the error of a run whose good client was not let in.
type LoginError struct{ err error }

func (e *LoginError) Error() string { return "the good client could not log in: " + e.err.Error() }

// Unwrap gives the client's error.
func (e *LoginError) Unwrap() error { return e.err }

func (a *attack) client(ctx context.Context) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	options := []client.Option{client.WithoutReconnect(), client.WithLogger(slog.New(slog.DiscardHandler))}
	if a.o.TLS != nil {
		options = append(options, client.WithTLS(a.o.TLS))
	}
	addr := a.target
	if a.network == "unix" {
		addr = "unix:" + addr
	}
	return client.Dial(ctx, addr, options...)
}

// call calls sum when that is due. A latency runs from when the call was due if
// the call before it is why it is late, else from its sending: that we woke up late
// is not the daemon's doing.
func (g *good) call(ctx context.Context, c *client.Client) {
	const every = time.Second * GoodConnections / goodRate
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due, n := time.Now(), 0; ; due, n = due.Add(every), n+1 {
		began := due
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			began = time.Now()
		}
		var sum int
		limited, cancel := context.WithTimeout(ctx, callTime)
		err := c.Call(limited, "sum", &sum, n, 1)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil && sum != n+1 {
			err = fmt.Errorf("%d and 1 is %d", n, sum)
		}
		g.note(time.Since(began), err)
	}
}

func (g *good) note(took time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.latencies = append(g.latencies, took)
		return
	}
	if g.failed++; g.failed == 1 {
		g.first = err.Error()
	}
}

// take returns what was noted since the last take.
func (g *good) take() Good {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := summary(g.latencies, g.failed, g.first)
	g.latencies, g.failed, g.first = g.latencies[:0], 0, ""
	return seen
}

// after is take after a while.
func (g *good) after(ctx context.Context, d time.Duration) Good {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return g.take()
}

// peek is take without an end.
func (g *good) peek() Good {
	g.mu.Lock()
	defer g.mu.Unlock()
	return summary(append([]time.Duration(nil), g.latencies...), g.failed, g.first)
}

func (g *good) close() {
	if g.cancel != nil {
		g.cancel()
	}
	for _, c := range g.conns {
		c.Close()
	}
	g.tasks.Wait()
}

// newcomer asks whether a new client gets in, for a while: what is left of the
// attack may be in its way for a moment.
func (a *attack) newcomer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, newcomers)
	defer cancel()
	for {
		err := a.visit(ctx)
		if err == nil {
			return nil
		}
		again := time.NewTimer(100 * time.Millisecond)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return err
		}
	}
}

func (a *attack) visit(ctx context.Context) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var sum int
	if err := c.Call(ctx, "sum", &sum, 1, 2); err != nil {
		return err
	}
	if sum != 3 {
		return errors.New("1 and 2 is not 3")
	}
	return nil
}
