// Package gate counts what comes from each address: open connections, new ones
// and logins in a time, and says when it is too much. An IPv6 address counts with
// its /64, which is what one subscriber has.
//
// It closes nothing and tells nobody: whoever asks does that. It is no defence
// against many addresses; the limits of the whole process are elsewhere.
//
// Its one invariant: an address has an entry exactly while connections of it are
// open, and for a while afterwards as long as its rates are not back to nothing;
// of the latter there are at most 65,536.
package gate

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits are the bounds for one address. 0: no limit.
type Limits struct {
	PerAddress     int // open connections
	ConnectionRate int // new connections a second in the long run; ten times as many at once
	LoginRate      int // logins a second in the long run; ten times as many at once
}

// burst is how many seconds' worth may come at once.
const burst = 10

// The answers of Open to who may not come.
const (
	tooMany = "too many connections from this address"
	tooFast = "too many new connections from this address"
)

// Counters count what a Gate has refused.
type Counters struct {
	Connections atomic.Int64 // for PerAddress
	Rate        atomic.Int64 // connections for ConnectionRate
	Logins      atomic.Int64 // for LoginRate
	Forgotten   atomic.Int64 // addresses whose rates were forgotten too early, for want of room
}

// Gate knows the addresses that have to do with this process. Any goroutine.
type Gate struct {
	// immutable after New
	clock func() time.Time
	base  time.Time // what times are counted from; monotonic
	seed  maphash.Seed

	// any goroutine
	Counters Counters
	limits   atomic.Pointer[Limits]
	shards   [shards]shard
}

const (
	shards     = 64
	maxResting = 1024 // addresses of a shard without a connection
)

// shard is a part of the addresses.
type shard struct {
	mu      sync.Mutex
	entries map[key]entry
	resting []key // addresses that had no connection left, the first one first
	most    int   // entries at once since the map was made
}

// key is an address as it is counted: an IPv4 address in the low half, of an IPv6
// address the /64 in the high half.
type key struct{ high, low uint64 }

// entry is what is known of an address. Both times are those at which its rate
// will be back to nothing: GCRA, a token bucket in one number.
type entry struct {
	conns   uint32
	resting bool  // its key is in resting
	open    int64 // nanoseconds
	login   int64
}

// New returns a Gate. The clock is time.Now but in tests. Any goroutine.
func New(l Limits, clock func() time.Time) *Gate {
	g := &Gate{clock: clock, base: clock(), seed: maphash.MakeSeed()}
	for i := range g.shards {
		g.shards[i].entries = make(map[key]entry)
	}
	g.Set(l)
	return g
}

// Set changes the limits for what comes from now on. Any goroutine.
func (g *Gate) Set(l Limits) { g.limits.Store(&l) }

// Open counts one more connection of a, which Close takes back, or says why it may
// not be; then it is not counted. The zero Addr, a Unix socket's, may always. Any
// goroutine.
func (g *Gate) Open(a netip.Addr) (ok bool, why string) {
	return g.open(a, true)
}

// Would is what Open would say, without counting. Any goroutine.
func (g *Gate) Would(a netip.Addr) bool {
	ok, _ := g.open(a, false)
	return ok
}

func (g *Gate) open(a netip.Addr, count bool) (ok bool, why string) {
	if !a.IsValid() {
		return true, ""
	}
	l := g.limits.Load()
	now := int64(0)
	if l.ConnectionRate > 0 {
		now = g.now()
	}
	k := keyOf(a)
	s := g.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if l.PerAddress > 0 && int(e.conns) >= l.PerAddress {
		g.Counters.Connections.Add(1)
		return false, tooMany
	}
	if l.ConnectionRate > 0 {
		next, wait := spend(e.open, now, l.ConnectionRate)
		if wait > 0 {
			g.Counters.Rate.Add(1)
			return false, tooFast
		}
		e.open = next
	}
	if !count {
		return true, ""
	}
	e.conns++
	s.put(k, e)
	return true, ""
}

// Close takes one Open of a back. Any goroutine.
func (g *Gate) Close(a netip.Addr) {
	if !a.IsValid() {
		return
	}
	now := g.now()
	k := keyOf(a)
	s := g.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.entries[k]
	if !known || e.conns == 0 {
		return // more than were opened: the caller's mistake, which must not count backwards
	}
	e.conns--
	s.put(k, e)
	g.rest(s, k, now)
}

// Login counts one login of a, or says how long it has to wait; then it is not
// counted. The zero Addr never waits. Any goroutine.
func (g *Gate) Login(a netip.Addr) (ok bool, retry time.Duration) {
	l := g.limits.Load()
	if l.LoginRate <= 0 || !a.IsValid() {
		return true, 0
	}
	now := g.now()
	k := keyOf(a)
	s := g.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	next, wait := spend(e.login, now, l.LoginRate)
	if wait > 0 {
		g.Counters.Logins.Add(1)
		return false, time.Duration(wait)
	}
	e.login = next
	s.put(k, e)
	g.rest(s, k, now)
	return true, 0
}

// Addresses is how many addresses are known now. Any goroutine.
func (g *Gate) Addresses() (n int) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

// spend takes one of rate a second: at is when the rate will be back to nothing.
// It returns that time with one more, or how long there is none to be had.
func spend(at, now int64, rate int) (next, wait int64) {
	each := int64(time.Second) / int64(rate)
	next = max(at, now) + each
	if wait = next - now - burst*int64(time.Second); wait > 0 {
		return at, wait
	}
	return next, 0
}

// now is the time, from 0 when the Gate was made.
func (g *Gate) now() int64 { return int64(g.clock().Sub(g.base)) }

func (g *Gate) shard(k key) *shard {
	return &g.shards[maphash.Comparable(g.seed, k)%shards]
}

func keyOf(a netip.Addr) key {
	b := a.As16()
	if a.Is4() || a.Is4In6() {
		return key{0, be64(b[8:])}
	}
	return key{be64(b[:8]), 0}
}

func be64(b []byte) (n uint64) {
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}

// put stores an entry.
func (s *shard) put(k key, e entry) {
	s.entries[k] = e
	s.most = max(s.most, len(s.entries))
}

// rest decides what becomes of an address that may have no connection left.
func (g *Gate) rest(s *shard, k key, now int64) {
	g.forget(s, now)
	e := s.entries[k]
	switch {
	case e.conns > 0 || e.resting:
	case e.over(now):
		s.drop(k)
	default:
		if len(s.resting) >= maxResting {
			g.Counters.Forgotten.Add(1)
			g.wake(s, s.resting[0], true)
			s.resting = append(s.resting[:0], s.resting[1:]...)
		}
		e.resting = true
		s.entries[k] = e
		s.resting = append(s.resting, k)
	}
}

// over reports whether the entry's rates are back to nothing.
func (e entry) over(now int64) bool { return e.open <= now && e.login <= now }

// forget drops those that have rested long enough, the first ones.
func (g *Gate) forget(s *shard, now int64) {
	n := 0
	for n < len(s.resting) && g.wake(s, s.resting[n], s.entries[s.resting[n]].over(now)) {
		n++
	}
	if n > 0 {
		s.resting = append(s.resting[:0], s.resting[n:]...)
	}
}

// wake takes an address off those that rest, if it has connections again, or is to
// go; then its entry goes as well.
func (g *Gate) wake(s *shard, k key, drop bool) bool {
	e := s.entries[k]
	switch {
	case e.conns > 0:
		e.resting = false
		s.entries[k] = e
	case drop:
		s.drop(k)
	default:
		return false
	}
	return true
}

// drop forgets an address. A map keeps the room that it once needed, so one that
// is nearly empty is made anew.
func (s *shard) drop(k key) {
	delete(s.entries, k)
	if s.most > 1024 && len(s.entries) < s.most/8 {
		fresh := make(map[key]entry, len(s.entries))
		for k, e := range s.entries {
			fresh[k] = e
		}
		s.entries, s.most = fresh, len(fresh)
	}
}
