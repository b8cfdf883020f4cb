// Package future has Future[T]: a result that is not there yet, resolved once by anyone and continued on the loop that asked.
//
// It starts no goroutine and knows no loop: where a continuation runs is the caller's choice, given as a Poster. It is not a
// promise library; there is no cancellation here and no combinator beyond Map, Chain and Catch.
//
// Its one invariant: the first Resolve or Fail decides, nothing after it changes the result, and every continuation sees that result
// exactly once, posted and never run inside the call that resolved or attached it.
package future

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// ErrDropped is the error of a future made by Map, Chain or Catch whose Poster no longer takes callbacks: its function will never run.
var ErrDropped = errors.New("future: the loop no longer takes callbacks")

// ErrNilFuture is the error of a Chain whose function returned no future and no error.
var ErrNilFuture = errors.New("future: no future was returned")

// Poster runs functions later, one at a time and in the order in which they were given: a loop, or something that stands for one.
type Poster interface {
	// AddCallback queues fn and returns before it runs. It returns false if fn will never run. Any goroutine.
	AddCallback(fn func()) bool
}

// PanicError is the error of a future whose function panicked.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the stack of the goroutine that panicked, as text
}

// Error names the value; the stack is left to whoever logs.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Future is a result of type T or an error, at some time. The zero value is not usable: see New, Resolved and Failed.
type Future[T any] struct {
	mu      sync.Mutex
	state   state
	v       T             // immutable once state is not pending
	err     error         // immutable once state is not pending
	waiting []waiter      // in the order of Then; nil once they were posted
	ended   chan struct{} // made by the first Wait that has to wait
}

type state uint8

const (
	pending state = iota
	posting       // resolved; the resolver is still posting continuations, so a new one queues behind them
	settled
)

// waiter is one continuation: where it runs, what runs, and what happens if it never can.
type waiter struct {
	on      Poster
	run     func()
	dropped func() // nil: nothing
}

func (w waiter) post() {
	if !w.on.AddCallback(w.run) && w.dropped != nil {
		w.dropped()
	}
}

// New returns a future without a result.
func New[T any]() *Future[T] { return &Future[T]{} }

// Resolved returns a future that has the result v.
func Resolved[T any](v T) *Future[T] { return &Future[T]{state: settled, v: v} }

// Failed returns a future that has failed with err.
func Failed[T any](err error) *Future[T] {
	if err == nil {
		err = errors.New("future: failed without an error")
	}
	return &Future[T]{state: settled, err: err}
}

// Resolve gives the result. It returns false, and changes nothing, if there is one already. Any goroutine.
func (f *Future[T]) Resolve(v T) bool { return f.settle(v, nil) }

// Fail gives an error in place of a result. It returns false, and changes nothing, if there is a result already. Any goroutine.
func (f *Future[T]) Fail(err error) bool {
	if err == nil {
		err = errors.New("future: failed without an error")
	}
	var zero T
	return f.settle(zero, err)
}

func (f *Future[T]) settle(v T, err error) bool {
	f.mu.Lock()
	if f.state != pending {
		f.mu.Unlock()
		return false
	}
	f.v, f.err = v, err
	f.state = posting
	if f.ended != nil {
		close(f.ended)
	}
	// The lock is not held while posting: a Poster may be anything, and may come back here. A Then that comes meanwhile finds
	// `posting` and queues, so the order of Then calls is the order of posts.
	for len(f.waiting) > 0 {
		batch := f.waiting
		f.waiting = nil
		f.mu.Unlock()
		for _, w := range batch {
			w.post()
		}
		f.mu.Lock()
	}
	f.state = settled
	f.mu.Unlock()
	return true
}

// Done tells whether there is a result or an error. Any goroutine.
func (f *Future[T]) Done() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state != pending
}

// Result returns the result or the error; done is false as long as there is neither. Any goroutine.
func (f *Future[T]) Result() (v T, err error, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.v, f.err, f.state != pending
}

// Then runs fn with the result on `on`: always posted, also when the result is there already, in the order of the Then calls. If
// `on` no longer takes callbacks, fn never runs. Any goroutine.
func (f *Future[T]) Then(on Poster, fn func(T, error)) {
	f.then(waiter{on: on, run: func() { fn(f.v, f.err) }})
}

func (f *Future[T]) then(w waiter) {
	f.mu.Lock()
	if f.state != settled {
		f.waiting = append(f.waiting, w)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	w.post()
}

// Wait blocks until there is a result or ctx ends; it returns ctx's error then. For blocking code such as workers and tests; on a
// loop it would stop everything, the resolver perhaps included.
func (f *Future[T]) Wait(ctx context.Context) (T, error) {
	f.mu.Lock()
	if f.state == pending {
		if f.ended == nil {
			f.ended = make(chan struct{})
		}
		ended := f.ended
		f.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			var zero T
			return zero, ctx.Err()
		}
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	return f.v, f.err
}

// Map returns a future of fn's result, where fn runs on `on` with f's result. An error of f passes through and fn does not run; a
// panic in fn becomes a *PanicError; if `on` no longer takes callbacks it fails with ErrDropped. Any goroutine.
func Map[T, U any](f *Future[T], on Poster, fn func(T) (U, error)) *Future[U] {
	out := New[U]()
	f.then(waiter{on: on, dropped: func() { out.Fail(ErrDropped) }, run: func() {
		if f.err != nil {
			out.Fail(f.err)
			return
		}
		defer failOnPanic(out)
		u, err := fn(f.v)
		if err != nil {
			out.Fail(err)
			return
		}
		out.Resolve(u)
	}})
	return out
}

// Chain is Map for a function that itself returns a future: the result is that future's result. Any goroutine.
func Chain[T, U any](f *Future[T], on Poster, fn func(T) (*Future[U], error)) *Future[U] {
	out := New[U]()
	dropped := func() { out.Fail(ErrDropped) }
	f.then(waiter{on: on, dropped: dropped, run: func() {
		if f.err != nil {
			out.Fail(f.err)
			return
		}
		defer failOnPanic(out)
		next, err := fn(f.v)
		switch {
		case err != nil:
			out.Fail(err)
		case next == nil:
			out.Fail(ErrNilFuture)
		default:
			next.then(waiter{on: on, dropped: dropped, run: func() { out.settle(next.v, next.err) }})
		}
	}})
	return out
}

// Catch returns a future with f's result; if f fails, fn runs on `on` with the error and returns the one that takes its place. A
// panic in fn becomes a *PanicError; if `on` no longer takes callbacks it fails with ErrDropped. Any goroutine.
func Catch[T any](f *Future[T], on Poster, fn func(error) error) *Future[T] {
	out := New[T]()
	f.then(waiter{on: on, dropped: func() { out.Fail(ErrDropped) }, run: func() {
		if f.err == nil {
			out.Resolve(f.v)
			return
		}
		defer failOnPanic(out)
		out.Fail(fn(f.err))
	}})
	return out
}

// failOnPanic is deferred around a caller's function, so that its panic costs the one future that depends on it.
func failOnPanic[T any](out *Future[T]) {
	if v := recover(); v != nil {
		out.Fail(&PanicError{Value: v, Stack: debug.Stack()})
	}
}
