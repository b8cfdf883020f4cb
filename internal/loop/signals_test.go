package loop_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

func raise(t testing.TB, sig unix.Signal) {
	t.Helper()
	check(t, unix.Kill(unix.Getpid(), sig))
}

func TestLoopSignalRunsOnTheLoop(t *testing.T) {
	l := goLoop(t, loop.Options{})
	got := make(chan os.Signal, 4)
	stop := l.NotifySignals(func(sig os.Signal) {
		if !l.OnLoop() {
			t.Error("not on the loop")
		}
		got <- sig
	}, unix.SIGUSR1, unix.SIGUSR2)
	defer stop()
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGUSR1} {
		raise(t, sig)
		if s := receive(t, got, "a signal"); s != sig {
			t.Errorf("got %v, want %v", s, sig)
		}
	}
}

func TestLoopSignalStopsABlockedLoop(t *testing.T) {
	l := newLoop(t, loop.Options{})
	defer l.NotifySignals(func(os.Signal) { l.Stop() }, unix.SIGUSR1)()
	l.AddCallback(func() { raise(t, unix.SIGUSR1) })
	start(t, l)
}

func TestLoopSignalsEndWithStop(t *testing.T) {
	l := goLoop(t, loop.Options{})
	// The signal must not kill the process when nobody is told of it any more.
	elsewhere := make(chan os.Signal, 1)
	signal.Notify(elsewhere, unix.SIGUSR1)
	defer signal.Stop(elsewhere)
	stop := l.NotifySignals(func(os.Signal) { t.Error("told after stop") }, unix.SIGUSR1)
	on(t, l, stop) // from the loop itself
	stop()
	raise(t, unix.SIGUSR1)
	receive(t, elsewhere, "the signal")
	on(t, l, func() {})
}

func TestLoopSignalsEndWithClose(t *testing.T) {
	// That the goroutines have ended, the one that is not stopped here too, is what TestMain checks.
	l := newLoop(t, loop.Options{})
	told := func(os.Signal) { t.Error("told after Close") }
	stop := l.NotifySignals(told, unix.SIGUSR2)
	l.NotifySignals(told, unix.SIGUSR2)
	check(t, l.Close(false))
	stop()
}

func TestLoopSignalStopGivesTheSignalBack(t *testing.T) {
	// In a process of its own, since what SIGTERM does by default is to end it.
	exe, err := os.Executable()
	check(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	child := exec.CommandContext(ctx, exe)
	child.Env = append(os.Environ(), childEnv+"=1")
	err = child.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGTERM {
		t.Errorf("the process ended with %v, not by SIGTERM", err)
	}
}

const childEnv = "LOOP_TEST_SIGNAL_CHILD"

// signalChild is that process. It does not return.
func signalChild() {
	l, err := loop.New(loop.Options{})
	if err != nil {
		panic(err)
	}
	stop := l.NotifySignals(func(os.Signal) { l.Stop() }, unix.SIGTERM)
	l.AddCallback(func() { unix.Kill(unix.Getpid(), unix.SIGTERM) })
	if err := l.Start(); err != nil {
		panic(err)
	}
	stop()
	unix.Kill(unix.Getpid(), unix.SIGTERM)
	<-time.After(deadline) // a signal is not delivered to the thread that sends it, but soon
	os.Exit(0)
}

func TestLoopAddCallbackFromSignalGoroutine(t *testing.T) {
	l := newLoop(t, loop.Options{})
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	defer signal.Stop(c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-c
		l.AddCallbackFromSignal(l.Stop)
	}()
	l.AddCallback(func() { raise(t, unix.SIGTERM) })
	start(t, l)
	receive(t, done, "the goroutine's end")
}
