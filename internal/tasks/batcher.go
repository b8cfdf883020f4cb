package tasks

import (
	"context"
	"fmt"
)

// maxBatch is how many rows a batch has before no more are taken into it; what one
// caller asks for stays together.
const maxBatch = 128

// batcher collects what many runs ask of SQL, so that all that wait are one
// transaction.
type batcher[In, Out any] struct {
	// immutable after newBatcher
	tasks *Tasks
	what  string
	do    func(ctx context.Context, in []In) ([]Out, error)
	ask   chan asked[In, Out]
}

type asked[In, Out any] struct {
	in     []In
	answer chan<- answered[Out] // with room for one
}

type answered[Out any] struct {
	out []Out
	err error
}

func newBatcher[In, Out any](t *Tasks, what string, do func(context.Context, []In) ([]Out, error)) *batcher[In, Out] {
	return &batcher[In, Out]{tasks: t, what: what, do: do, ask: make(chan asked[In, Out])}
}

// call waits for the answers to in, which are at most maxBatch, or for ctx. Any
// goroutine.
func (b *batcher[In, Out]) call(ctx context.Context, in ...In) (out []Out, err error) {
	answer := make(chan answered[Out], 1)
	select {
	case b.ask <- asked[In, Out]{in, answer}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", b.what, ctx.Err())
	case <-b.tasks.ctx.Done():
		return nil, errClosed
	}
	select { // it is under way now, and bounded by SQL's own time
	case a := <-answer:
		return a.out, a.err
	case <-b.tasks.ctx.Done():
		return nil, errClosed
	}
}

// run answers until Close.
func (b *batcher[In, Out]) run() {
	for {
		var batch []asked[In, Out]
		var in []In
		select {
		case a := <-b.ask:
			batch, in = append(batch, a), append(in, a.in...)
		case <-b.tasks.ctx.Done():
			return
		}
	more:
		for len(in) < maxBatch {
			select {
			case a := <-b.ask:
				batch, in = append(batch, a), append(in, a.in...)
			default:
				break more
			}
		}
		out, err := b.do(b.tasks.ctx, in)
		for _, a := range batch {
			if err != nil {
				a.answer <- answered[Out]{err: err}
				continue
			}
			n := len(a.in)
			a.answer <- answered[Out]{out: out[:n:n]}
			out = out[n:]
		}
	}
}

// marks are the placeholders of n values, n raised to one of few sizes so that there
// are few statements; size is how many.
func marks(n int) (text string, size int) {
	size = 1
	for size < n {
		size *= 4
	}
	return markTexts[size], size
}

var markTexts = func() map[int]string {
	texts := make(map[int]string)
	for size := 1; size <= 4*maxBatch; size *= 4 {
		b := []byte("?")
		for range size - 1 {
			b = append(b, ", ?"...)
		}
		texts[size] = string(b)
	}
	return texts
}()

// fill makes args as many as size, the last again.
func fill(args []any, from, size int) []any {
	for len(args)-from < size {
		args = append(args, args[len(args)-1])
	}
	return args
}
