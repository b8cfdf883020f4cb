package bench

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// alarm is a timer of the loop that is exact to some 50 µs: the loop's own timers are to the millisecond, and calls that
// leave up to one late would show it in their latency.
type alarm struct {
	loop *loop.Loop
	fd   int
	when time.Duration // what it was set to and has not come; 0: not set
}

// newAlarm calls fn on l when the alarm that was set has come. Loop only.
func newAlarm(l *loop.Loop, fn func()) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	a := &alarm{loop: l, fd: fd}
	err = l.AddHandler(fd, loop.Read, loop.HandlerFunc(func(int, loop.Events) {
		var expired [8]byte
		// EAGAIN: it was set anew since.
		if _, err := unix.Read(fd, expired[:]); err == nil {
			a.when = 0
			fn()
		}
	}))
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return a, nil
}

// set makes the alarm come after d, unless it is set already: it is set anew whenever it comes. Loop only.
func (a *alarm) set(d time.Duration) {
	if a.when != 0 || a.fd < 0 {
		return
	}
	a.when = min(max(d, 1), math.MaxInt32*time.Second)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(a.when))}
	// Cannot fail: the descriptor and the time are good.
	_ = unix.TimerfdSettime(a.fd, 0, &spec, nil)
}

// close gives the descriptor back; a second time does nothing. Loop only.
func (a *alarm) close() {
	if a.fd < 0 {
		return
	}
	a.loop.RemoveHandler(a.fd)
	// Nothing can be done about an error, and nothing was written.
	_ = unix.Close(a.fd)
	a.fd = -1
}
