package conn

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An address that answers is the only one that is tried.
func TestDialTakesTheFirstAddress(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	at := netip.MustParseAddrPort(listenOn(t, "tcp", "127.0.0.1:0").Addr().String())
	other, _ := socketAt(t, "127.0.0.2", at.Port())
	if err := unix.Listen(other, 10); err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	o := DialOptions{FallbackDelay: time.Hour, Resolver: resolvesTo("127.0.0.1", "127.0.0.2")}
	s, err := result(t, g.dial(o, fmt.Sprintf("host.test:%d", at.Port())))
	if err != nil {
		t.Fatal(err)
	}
	if s.Peer() != at {
		t.Errorf("connected to %v, want %v", s.Peer(), at)
	}
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(other), Events: unix.POLLIN}}, 0); n != 0 {
		t.Error("the second address was tried too")
	}
	if after := openFDs(t); after != before+1 {
		t.Errorf("%d descriptors, %d before the connection", after, before)
	}
}

// An address that fails costs no delay.
func TestDialFallsBackAfterAFailure(t *testing.T) {
	for _, dead := range [][]string{{"127.0.0.2"}, {"::1"}, {"::1", "127.0.0.2", "127.0.0.3"}} {
		t.Run(strings.Join(dead, " "), func(t *testing.T) {
			g := newStreamRig(t, StreamOptions{})
			ln := listenOn(t, "tcp", "127.0.0.1:0")
			at := netip.MustParseAddrPort(ln.Addr().String())
			for _, ip := range dead {
				refusing(t, ip, at.Port())
			}
			o := DialOptions{FallbackDelay: time.Hour, Resolver: resolvesTo(append(slices.Clone(dead), "127.0.0.1")...)}
			before := openFDs(t)
			s, err := result(t, g.dial(o, fmt.Sprintf("host.test:%d", at.Port())))
			if err != nil {
				t.Fatal(err)
			}
			if s.Peer() != at {
				t.Errorf("connected to %v, want %v", s.Peer(), at)
			}
			if after := openFDs(t); after != before+1 {
				t.Errorf("%d descriptors, %d before the connection", after, before)
			}
		})
	}
}

// An address that does not answer is left alone for FallbackDelay; then the next
// is tried beside it, and whoever is second is given up.
func TestDialFallsBackAfterTheDelay(t *testing.T) {
	for _, dead := range []string{"127.0.0.2", "::1"} {
		t.Run(dead, func(t *testing.T) {
			g := newStreamRig(t, StreamOptions{})
			ln := listenOn(t, "tcp", "127.0.0.1:0")
			at := netip.MustParseAddrPort(ln.Addr().String())
			deaf(t, dead, at.Port())
			before := openFDs(t)
			start := time.Now()
			o := DialOptions{FallbackDelay: 30 * time.Millisecond, Resolver: resolvesTo(dead, "127.0.0.1")}
			s, err := result(t, g.dial(o, fmt.Sprintf("host.test:%d", at.Port())))
			if err != nil {
				t.Fatal(err)
			}
			if s.Peer() != at {
				t.Errorf("connected to %v, want %v", s.Peer(), at)
			}
			if took := time.Since(start); took < o.FallbackDelay {
				t.Errorf("the second address was tried after %v, want %v", took, o.FallbackDelay)
			}
			if after := openFDs(t); after != before+1 {
				t.Errorf("%d descriptors, %d before the connection", after, before)
			}
		})
	}
}

// The first address may still win when the second is under way.
func TestDialFirstAddressWinsLate(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	first, at := deaf(t, "127.0.0.1", 0)
	_, second := deaf(t, "127.0.0.2", at.Port())
	before := openFDs(t)
	o := DialOptions{FallbackDelay: time.Millisecond, Resolver: resolvesTo("127.0.0.1", "127.0.0.2")}
	f := g.dial(o, fmt.Sprintf("host.test:%d", at.Port()))
	g.until("both are tried", func() bool { return openFDs(t) == before+2 })
	// Make room: for those that fill the backlog, and then for the dial, whose
	// kernel asks again after a second.
	held := 0
	for end := time.Now().Add(deadline); !f.Done() && time.Now().Before(end); {
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(first), Events: unix.POLLIN}}, 20); n == 0 {
			continue
		}
		c, _, err := unix.Accept(first)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		held++
	}
	s, err := result(t, f)
	if err != nil {
		t.Fatal(err)
	}
	if s.Peer() != at {
		t.Errorf("connected to %v, want %v; the other was %v", s.Peer(), at, second)
	}
	if after := openFDs(t); after != before+held+1 {
		t.Errorf("%d descriptors, want %d", after, before+held+1)
	}
}

func TestDialAllAddressesFail(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	at := refusing(t, "127.0.0.1", 0)
	refusing(t, "127.0.0.2", at.Port())
	refusing(t, "::1", at.Port())
	o := DialOptions{FallbackDelay: time.Hour, Resolver: resolvesTo("127.0.0.1", "127.0.0.2", "::1")}
	before := openFDs(t)
	_, err := result(t, g.dial(o, fmt.Sprintf("host.test:%d", at.Port())))
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("error %v", err)
	}
	want := fmt.Sprintf("dial host.test:%d: 127.0.0.1:%[1]d: connect: connection refused; [::1]:%[1]d: connect: connection refused; "+
		"127.0.0.2:%[1]d: connect: connection refused", at.Port())
	if err.Error() != want {
		t.Errorf("error text\n%q, want\n%q", err, want)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestDialTimeoutEndsAllAttempts(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	_, at := deaf(t, "127.0.0.1", 0)
	deaf(t, "127.0.0.2", at.Port())
	refusing(t, "127.0.0.3", at.Port())
	before := openFDs(t)
	o := DialOptions{Timeout: 200 * time.Millisecond, FallbackDelay: time.Millisecond, Resolver: resolvesTo("127.0.0.3", "127.0.0.1", "127.0.0.2")}
	f := g.dial(o, fmt.Sprintf("host.test:%d", at.Port()))
	g.until("both that do not answer are tried", func() bool { return f.Done() || openFDs(t) == before+2 })
	wantErr(t, f, ErrDialTimeout)
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestDialCancelledLeavesNoDescriptor(t *testing.T) {
	cause := errors.New("not wanted any more")
	_, at := deaf(t, "127.0.0.1", 0)
	deaf(t, "127.0.0.2", at.Port())
	for name, c := range map[string]struct {
		resolver Resolver
		attempts int
	}{
		"connecting": {resolvesTo("127.0.0.1", "127.0.0.2"), 2},
		"resolving":  {neverResolves, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStreamRig(t, StreamOptions{})
			d := NewDialer(DialOptions{Resolver: c.resolver, FallbackDelay: time.Millisecond})
			before := openFDs(t)
			for range 20 { // the resolver and the dial hear of it in any order
				ctx, cancel := context.WithCancelCause(context.Background())
				f := d.Dial(ctx, g.ss, fmt.Sprintf("host.test:%d", at.Port()))
				g.until("the attempts are under way", func() bool { return openFDs(t) == before+c.attempts })
				cancel(cause)
				wantErr(t, f, cause)
				if after := openFDs(t); after != before {
					t.Errorf("%d descriptors, %d before", after, before)
				}
			}
		})
	}
	t.Run("before", func(t *testing.T) {
		g := newStreamRig(t, StreamOptions{})
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		ln := listenOn(t, "unix", filepath.Join(t.TempDir(), "s")) // would connect at once
		wantErr(t, NewDialer(DialOptions{}).Dial(ctx, g.ss, "unix:"+ln.Addr().String()), cause)
	})
}

func TestInterleaveFamilies(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"1.0.0.1 1.0.0.2", "1.0.0.1 1.0.0.2"},
		{"1::1 1::2", "1::1 1::2"},
		{"1::1 1.0.0.1 1::2 1.0.0.2", "1::1 1.0.0.1 1::2 1.0.0.2"},
		{"1::1 1::2 1::3 1.0.0.1 1.0.0.2", "1::1 1.0.0.1 1::2 1.0.0.2 1::3"},
		{"1.0.0.1 1.0.0.2 1.0.0.3 1::1", "1.0.0.1 1::1 1.0.0.2 1.0.0.3"},
		{"::ffff:1.0.0.1 1.0.0.2", "1.0.0.1 1.0.0.2"},
	} {
		var in []netip.Addr
		for _, s := range strings.Fields(c.in) {
			in = append(in, netip.MustParseAddr(s))
		}
		var out []string
		for _, a := range interleave(in) {
			out = append(out, a.String())
		}
		if got := strings.Join(out, " "); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.in, got, c.want)
		}
	}
}
