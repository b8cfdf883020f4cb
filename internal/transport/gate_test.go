package transport

import (
	"net/netip"
	"sync"
)

// countingGate lets in as many as limit says; 0: all.
type countingGate struct {
	mu    sync.Mutex
	now   map[netip.Addr]int
	limit int
	seen  []netip.Addr
}

func (g *countingGate) Open(a netip.Addr) (bool, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = append(g.seen, a)
	if g.limit > 0 && g.now[a] >= g.limit {
		return false, "too many from here"
	}
	if g.now == nil {
		g.now = map[netip.Addr]int{}
	}
	g.now[a]++
	return true, ""
}

func (g *countingGate) Close(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now[a]--
	if g.now[a] == 0 {
		delete(g.now, a)
	}
}

func (g *countingGate) open() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.now {
		n += k
		if k < 0 {
			n += 1000
		}
	}
	return n
}
