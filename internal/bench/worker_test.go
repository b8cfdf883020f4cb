package bench

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/conn"
	"gameserverd/internal/future"
	"gameserverd/wire"
)

// lone is a worker with one connection whose dial ends when the test says so.
func lone(t *testing.T) (*worker, *future.Future[uint64]) {
	t.Helper()
	o, err := Options{Connections: 1}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := &run{o: o, began: time.Now(), pokes: make(chan struct{}, 1)}
	w, err := r.newWorker("lone", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	dialed := future.New[uint64]()
	w.dial = func() *future.Future[uint64] { return dialed }
	t.Cleanup(func() {
		w.end()
		w.set.Release()
		if err := w.loop.Close(true); err != nil {
			t.Error(err)
		}
	})
	return w, dialed
}

// turn runs the loop until done.
func turn(t *testing.T, w *worker, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	stop := w.loop.Periodic(time.Millisecond, func() {
		if done() || time.Now().After(deadline) {
			w.loop.Stop()
		}
	})
	if err := w.loop.Start(); err != nil {
		t.Fatal(err)
	}
	stop()
	if !done() {
		t.Fatalf("not reached: %+v", w)
	}
}

func TestBytesBeforeTheDialIsDoneAreKept(t *testing.T) {
	w, dialed := lone(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	w.dialMore()
	id, err := w.set.Attach(pair[0], netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	hello := wire.AppendArray(wire.AppendNotification(wire.BeginFrame(nil), "hello"), 0)
	wire.EndFrame(hello, 0)
	if _, err := unix.Write(pair[1], hello); err != nil {
		t.Fatal(err)
	}
	turns := 0
	turn(t, w, func() bool { turns++; return turns > 5 })
	if w.in.notifications != 0 || w.set.Len() != 1 {
		t.Fatalf("%d notifications on %d connections before the dial is done", w.in.notifications, w.set.Len())
	}
	dialed.Resolve(id)
	turn(t, w, func() bool { return w.in.notifications == 1 })
	if w.ready != 1 || w.settled != 1 {
		t.Errorf("%d ready, %d settled", w.ready, w.settled)
	}
}

func TestAConnectionThatEndsBeforeItsDialIsDone(t *testing.T) {
	w, dialed := lone(t)
	const id = 1 << 32
	w.dialMore()
	w.Opened(id)
	w.Closed(id, &conn.CloseError{Reason: conn.Reset})
	dialed.Resolve(id)
	turn(t, w, func() bool { return w.settled == 1 })
	if w.ready != 0 || w.failed["reset by the server without sys.closing"] != 1 {
		t.Errorf("%d ready, failed %v", w.ready, w.failed)
	}
}
