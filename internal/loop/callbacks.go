package loop

import (
	"gameserverd/internal/future"
)

// callback is one queued function. Pending counts it until it has run or was dropped, if it is counted.
type callback struct {
	fn      func()
	counted bool
}

// keepCallbacks is the largest queue kept for reuse: a burst does not stay resident.
const keepCallbacks = 4096

// clockEvery is how many callbacks or timers run before the turn's clock is read again.
const clockEvery = 64

// AddCallback queues fn to run on the loop in its next turn: never inside the call, once, and in order among the callbacks that
// one goroutine adds. It wakes the loop if that is needed. It returns false, and fn never runs, once the loop is closed. Any
// goroutine.
func (l *Loop) AddCallback(fn func()) bool {
	l.pending.Add(1)
	if l.add(callback{fn, true}) {
		return true
	}
	l.pending.Add(-1)
	return false
}

// SpawnCallback is AddCallback for a callback that nobody waits for: Pending does not count it, so a drain ends without it. Any
// goroutine.
func (l *Loop) SpawnCallback(fn func()) bool { return l.add(callback{fn, false}) }

// Pending returns how much work was promised and is not done: callbacks queued or running in the current batch, AddFuture
// continuations that have not run, and results that Unblock owes. A callback counts until its turn's callbacks have run, so one
// that asks counts itself. Any goroutine.
func (l *Loop) Pending() int { return int(l.pending.Load()) }

func (l *Loop) add(cb callback) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.queue = append(l.queue, cb)
	l.queued.Store(true)
	l.mu.Unlock()
	l.wakeUp()
	return true
}

// runCallbacks runs the callbacks that were queued when the turn began, at most maxCallbacks of them: what they add waits for the
// next turn, so that callbacks which add themselves starve neither I/O nor timers.
func (l *Loop) runCallbacks() {
	if l.batchAt == len(l.batch) {
		if !l.queued.Load() {
			return
		}
		l.mu.Lock()
		l.queue, l.batch = l.batch[:0], l.queue
		l.queued.Store(false)
		l.mu.Unlock()
		l.batchAt = 0
	}
	end := min(len(l.batch), l.batchAt+l.maxCallbacks)
	for l.batchAt < end {
		l.runBatch(end)
	}
	if l.batchAt == len(l.batch) {
		l.batch, l.batchAt = l.batch[:0], 0
		if cap(l.batch) > keepCallbacks {
			l.batch = nil
		}
	}
}

// runBatch runs callbacks until the end or a panic. One defer serves them all.
func (l *Loop) runBatch(end int) {
	from, counted := l.batchAt, int64(0)
	defer l.caught()
	defer func() {
		if counted > 0 {
			l.pending.Add(-counted)
		}
	}()
	for l.batchAt < end {
		cb := l.batch[l.batchAt]
		l.batch[l.batchAt] = callback{}
		l.batchAt++
		if cb.counted {
			counted++
		}
		if (l.batchAt-from)%clockEvery == 0 {
			l.readClock()
		}
		l.pace.step()
		cb.fn()
	}
}

// callbacksWait tells whether the next turn has callbacks to run.
func (l *Loop) callbacksWait() bool { return l.batchAt < len(l.batch) || l.queued.Load() }

// AddFuture runs cb on the loop with f's result, once there is one; always in a later turn, also when it is there already. Pending
// counts it until it has run. Any goroutine.
func AddFuture[T any](l *Loop, f *future.Future[T], cb func(T, error)) {
	l.pending.Add(1)
	f.Then(owedPoster{l}, cb)
}

// owedPoster posts continuations that Pending counts already.
type owedPoster struct{ l *Loop }

func (p owedPoster) AddCallback(fn func()) bool {
	if p.l.add(callback{fn, true}) {
		return true
	}
	p.l.pending.Add(-1)
	return false
}
