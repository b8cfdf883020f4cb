package loop

import (
	"errors"
	"runtime/debug"
	"time"

	"gameserverd/internal/future"
)

var errNoFuture = errors.New("loop: RunSync's function returned no future")

// RunSync starts the loop on the calling goroutine, calls fn on it, and stops it when fn's future has a result, which it returns. A
// timeout of 0 waits as long as it takes. Its errors, besides fn's own: ErrTimeout, ErrStopped if something else has stopped the
// loop, a *future.PanicError if fn has panicked, and Start's. Any goroutine.
func RunSync[T any](l *Loop, fn func() *future.Future[T], timeout time.Duration) (T, error) {
	var zero, value T
	if err := l.begin(); err != nil {
		return zero, err
	}
	result := ErrStopped // until there is another; all of it is touched on this goroutine only
	ended := false
	end := func(v T, err error) {
		if !ended {
			ended, value, result = true, v, err
			l.Stop()
		}
	}
	l.AddCallback(func() {
		if ended {
			return
		}
		defer func() {
			if v := recover(); v != nil {
				end(zero, &future.PanicError{Value: v, Stack: debug.Stack()})
			}
		}()
		f := fn()
		if f == nil {
			end(zero, errNoFuture)
			return
		}
		AddFuture(l, f, end)
	})
	var timer *Timeout
	if timeout > 0 {
		timer = l.CallLater(timeout, func() { end(zero, ErrTimeout) })
	}
	if err := l.run(); err != nil && result == ErrStopped {
		result = err
	}
	ended = true // a loop that is started again must not run what is left
	l.RemoveTimeout(timer)
	return value, result
}
