package rpc

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/zap"
)

// noLink is connections that nobody listens to.
type noLink struct{}

func (noLink) Write(uint64, []byte) bool      { return true }
func (noLink) Pause(uint64)                   {}
func (noLink) Resume(uint64)                  {}
func (noLink) Yield(uint64)                   {}
func (noLink) Close(uint64)                   {}
func (noLink) Shutdown(uint64)                {}
func (noLink) Peer(uint64) netip.AddrPort     { return netip.AddrPort{} }
func (noLink) Number(uint64) uint64           { return 0 }
func (noLink) Dismiss(uint64)                 {}
func (noLink) Describe(uint64) string         { return "none" }
func (noLink) Pending(uint64) int             { return 0 }
func (noLink) Kept(uint64) []byte             { return nil }
func (noLink) Move(uint64, int, func(uint64)) {}

func TestIdleSessionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(session{}); size != 56 {
		t.Errorf("a session takes %d bytes; docs/architecture.md says 56", size)
	}
}

// A million logged-in sessions on two hubs: what they take, and what the garbage
// collector has to do for them.
func BenchmarkMillionSessions(b *testing.B) {
	const n = 1_000_000
	registry := NewRegistry()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	p := NewPeers(Options{Registry: registry, Limits: testLimits, Protocols: []string{"frames"}, Log: zap.NewNop()})
	for range 2 {
		p.AddHub(&fakeLoop{added: make(chan struct{}, 1)}).Connect(noLink{})
	}
	c := new(Call)
	slots := [2]uint64{}
	for uid := uint64(1); uid <= n; uid++ {
		h := p.home(uid)
		conn := uint64(1)<<32 | slots[h.index]
		slots[h.index]++
		h.Opened(conn)
		s := h.session(conn)
		s.framing = framingFrames
		h.bind(s, c, uid)
	}
	size := float64(heap()-before) / n
	shortest := time.Hour
	for b.Loop() {
		began := time.Now()
		runtime.GC()
		shortest = min(shortest, time.Since(began))
	}
	b.ReportMetric(float64(shortest.Microseconds())/1000, "ms/GC-least")
	b.ReportMetric(size, "B/session")
	runtime.KeepAlive(p)
}
