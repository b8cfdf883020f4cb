package loop

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The array that events are fetched into grows when a wait fills it: a full one means that more are ready.
const (
	minEvents = 256
	maxEvents = 4096
)

// fewEvents is up to how many events of the last wait make the next one look before it blocks: with a few busy peers the next
// request is often there already, with many the look only makes the batches smaller.
const fewEvents = 8

// turn is one round of the loop, in Tornado's order: the callbacks that were queued when it began; the timers that are due, decided
// before any runs; the hooks; then the wait and the events. Nothing that these add runs in the same round, so none starves another.
//
// It returns stopped right before it would wait: what the events of the last turn have queued still runs, and is flushed.
func (l *Loop) turn() (stopped bool, err error) {
	l.runCallbacks()
	l.runTimers()
	l.runHooks()
	if l.stopping.Load() {
		return true, nil
	}
	n, err := l.wait()
	if err != nil {
		return false, fmt.Errorf("loop %s: waiting for events: %w", l.name, err)
	}
	l.readClock()
	l.turned()
	l.busy = n > 0 && n <= fewEvents
	l.eventAt, l.eventsN = 0, n
	for l.eventAt < l.eventsN {
		l.dispatch()
	}
	if n == len(l.events) && n < maxEvents {
		l.events = make([]unix.EpollEvent, 2*n)
	}
	return false, nil
}

func (l *Loop) runHooks() {
	for l.hookAt = 0; l.hookAt < len(l.hooks); {
		l.runHooksOnce()
	}
}

// runHooksOnce runs hooks until the last or a panic.
func (l *Loop) runHooksOnce() {
	defer l.caught()
	for l.hookAt < len(l.hooks) {
		fn := l.hooks[l.hookAt]
		l.hookAt++
		l.pace.step()
		fn()
	}
}

// wait fetches events: without blocking if callbacks or due timers wait, else until an event, the next timer or a wake-up.
func (l *Loop) wait() (int, error) {
	if l.callbacksWait() {
		return l.poll(0)
	}
	if l.busy {
		l.busy = false
		if n, err := l.poll(0); n > 0 || err != nil {
			return n, err
		}
	}
	timeout := time.Duration(-1)
	// The turn's clock is as old as the turn: a wait reckoned from it would end that much too late.
	l.readClock()
	l.record.rested = l.mono
	if next, ok := l.timers.next(); ok {
		if timeout = time.Duration(next - l.mono); timeout <= 0 {
			return l.poll(0)
		}
	}
	if l.started.Load() && l.started.Swap(false) {
		// A goroutine was made runnable by this turn, on this processor's queue. Letting it in now takes less than a microsecond;
		// blocking first leaves it until the processor is taken back from the system call.
		runtime.Gosched()
	}
	// The order is what makes wakeUp sound: first say that we wait, then look once more.
	l.waiting.Store(true)
	if l.callbacksWait() || l.stopping.Load() {
		timeout = 0
	}
	l.pace.rest()
	n, err := l.poll(timeout)
	l.waiting.Store(false)
	l.pace.step()
	return n, err
}

func (l *Loop) poll(timeout time.Duration) (int, error) {
	n, err := l.poller.Wait(l.events, timeout)
	if err == unix.EINTR {
		return 0, nil
	}
	return n, err
}
