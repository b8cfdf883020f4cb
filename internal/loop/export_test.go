package loop

// What tests outside the package need of its inside.

// NewEpoll returns the poller that New uses, so that a test can stand between it and the loop.
func NewEpoll() (Poller, error) { return newEpoll() }

// WakeFD returns the eventfd that wakes l. Nothing ever reads it, so its counter is the number of wake-ups written.
func WakeFD(l *Loop) int { return l.wake.fd }

// TimersHeld returns how many timers the heap holds, removed ones included.
func TimersHeld(l *Loop) int { return len(l.timers.heap) }

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
