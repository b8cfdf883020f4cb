package conn

import (
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// echoer is the leanest handler.
type echoer struct{ set *Set }

func (e *echoer) Opened(uint64) {}
func (e *echoer) Data(id uint64, b []byte) int {
	e.set.Write(id, b)
	return len(b)
}
func (e *echoer) EOF(id uint64)        { e.set.Shutdown(id, PeerClosed) }
func (e *echoer) Closed(uint64, error) {}

func newBenchSet(b *testing.B) (*loop.Loop, *Set) {
	b.Helper()
	l, err := loop.New(loop.Options{Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	e := &echoer{}
	e.set = NewSet(l, e, Options{})
	b.Cleanup(func() {
		e.set.Release()
		l.Close(true)
	})
	return l, e.set
}

// BenchmarkEcho is one request and reply of 64 bytes on loopback TCP, client and
// server in turn on one goroutine: what is measured besides the kernel is the
// Set between the event and the reply.
func BenchmarkEcho(b *testing.B) {
	run := func(b *testing.B, peer int32, serve func()) {
		msg := pattern(64)
		in := make([]byte, 64)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			if _, errno := send(peer, msg); errno != 0 {
				b.Fatal(errno)
			}
			serve()
			if n, errno := recv(peer, in); n != len(msg) {
				b.Fatal(n, errno)
			}
		}
	}
	b.Run("bare", func(b *testing.B) {
		fd, p := tcpPair(b)
		defer closeFD(fd)
		buf := make([]byte, 64<<10)
		run(b, int32(p.fd), func() {
			n, _ := recv(int32(fd), buf)
			send(int32(fd), buf[:n])
		})
	})
	b.Run("set", func(b *testing.B) {
		_, set := newBenchSet(b)
		fd, p := tcpPair(b)
		if _, err := set.Attach(fd, netip.AddrPort{}); err != nil {
			b.Fatal(err)
		}
		run(b, int32(p.fd), func() { set.HandleEvents(fd, loop.Read) })
	})
}

// BenchmarkLoopEcho is the same with the loop in between, and with the CPU time of the
// server's thread as cpu-ns/op. The client sends on all connections, then reads
// from all.
func BenchmarkLoopEcho(b *testing.B) {
	for _, conns := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/%d", conns), func(b *testing.B) { benchLoopEcho(b, conns, serveBare) })
		b.Run(fmt.Sprintf("set/%d", conns), func(b *testing.B) { benchLoopEcho(b, conns, serveSet) })
	}
}

func benchLoopEcho(b *testing.B, conns int, serve func(b *testing.B, fds []int) (stop func() time.Duration)) {
	fds, peers := make([]int, conns), make([]*peer, conns)
	for i := range fds {
		fds[i], peers[i] = tcpPair(b)
	}
	stop := serve(b, fds)
	msg, in := pattern(64), make([]byte, 64)
	b.ResetTimer()
	for done := 0; done < b.N; done += conns {
		for _, p := range peers {
			if _, errno := send(int32(p.fd), msg); errno != 0 {
				b.Fatal(errno)
			}
		}
		for _, p := range peers {
			if n, err := p.read(in); n != len(msg) {
				b.Fatal(n, err)
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(stop().Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// serveBare is the least that a server on epoll can do.
func serveBare(b *testing.B, fds []int) func() time.Duration {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	_ = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
	spent := make(chan time.Duration)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began := threadCPU()
		events, buf := make([]unix.EpollEvent, 256), make([]byte, 64<<10)
		for {
			n, _ := unix.EpollWait(ep, events, -1)
			for _, e := range events[:max(n, 0)] {
				if int(e.Fd) == wake {
					spent <- threadCPU() - began
					return
				}
				if n, errno := recv(e.Fd, buf); errno == 0 {
					send(e.Fd, buf[:n])
				}
			}
		}
	}()
	return func() time.Duration {
		unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		d := <-spent
		for _, fd := range append(fds, ep, wake) {
			closeFD(fd)
		}
		return d
	}
}

func serveSet(b *testing.B, fds []int) func() time.Duration {
	l, set := newBenchSet(b)
	for _, fd := range fds {
		if _, err := set.Attach(fd, netip.AddrPort{}); err != nil {
			b.Fatal(err)
		}
	}
	spent := make(chan time.Duration)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began := threadCPU()
		_ = l.Start()
		spent <- threadCPU() - began
	}()
	return func() time.Duration {
		l.Stop()
		return <-spent
	}
}

// BenchmarkBroadcast sends the same 100 bytes to 10,000 connections (or as many as
// the descriptors allow): through the Set as one turn's pushes, and as bare
// sends. The peers are emptied between the rounds, outside the clock.
func BenchmarkBroadcast(b *testing.B) {
	msg := pattern(100)
	b.Run("bare", func(b *testing.B) {
		fds, drain := crowd(b)
		benchBroadcast(b, len(fds), drain, func() {
			for _, fd := range fds {
				if n, errno := send(int32(fd), msg); n != len(msg) {
					b.Fatal(n, errno)
				}
			}
		})
		for _, fd := range fds {
			closeFD(fd)
		}
	})
	b.Run("set", func(b *testing.B) {
		fds, drain := crowd(b)
		_, set := newBenchSet(b)
		var ids []uint64
		for _, fd := range fds {
			id, err := set.Attach(fd, netip.AddrPort{})
			if err != nil {
				b.Fatal(err)
			}
			ids = append(ids, id)
		}
		benchBroadcast(b, len(fds), drain, func() {
			for _, id := range ids {
				set.Write(id, msg)
			}
			set.beforeWait()
		})
	})
}

func benchBroadcast(b *testing.B, conns int, drain, round func()) {
	round() // the first finds everything cold
	drain()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		round()
		b.StopTimer()
		drain()
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(conns), "ns/conn")
}

// crowd makes many connections, and a function that reads from all their peers.
func crowd(b *testing.B) (fds []int, drain func()) {
	b.Helper()
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		b.Fatal(err)
	}
	var peers []*peer
	for range min(10_000, int(r.Cur-100)/2) {
		fd, p := tcpPair(b)
		fds, peers = append(fds, fd), append(peers, p)
		b.Cleanup(p.reset) // a FIN would leave the port in TIME_WAIT: there are not so many
	}
	in := make([]byte, 64<<10)
	return fds, func() {
		for _, p := range peers {
			if _, errno := recv(int32(p.fd), in); errno != 0 {
				b.Fatal(errno)
			}
		}
	}
}

// BenchmarkIdleMillion has a million records without sockets: what they take of
// the heap, and what a garbage collection of them costs.
func BenchmarkIdleMillion(b *testing.B) {
	const conns = 1_000_000
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	_, set := newBenchSet(b)
	before := heap()
	for i := range conns {
		_, r := set.newRecord()
		r.fd, r.state, r.interest = int32(i), stOpen, uint16(reading)
	}
	set.slots = make([]uint32, conns)
	after := heap()
	b.ResetTimer()
	for range b.N {
		runtime.GC()
	}
	b.StopTimer()
	b.ReportMetric(float64(after-before)/conns, "B/conn")
	set.pages, set.slots = nil, nil
}
