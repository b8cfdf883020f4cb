package loop

import "fmt"

// What tests outside the package need of its inside.

// NewEpoll returns the poller that New uses, so that a test can stand between it and the loop.
func NewEpoll() (Poller, error) { return newEpoll() }

// WakeFD returns the eventfd that wakes l. Nothing ever reads it, so its counter is the number of wake-ups written.
func WakeFD(l *Loop) int { return l.wake.fd }

// Room returns how much the loop's callback queues and timer heap could hold without growing: what they keep of a burst.
func Room(l *Loop) (callbacks, timers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(cap(l.queue), cap(l.batch)), max(cap(l.timers.heap), cap(l.timers.due))
}

// Wake is a wake-up that comes whether l waits or not.
func Wake(l *Loop) { l.wake.signal() }

// Timers returns how many timers the heap holds and how many of them were removed. It checks that the heap is one, and that it
// knows the second number.
func Timers(l *Loop) (held, removed int, err error) {
	h := &l.timers
	for i, x := range h.heap {
		if x.t.fn == nil {
			removed++
		}
		if i > 0 && x.before(h.heap[(i-1)/4]) {
			err = fmt.Errorf("timer %d of %d comes before its parent", i, len(h.heap))
		}
		if !x.t.inHeap {
			err = fmt.Errorf("timer %d does not know that it is in the heap", i)
		}
	}
	if removed != h.removed {
		err = fmt.Errorf("%d timers were removed, the heap thinks %d", removed, h.removed)
	}
	return len(h.heap), removed, err
}

// Watcher is a watchdog that looks when it is told to.
type Watcher struct{ w watcher }

// Look tells whether the watchdog would report l now. It does when Looks looks in a row have found nothing new.
func (w *Watcher) Look(l *Loop) bool { return w.w.look(&l.pace) }

// Looks is how many that takes.
const Looks = looks

// Workers returns how many goroutines p has, and how many of them are idle.
func Workers(p *Pool) (running, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, len(p.idle)
}
