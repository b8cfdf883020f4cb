package gate

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a gate and the time it goes by.
type rig struct {
	*Gate
	t   *testing.T
	now time.Time
}

func newRig(t *testing.T, l Limits) *rig {
	r := &rig{t: t, now: time.Unix(1_700_000_000, 0)}
	r.Gate = New(l, func() time.Time { return r.now })
	return r
}

func (r *rig) open(addr string, want bool) {
	r.t.Helper()
	ok, why := r.Open(netip.MustParseAddr(addr))
	if ok != want || ok != (why == "") {
		r.t.Fatalf("Open(%s): %v, %q; want %v", addr, ok, why, want)
	}
}

func (r *rig) close(addr string) { r.Close(netip.MustParseAddr(addr)) }

func (r *rig) addresses(want int) {
	r.t.Helper()
	if n := r.Addresses(); n != want {
		r.t.Fatalf("%d addresses are known, want %d", n, want)
	}
}

func TestConnectionsOfOneAddress(t *testing.T) {
	r := newRig(t, Limits{PerAddress: 2})
	for range 3 {
		r.open("192.0.2.1", true)
		r.open("192.0.2.1", true)
		r.open("192.0.2.1", false)
		r.open("192.0.2.2", true)
		r.close("192.0.2.1")
		r.open("192.0.2.1", true)
		r.open("192.0.2.1", false)
		r.addresses(2)
		r.close("192.0.2.1")
		r.close("192.0.2.1")
		r.close("192.0.2.2")
		r.addresses(0)
	}
	if n := r.Counters.Connections.Load(); n != 6 {
		t.Errorf("%d refusals are counted, want 6", n)
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.129", false},
		{"::1", "192.0.2.1", false},
		{"0.0.0.0", "::", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		r := newRig(t, Limits{PerAddress: 1})
		r.open(c.a, true)
		r.open(c.b, !c.same)
	}
}

func TestUnixSocketsAlwaysMay(t *testing.T) {
	r := newRig(t, Limits{PerAddress: 1, ConnectionRate: 1, LoginRate: 1})
	for range 100 {
		if ok, _ := r.Open(netip.Addr{}); !ok {
			t.Fatal("a connection is refused")
		}
		if ok, _ := r.Login(netip.Addr{}); !ok {
			t.Fatal("a login is refused")
		}
	}
	for range 100 {
		r.Close(netip.Addr{})
	}
	r.addresses(0)
}

func TestConnectionRate(t *testing.T) {
	r := newRig(t, Limits{ConnectionRate: 4})
	const a = "192.0.2.1"
	for range 40 { // ten seconds' worth at once
		r.open(a, true)
		r.close(a)
	}
	r.open(a, false)
	r.open("192.0.2.2", true)
	for range 20 { // then the rate, to the nanosecond, whatever is refused meanwhile
		r.now = r.now.Add(250*time.Millisecond - 1)
		r.open(a, false)
		r.now = r.now.Add(1)
		r.open(a, true)
		r.close(a)
		r.open(a, false)
	}
	if n := r.Counters.Rate.Load(); n != 41 {
		t.Errorf("%d refusals are counted, want 41", n)
	}
	r.now = r.now.Add(time.Hour) // saved up: no more than ten seconds' worth
	for range 40 {
		r.open(a, true)
	}
	r.open(a, false)
}

func TestLoginRateSaysHowLongToWait(t *testing.T) {
	r := newRig(t, Limits{LoginRate: 2})
	a := netip.MustParseAddr("2001:db8::1")
	for range 20 {
		if ok, _ := r.Login(a); !ok {
			t.Fatal("refused within the burst")
		}
	}
	for range 5 {
		ok, retry := r.Login(a)
		if ok || retry != 500*time.Millisecond {
			t.Fatalf("got %v, %v; want to wait 500ms", ok, retry)
		}
		r.now = r.now.Add(200 * time.Millisecond)
		if ok, retry = r.Login(a); ok || retry != 300*time.Millisecond {
			t.Fatalf("got %v, %v; want to wait 300ms", ok, retry)
		}
		r.now = r.now.Add(retry)
		if ok, _ = r.Login(a); !ok {
			t.Fatal("refused after the wait")
		}
	}
	if n := r.Counters.Logins.Load(); n != 10 {
		t.Errorf("%d refusals are counted, want 10", n)
	}
}

func TestWouldCountsNoConnection(t *testing.T) {
	r := newRig(t, Limits{PerAddress: 1, ConnectionRate: 1})
	a := netip.MustParseAddr("192.0.2.1")
	for range 100 {
		if !r.Would(a) {
			t.Fatal("it would not, though nothing is open")
		}
	}
	r.addresses(0)
	r.open("192.0.2.1", true)
	if r.Would(a) {
		t.Error("it would, though there is one already")
	}
}

// Limits that change count what was there before them.
func TestSet(t *testing.T) {
	r := newRig(t, Limits{})
	for range 10 {
		r.open("192.0.2.1", true)
	}
	r.Set(Limits{PerAddress: 9})
	r.open("192.0.2.1", false)
	r.close("192.0.2.1")
	r.open("192.0.2.1", false)
	r.close("192.0.2.1")
	r.open("192.0.2.1", true)
	r.open("192.0.2.1", false)
	r.Set(Limits{})
	r.open("192.0.2.1", true)
	for range 10 {
		r.close("192.0.2.1")
	}
	r.addresses(0)
	r.close("192.0.2.1") // once too often
	r.Set(Limits{PerAddress: 1})
	r.open("192.0.2.1", true)
	r.open("192.0.2.1", false)
}

// An address is remembered until its rate is back to nothing.
func TestAddressesAreForgotten(t *testing.T) {
	r := newRig(t, Limits{ConnectionRate: 1})
	var addrs []netip.Addr
	for i := range 10_000 {
		addrs = append(addrs, address(i))
		if ok, why := r.Open(addrs[i]); !ok {
			t.Fatal(why)
		}
	}
	for _, a := range addrs {
		r.Close(a)
	}
	r.addresses(10_000)
	if ok, _ := r.Open(addrs[0]); !ok {
		t.Fatal("refused")
	}
	r.now = r.now.Add(3 * time.Second)
	for i := range 3000 { // in every shard something happens
		a := address(1_000_000 + i)
		_, _ = r.Open(a)
		r.Close(a)
	}
	r.addresses(1 + 3000)
	r.Close(addrs[0])
	r.now = r.now.Add(3 * time.Second)
	for i := range 3000 {
		a := address(2_000_000 + i)
		_, _ = r.Open(a)
		r.Close(a)
	}
	r.addresses(3000)
	if n := r.Counters.Forgotten.Load(); n != 0 {
		t.Errorf("%d were forgotten too early", n)
	}
}

// However many addresses come, those without a connection are bounded, and those
// with one are all known.
func TestTooManyAddresses(t *testing.T) {
	r := newRig(t, Limits{PerAddress: 1, ConnectionRate: 1, LoginRate: 1})
	const n = 200_000
	for i := range n {
		a := address(i)
		if ok, why := r.Open(a); !ok {
			t.Fatal(why)
		}
		r.Login(a)
		if i%2 == 0 {
			r.Close(a)
		}
	}
	if left := r.Addresses(); left > n/2+shards*maxResting || left < n/2+shards*maxResting/2 {
		t.Errorf("%d addresses are known", left)
	}
	if r.Counters.Forgotten.Load() == 0 {
		t.Error("nothing is counted as forgotten")
	}
	r.now = r.now.Add(time.Minute)
	for i := range n {
		if ok, _ := r.Open(address(i)); ok != (i%2 == 0) {
			t.Fatalf("Open of address %d: %v", i, ok)
		}
	}
	for i := range n {
		r.Close(address(i))
	}
	r.now = r.now.Add(time.Minute)
	for i := range 3000 {
		a := address(n + i)
		_, _ = r.Open(a)
		r.Close(a)
	}
	r.addresses(3000)
	room := 0
	for i := range r.shards {
		room += r.shards[i].most
	}
	if room > n/4 {
		t.Errorf("the maps have room for %d entries, and 3000 have one", room)
	}
}

// One address that comes and goes rests once, and what is closed too often does
// not count backwards.
func TestOneAddressRestsOnce(t *testing.T) {
	r := newRig(t, Limits{PerAddress: 2, ConnectionRate: 1000})
	a := address(1)
	for range 5000 {
		_, _ = r.Open(a)
		r.Close(a)
		r.Close(a)
	}
	if n := len(r.shard(keyOf(a)).resting); n != 1 {
		t.Errorf("it rests %d times", n)
	}
	if e := r.shard(keyOf(a)).entries[keyOf(a)]; e.conns != 0 {
		t.Errorf("%d connections are counted", e.conns)
	}
}

// Against a model that keeps everything.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := Limits{PerAddress: 5, ConnectionRate: 2, LoginRate: 1}
	r := newRig(t, l)
	type model struct {
		conns         int
		opens, logins float64 // tokens left
		at            time.Time
	}
	all := make([]model, 20)
	for i := range all {
		all[i] = model{opens: 20, logins: 10, at: r.now}
	}
	for range 50_000 {
		r.now = r.now.Add(time.Duration(rnd.IntN(50)) * time.Millisecond)
		i := rnd.IntN(len(all))
		m, a := &all[i], address(i)
		passed := r.now.Sub(m.at).Seconds()
		m.opens, m.logins, m.at = min(20, m.opens+2*passed), min(10, m.logins+passed), r.now
		const close = 1e-6
		switch rnd.IntN(3) {
		case 0:
			ok, _ := r.Open(a)
			if want := m.conns < 5 && m.opens > 1-close; ok != want {
				t.Fatalf("Open: %v, the model has %+v", ok, *m)
			}
			if ok {
				m.conns++
				m.opens--
			}
		case 1:
			if m.conns > 0 {
				r.Close(a)
				m.conns--
			}
		case 2:
			ok, retry := r.Login(a)
			if want := m.logins > 1-close; ok != want {
				t.Fatalf("Login: %v, the model has %+v", ok, *m)
			}
			if ok {
				m.logins--
			} else if off := retry.Seconds() - (1 - m.logins); off > close || off < -close {
				t.Fatalf("Login: wait %v, the model has %+v", retry, *m)
			}
		}
	}
}

func TestKnownAddressesAllocateNothing(t *testing.T) {
	r := newRig(t, Limits{PerAddress: 10, ConnectionRate: 1_000_000, LoginRate: 1_000_000})
	a := address(1)
	_, _ = r.Open(a)
	if n := testing.AllocsPerRun(1000, func() {
		_, _ = r.Open(a)
		_, _ = r.Login(a)
		r.Close(a)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestManyGoroutines(t *testing.T) {
	g := New(Limits{PerAddress: 50, ConnectionRate: 100_000, LoginRate: 100}, time.Now)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 5000 {
				a := address(i % 30)
				ok, _ := g.Open(a)
				g.Login(a)
				if i%500 == 0 {
					g.Set(Limits{PerAddress: 40 + i%20, ConnectionRate: 100_000, LoginRate: 100})
				}
				if ok {
					g.Close(a)
				}
			}
		})
	}
	all.Wait()
	for i := range 30 {
		g.Set(Limits{PerAddress: 1})
		if ok, why := g.Open(address(i)); !ok {
			t.Errorf("address %d has nothing open: %s", i, why)
		}
	}
}

func address(i int) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], 0x20010db8_00000000+uint64(i))
	if i%3 == 0 {
		var b4 [4]byte
		binary.BigEndian.PutUint32(b4[:], uint32(i))
		return netip.AddrFrom4(b4)
	}
	return netip.AddrFrom16(b)
}

func BenchmarkOpenClose(b *testing.B) {
	g := New(Limits{PerAddress: 10, ConnectionRate: 1_000_000}, time.Now)
	a := address(1)
	_, _ = g.Open(a)
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := g.Open(a); ok {
			g.Close(a)
		}
	}
}
