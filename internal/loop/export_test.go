package loop

// What tests outside the package need of its inside.

// NewEpoll returns the poller that New uses, so that a test can stand between it and the loop.
func NewEpoll() (Poller, error) { return newEpoll() }

// WakeFD returns the eventfd that wakes l. Nothing ever reads it, so its counter is the number of wake-ups written.
func WakeFD(l *Loop) int { return l.wake.fd }

// TimersHeld returns how many timers the heap holds, removed ones included.
func TimersHeld(l *Loop) int { return len(l.timers.heap) }

// Workers returns how many goroutines p has, and how many of them are idle.
func Workers(p *Pool) (running, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, len(p.idle)
}
