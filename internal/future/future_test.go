package future_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gameserverd/internal/future"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for what must happen.
const deadline = 60 * time.Second

// queue is a Poster that runs what it was given when the test says so.
type queue struct {
	mu     sync.Mutex
	fns    []func()
	closed bool
}

func (q *queue) AddCallback(fn func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.fns = append(q.fns, fn)
	}
	return !q.closed
}

// run runs what is queued, and what that queues, and returns how many ran.
func (q *queue) run() (ran int) {
	for {
		q.mu.Lock()
		fns := q.fns
		q.fns = nil
		q.mu.Unlock()
		if len(fns) == 0 {
			return ran
		}
		for _, fn := range fns {
			fn()
			ran++
		}
	}
}

var errBoom = errors.New("boom")

func TestFutureFirstResultWins(t *testing.T) {
	f := future.New[int]()
	if _, _, done := f.Result(); done || f.Done() {
		t.Error("done at first")
	}
	if !f.Resolve(1) {
		t.Error("the first Resolve returned false")
	}
	if f.Resolve(2) || f.Fail(errBoom) {
		t.Error("a later one returned true")
	}
	if v, err, done := f.Result(); v != 1 || err != nil || !done || !f.Done() {
		t.Errorf("%d, %v, %v", v, err, done)
	}
	g := future.New[int]()
	if !g.Fail(errBoom) || g.Resolve(1) || g.Fail(nil) {
		t.Error("Fail and what follows")
	}
	if v, err, done := g.Result(); v != 0 || err != errBoom || !done {
		t.Errorf("%d, %v, %v", v, err, done)
	}
}

func TestFutureResolvedAndFailedAreDone(t *testing.T) {
	if v, err, done := future.Resolved("x").Result(); v != "x" || err != nil || !done {
		t.Errorf("%q, %v, %v", v, err, done)
	}
	if _, err, done := future.Failed[int](errBoom).Result(); err != errBoom || !done {
		t.Errorf("%v, %v", err, done)
	}
	if future.Resolved(1).Resolve(2) || future.Failed[int](errBoom).Resolve(2) {
		t.Error("resolved again")
	}
}

func TestFutureFailWithoutErrorStillFails(t *testing.T) {
	f := future.New[int]()
	f.Fail(nil)
	if _, err, _ := f.Result(); err == nil {
		t.Error("Fail(nil) is a success")
	}
	if _, err, _ := future.Failed[int](nil).Result(); err == nil {
		t.Error("Failed(nil) is a success")
	}
}

func TestFutureThenIsPostedAndNeverInline(t *testing.T) {
	for name, f := range map[string]*future.Future[int]{"done": future.Resolved(3), "not done": future.New[int]()} {
		var q queue
		ran := 0
		f.Then(&q, func(v int, err error) {
			if v != 3 || err != nil {
				t.Errorf("%s: %d, %v", name, v, err)
			}
			ran++
		})
		f.Resolve(3)
		if ran != 0 {
			t.Errorf("%s: ran inline", name)
		}
		q.run()
		q.run()
		if ran != 1 {
			t.Errorf("%s: ran %d times", name, ran)
		}
	}
}

func TestFutureThenRunsInOrderOfThenCalls(t *testing.T) {
	var q queue
	f := future.New[int]()
	var got []int
	then := func(i int) { f.Then(&q, func(int, error) { got = append(got, i) }) }
	then(0)
	then(1)
	f.Resolve(0)
	then(2)
	q.run()
	then(3)
	q.run()
	if !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("order %v", got)
	}
}

// intruder attaches a continuation while the resolver is posting those that came before.
type intruder struct {
	queue
	then func()
}

func (p *intruder) AddCallback(fn func()) bool {
	if then := p.then; then != nil {
		p.then = nil
		then()
	}
	return p.queue.AddCallback(fn)
}

func TestFutureThenDuringResolveKeepsTheOrder(t *testing.T) {
	f := future.New[int]()
	var got []int
	var p intruder
	then := func(i int) { f.Then(&p, func(int, error) { got = append(got, i) }) }
	p.then = func() {
		if !f.Done() {
			t.Error("not done while it is posted")
		}
		then(2)
	}
	hook := p.then
	p.then = nil
	then(0)
	then(1)
	p.then = hook
	f.Resolve(0)
	p.run()
	if !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("order %v", got)
	}
}

func TestFutureThenIsDroppedByAClosedPoster(t *testing.T) {
	closed := &queue{closed: true}
	var open queue
	f := future.New[int]()
	f.Then(closed, func(int, error) { t.Error("ran") })
	ran := false
	f.Then(&open, func(int, error) { ran = true })
	f.Resolve(1)
	f.Then(closed, func(int, error) { t.Error("ran") })
	open.run()
	if !ran {
		t.Error("the one after it did not run")
	}
	for name, d := range map[string]*future.Future[int]{
		"Map":   future.Map(f, closed, func(int) (int, error) { t.Error("ran"); return 0, nil }),
		"Chain": future.Chain(f, closed, func(int) (*future.Future[int], error) { t.Error("ran"); return f, nil }),
	} {
		if _, err, _ := d.Result(); !errors.Is(err, future.ErrDropped) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The Poster closes while the second future is awaited.
	var q queue
	late := future.New[int]()
	d := future.Chain(f, &q, func(int) (*future.Future[int], error) { return late, nil })
	q.run()
	q.closed = true
	late.Resolve(1)
	if _, err, _ := d.Result(); !errors.Is(err, future.ErrDropped) {
		t.Errorf("Chain: %v", err)
	}
}

func TestFutureWait(t *testing.T) {
	f := future.New[int]()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if v, err := f.Wait(ctx); v != 9 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	f.Resolve(9)
	group.Wait()
	if v, err := f.Wait(ctx); v != 9 || err != nil {
		t.Errorf("done already: %d, %v", v, err)
	}
	if _, err := future.Failed[int](errBoom).Wait(ctx); err != errBoom {
		t.Errorf("failed: %v", err)
	}
}

func TestMapPassesResultsAndErrors(t *testing.T) {
	var q queue
	double := func(v int) (string, error) {
		if v < 0 {
			return "", errBoom
		}
		return strings.Repeat("x", v), nil
	}
	f := future.New[int]()
	m := future.Map(f, &q, double)
	f.Resolve(3)
	if m.Done() {
		t.Error("ran inline")
	}
	q.run()
	if v, err, _ := m.Result(); v != "xxx" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	own := future.Map(future.Resolved(-1), &q, double)
	passed := future.Map(future.Failed[int](errBoom), &q, func(int) (int, error) { t.Error("ran"); return 0, nil })
	q.run()
	if _, err, _ := own.Result(); err != errBoom {
		t.Errorf("fn's error: %v", err)
	}
	if _, err, _ := passed.Result(); err != errBoom {
		t.Errorf("an error passed through: %v", err)
	}
}

func TestCatchReplacesErrorsOnly(t *testing.T) {
	var q queue
	errKnown := errors.New("known")
	good := future.Catch(future.Resolved(3), &q, func(error) error { t.Error("ran without an error"); return nil })
	bad := future.Catch(future.Failed[int](errBoom), &q, func(err error) error { return errors.Join(errKnown, err) })
	none := future.Catch(future.Failed[int](errBoom), &q, func(error) error { return nil })
	panics := future.Catch(future.Failed[int](errBoom), &q, func(error) error { panic("at once") })
	if good.Done() || bad.Done() {
		t.Error("ran inline")
	}
	q.run()
	if v, err, _ := good.Result(); v != 3 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	if _, err, _ := bad.Result(); !errors.Is(err, errKnown) || !errors.Is(err, errBoom) {
		t.Errorf("replaced by %v", err)
	}
	if _, err, done := none.Result(); !done || err == nil {
		t.Errorf("an error was caught and none given: %v", err)
	}
	var p *future.PanicError
	if _, err, _ := panics.Result(); !errors.As(err, &p) {
		t.Errorf("a panic: %v", err)
	}
	q.closed = true
	if _, err, _ := future.Catch(future.Resolved(3), &q, func(err error) error { return err }).Result(); err != future.ErrDropped {
		t.Errorf("on a closed loop: %v", err)
	}
}

func TestChainTakesTheInnerResult(t *testing.T) {
	var q queue
	inner := future.New[string]()
	c := future.Chain(future.Resolved(1), &q, func(int) (*future.Future[string], error) { return inner, nil })
	q.run()
	if c.Done() {
		t.Error("done before the inner one")
	}
	inner.Resolve("y")
	q.run()
	if v, err, _ := c.Result(); v != "y" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	for name, c := range map[string]*future.Future[string]{
		"inner error": future.Chain(future.Resolved(1), &q, func(int) (*future.Future[string], error) { return future.Failed[string](errBoom), nil }),
		"own error":   future.Chain(future.Resolved(1), &q, func(int) (*future.Future[string], error) { return nil, errBoom }),
		"outer error": future.Chain(future.Failed[int](errBoom), &q, func(int) (*future.Future[string], error) { t.Error("ran"); return nil, nil }),
	} {
		q.run()
		if _, err, done := c.Result(); err != errBoom || !done {
			t.Errorf("%s: %v, %v", name, err, done)
		}
	}
	none := future.Chain(future.Resolved(1), &q, func(int) (*future.Future[string], error) { return nil, nil })
	q.run()
	if _, err, _ := none.Result(); !errors.Is(err, future.ErrNilFuture) {
		t.Errorf("no future: %v", err)
	}
}

func TestPanicFailsTheFutureAndNothingElse(t *testing.T) {
	var q queue
	m := future.Map(future.Resolved(1), &q, func(int) (int, error) { panic(errBoom) })
	c := future.Chain(future.Resolved(1), &q, func(int) (*future.Future[int], error) { panic("text") })
	q.run()
	var p *future.PanicError
	if _, err, _ := m.Result(); !errors.As(err, &p) || !errors.Is(err, errBoom) || !strings.Contains(string(p.Stack), "TestPanicFails") {
		t.Errorf("Map: %v", err)
	}
	if _, err, _ := c.Result(); !errors.As(err, &p) || p.Value != "text" || err.Error() != "panic: text" || errors.Unwrap(err) != nil {
		t.Errorf("Chain: %v", err)
	}
}

// TestFutureStress resolves, attaches and waits from many goroutines at once: one resolver wins, and each continuation sees its
// result once.
func TestFutureStress(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for range 2000 {
		f := future.New[int]()
		var q queue
		var group sync.WaitGroup
		var winner, winners, ran atomic.Int64
		const resolvers, attachers = 3, 3
		for i := range resolvers {
			group.Go(func() {
				if f.Resolve(i + 1) {
					winner.Store(int64(i + 1))
					winners.Add(1)
				}
			})
		}
		var seen [attachers]int // by the one goroutine that runs the queue
		for a := range attachers {
			group.Go(func() {
				for i := range 5 {
					f.Then(&q, func(v int, err error) {
						if seen[a] != i {
							t.Errorf("continuation %d of goroutine %d ran as number %d", i, a, seen[a])
						}
						seen[a]++
						if int64(v) != winner.Load() || err != nil {
							t.Errorf("%d, %v; the winner is %d", v, err, winner.Load())
						}
						ran.Add(1)
					})
				}
			})
		}
		group.Go(func() {
			if _, err := f.Wait(ctx); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		q.run()
		if winners.Load() != 1 || ran.Load() != 5*attachers {
			t.Fatalf("%d winners, %d continuations ran", winners.Load(), ran.Load())
		}
	}
}

// BenchmarkThenResolve is a future with one continuation, from New until it has run.
func BenchmarkThenResolve(b *testing.B) {
	var q queue
	b.ReportAllocs()
	for b.Loop() {
		f := future.New[int]()
		f.Then(&q, func(int, error) {})
		f.Resolve(1)
		q.fns[0]()
		q.fns = q.fns[:0]
	}
}
