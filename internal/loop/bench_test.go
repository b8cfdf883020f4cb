package loop_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// benchLoop runs the loop on the benchmark's goroutine; body is called on the loop once and must call stop when it is done.
func benchLoop(b *testing.B, o loop.Options, body func(l *loop.Loop, stop func())) {
	b.Helper()
	l, err := loop.New(o)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close(false)
	b.ReportAllocs()
	l.AddCallback(func() {
		b.ResetTimer()
		body(l, func() {
			b.StopTimer()
			l.Stop()
		})
	})
	if err := l.Start(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAddCallbackOnLoop is one callback that a callback adds: added, run, in batches of 1000.
func BenchmarkAddCallbackOnLoop(b *testing.B) {
	benchLoop(b, loop.Options{}, func(l *loop.Loop, stop func()) {
		left := b.N
		nothing := func() {}
		var batch func()
		batch = func() {
			n := min(left, 1000)
			left -= n
			for range n {
				l.AddCallback(nothing)
			}
			if left == 0 {
				stop()
				return
			}
			l.AddCallback(batch)
		}
		batch()
	})
}

// BenchmarkAddCallbackOffLoop is one callback that another goroutine adds while the loop is free to run them.
func BenchmarkAddCallbackOffLoop(b *testing.B) {
	l, err := loop.New(loop.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close(false)
	ended := make(chan error)
	go func() { ended <- l.Start() }()
	b.ReportAllocs()
	nothing := func() {}
	for b.Loop() {
		l.AddCallback(nothing)
	}
	l.AddCallback(l.Stop)
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAddCallbackRoundTrip is one callback added to a loop that sleeps, until it has run.
func BenchmarkAddCallbackRoundTrip(b *testing.B) {
	l, err := loop.New(loop.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close(false)
	ended := make(chan error)
	go func() { ended <- l.Start() }()
	ran := make(chan struct{})
	for b.Loop() {
		l.AddCallback(func() { ran <- struct{}{} })
		<-ran
	}
	l.Stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTimerAddCancel adds one timer and removes it, beside 100,000 others.
func BenchmarkTimerAddCancel100k(b *testing.B) {
	benchLoop(b, loop.Options{}, func(l *loop.Loop, stop func()) {
		nothing := func() {}
		at := l.Time().Add(time.Hour)
		for i := range 100_000 {
			l.CallAt(at.Add(time.Duration(i*7919%100_000)*time.Millisecond), nothing)
		}
		b.ResetTimer()
		for i := range b.N {
			l.RemoveTimeout(l.CallAt(at.Add(time.Duration(i*104729%100_000)*time.Millisecond), nothing))
		}
		stop()
	})
}

// BenchmarkTimerRearm100k removes one of 100,000 timers and adds it again, later: an idle timeout on activity.
func BenchmarkTimerRearm100k(b *testing.B) {
	benchLoop(b, loop.Options{}, func(l *loop.Loop, stop func()) {
		nothing := func() {}
		at := l.Time().Add(time.Hour)
		ts := make([]*loop.Timeout, 100_000)
		for i := range ts {
			ts[i] = l.CallAt(at.Add(time.Duration(i)*time.Millisecond), nothing)
		}
		b.ResetTimer()
		for i := range b.N {
			k := i * 7919 % len(ts)
			l.RemoveTimeout(ts[k])
			ts[k] = l.CallAt(at.Add(time.Duration(100_000+i)*time.Millisecond), nothing)
		}
		stop()
	})
}

// eventTurns measures turns that have one event: an eventfd that stays readable.
func eventTurns(b *testing.B, o loop.Options) {
	fd, err := unix.Eventfd(1, unix.EFD_NONBLOCK)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	benchLoop(b, o, func(l *loop.Loop, stop func()) {
		left := b.N
		err := l.AddHandler(fd, loop.Read, loop.HandlerFunc(func(int, loop.Events) {
			if left--; left == 0 {
				l.RemoveHandler(fd)
				stop()
			}
		}))
		if err != nil {
			b.Error(err)
			stop()
		}
	})
}

func BenchmarkTurnWithOneEvent(b *testing.B) { eventTurns(b, loop.Options{}) }

func BenchmarkTurnWithOneEventWatched(b *testing.B) {
	eventTurns(b, loop.Options{SlowCallback: 100 * time.Millisecond})
}

var labels = [2]string{"sum", "echo"}

func BenchmarkEnterSame(b *testing.B) {
	benchLoop(b, loop.Options{SlowCallback: 10 * time.Second}, func(l *loop.Loop, stop func()) {
		for range b.N {
			l.Enter(&labels[0], 7)
		}
		stop()
	})
}

func BenchmarkEnterOtherWho(b *testing.B) {
	benchLoop(b, loop.Options{SlowCallback: 10 * time.Second}, func(l *loop.Loop, stop func()) {
		for i := range b.N {
			l.Enter(&labels[0], uint64(i))
		}
		stop()
	})
}

func BenchmarkEnterOtherLabelAndWho(b *testing.B) {
	benchLoop(b, loop.Options{SlowCallback: 10 * time.Second}, func(l *loop.Loop, stop func()) {
		for i := range b.N {
			l.Enter(&labels[i&1], uint64(i))
		}
		stop()
	})
}

func BenchmarkEnterUnwatched(b *testing.B) {
	benchLoop(b, loop.Options{}, func(l *loop.Loop, stop func()) {
		for i := range b.N {
			l.Enter(&labels[i&1], uint64(i))
		}
		stop()
	})
}

func BenchmarkAddRemoveHandler(b *testing.B) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	h := &nothingHandler{}
	benchLoop(b, loop.Options{}, func(l *loop.Loop, stop func()) {
		for range b.N {
			if err := l.AddHandler(fd, loop.Read, h); err != nil {
				b.Error(err)
			}
			l.RemoveHandler(fd)
		}
		stop()
	})
}

type nothingHandler struct{ _ int }

func (*nothingHandler) HandleEvents(int, loop.Events) {}

// BenchmarkUnblock is a function that does nothing, run on a worker, until its result is back on the loop.
func BenchmarkUnblock(b *testing.B) {
	p := loop.NewPool(2, 16)
	defer p.Close()
	benchLoop(b, loop.Options{}, func(l *loop.Loop, stop func()) {
		left := b.N
		var next func(int, error)
		next = func(int, error) {
			if left--; left < 0 {
				stop()
				return
			}
			loop.AddFuture(l, loop.Unblock(l, p, func() (int, error) { return 1, nil }), next)
		}
		next(0, nil)
	})
}
