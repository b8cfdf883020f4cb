package attack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// idleTime is how long the good client is measured before the first scenario, and
// again behind one in which it was slow.
const idleTime = time.Second

// Run attacks as o says, and returns what came of it: every scenario that was
// reached when ctx ended. An error means that nothing was attacked: o is wrong or
// not Allowed, nothing listens there, or the good client was not let in (a
// *LoginError). Any goroutine; it blocks.
func Run(ctx context.Context, o Options) (*Report, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	a := &attack{o: o, network: "unix", target: strings.TrimPrefix(o.Addr, "unix:")}
	if a.target == o.Addr {
		if err := a.locate(ctx); err != nil {
			return nil, err
		}
	}
	if o.TLS != nil && o.TLS.ServerName == "" {
		a.o.TLS = o.TLS.Clone()
		a.o.TLS.ServerName = o.serverName()
	}
	if o.PID == 0 {
		a.o.PID = listenerOf(a.network, a.target)
	}
	g, err := newGood(ctx, a)
	if err != nil {
		return nil, err
	}
	defer g.close()
	report := &Report{Addr: o.Addr, TLS: o.TLS != nil, PID: a.o.PID, Began: time.Now()}
	a.calm(ctx, g, report)
	for _, s := range scenarios {
		if len(o.Only) > 0 && !slices.Contains(o.Only, s.name) {
			continue
		}
		if ctx.Err() != nil {
			report.Interrupted = true
			break
		}
		report.add(a.play(ctx, s, g, report.Idle))
	}
	report.Seconds = time.Since(report.Began).Seconds()
	return report, nil
}

// locate finds the address behind o.Addr, and whether it may be attacked. All
// connections go to this one: a name that means another host later changes nothing.
func (a *attack) locate(ctx context.Context) error {
	host, port, err := net.SplitHostPort(a.o.Addr)
	if err != nil {
		return fmt.Errorf("%s is no address; it takes HOST:PORT or unix:/path", a.o.Addr)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	if err := a.o.Allowed(ips); err != nil {
		return err
	}
	// IPv4 first: that is where a daemon listens unless told otherwise.
	slices.SortStableFunc(ips, func(x, y netip.Addr) int { return x.Unmap().BitLen() - y.Unmap().BitLen() })
	a.network, a.target = "tcp", net.JoinHostPort(ips[0].Unmap().String(), port)
	return nil
}

// calm measures the good client while nothing attacks.
func (a *attack) calm(ctx context.Context, g *good, report *Report) {
	a.o.Progress(Progress{Scenario: "idle"})
	report.Idle = g.after(ctx, idleTime)
}

// play plays one scenario, and judges it.
func (a *attack) play(ctx context.Context, s scenario, g *good, idle Good) Outcome {
	out := Outcome{Name: s.name, What: s.what}
	if s.probe != nil {
		if out.Skipped = s.probe(a); out.Skipped != "" {
			out.OK = true
			a.o.Progress(Progress{Scenario: s.name, Done: &out})
			return out
		}
	}
	kinds := s.kinds(a)
	expected := make(map[string]expect, len(kinds))
	for _, k := range kinds {
		expected[k.name] = k.expect
	}
	hands := a.o.Connections
	if s.hands > 0 {
		hands = min(hands, s.hands)
	}
	g.take()
	stop := watch(a.o.PID)
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, a.o.Duration)
	defer cancel()
	r := &raid{
		attack: a, ctx: limited, end: began.Add(a.o.Duration), answers: map[string]int{},
		pace: newPacer(a.o.Rate), logins: newPacer(a.o.Rate * loginsPerConnection),
	}
	context.AfterFunc(ctx, cancel)
	told := make(chan struct{})
	go func() {
		defer close(told)
		r.tell(s.name, g, began)
	}()
	r.run(kinds, hands)
	cancel()
	<-told
	seen := observed{ended: r.ended, good: g.take(), idle: idle, memory: stop(), answers: r.answers}
	out.Seconds = time.Since(began).Seconds()
	if ctx.Err() == nil {
		seen.newcomer = a.newcomer(ctx)
	}
	if !judgeLatency(seen.good, seen.idle, a.o.Bounds).OK {
		// Perhaps it is the machine that is slower than it was: without the attack, too?
		g.take()
		if again := g.after(ctx, idleTime); again.P99 > idle.P99 {
			seen.idle = again
		}
	}
	out.fill(seen, judge(expected, seen, a.o.Bounds))
	a.o.Progress(Progress{Scenario: s.name, Done: &out})
	return out
}

// tell tells the progress of a raid until it is over.
func (r *raid) tell(name string, g *good, began time.Time) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		r.mu.Lock()
		ended := len(r.ended)
		r.mu.Unlock()
		r.o.Progress(Progress{Scenario: name, Elapsed: time.Since(began), Open: int(r.open.Load()), Ended: ended, Good: g.peek()})
	}
}
