package loop

import (
	"os"
	"os/signal"
	"sync"
)

// signalFeed is the goroutine that carries signals to the loop.
type signalFeed struct {
	once sync.Once
	in   chan os.Signal
	quit chan struct{}
	done chan struct{}
}

// AddCallbackFromSignal is AddCallback. Tornado has it because a Python signal handler runs between two instructions of the loop;
// in Go a signal arrives on a channel, and whoever reads that is a goroutine like any other. Any goroutine.
func (l *Loop) AddCallbackFromSignal(fn func()) bool { return l.AddCallback(fn) }

// NotifySignals calls fn on the loop for each of the signals that the process gets (all of them if none is named), until stop is
// called or the loop is closed. It takes over from the runtime what these signals do, as os/signal.Notify says. Any goroutine; so is
// stop, which may be called again. No call of fn is queued after stop has returned.
func (l *Loop) NotifySignals(fn func(os.Signal), sigs ...os.Signal) (stop func()) {
	feed := &signalFeed{
		in:   make(chan os.Signal, 16), // os/signal drops what does not fit
		quit: make(chan struct{}),
		done: make(chan struct{}),
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return func() {}
	}
	l.signals[feed] = struct{}{}
	l.mu.Unlock()
	signal.Notify(feed.in, sigs...)
	go feed.run(l, fn)
	return func() {
		feed.stop()
		l.mu.Lock()
		delete(l.signals, feed)
		l.mu.Unlock()
	}
}

func (f *signalFeed) run(l *Loop, fn func(os.Signal)) {
	defer close(f.done)
	for {
		select {
		case <-f.quit:
			return
		case sig := <-f.in:
			l.AddCallbackFromSignal(func() { fn(sig) })
		}
	}
}

func (f *signalFeed) stop() {
	f.once.Do(func() {
		signal.Stop(f.in)
		close(f.quit)
	})
	<-f.done
}
