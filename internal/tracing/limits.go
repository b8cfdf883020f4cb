package tracing

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"gameserverd/internal/rpc"
)

// limits decide which calls are traced. Any goroutine.
type limits struct {
	oneIn   atomic.Int64
	max     atomic.Int64  // a second
	window  atomic.Uint64 // the second it is, above, and in the low countBits how many were traced in it
	limited atomic.Uint64
}

// countBits hold a count up to the most that tracing.max_per_second can be, twice.
const countBits = 21

func (l *limits) set(r Rates) {
	l.oneIn.Store(int64(r.OneIn))
	l.max.Store(int64(r.MaxPerSecond))
}

// wanted reports whether somebody wants the call traced: the client, or chance.
func (l *limits) wanted(parent rpc.Traceparent) bool {
	if !parent.None() {
		return parent.Sampled
	}
	n := l.oneIn.Load()
	return n == 1 || n > 1 && rand.Int64N(n) == 0
}

// allowed counts one more in this second, if there may be one more.
func (l *limits) allowed(now time.Time) bool {
	second := uint64(now.Unix()) << countBits
	most := uint64(min(l.max.Load(), 1<<countBits-1))
	for {
		old := l.window.Load()
		next := second + 1
		if old&^(1<<countBits-1) == second {
			if old-second >= most {
				l.limited.Add(1)
				return false
			}
			next = old + 1
		} else if most == 0 {
			l.limited.Add(1)
			return false
		}
		if l.window.CompareAndSwap(old, next) {
			return true
		}
	}
}
