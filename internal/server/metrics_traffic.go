package server

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"gameserverd/internal/metrics"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// totals are the sums over all loops.
type totals struct {
	hub       rpc.HubStats
	exemplars []metrics.Exemplars // by method
	exemplary []bool              // by method: it has one

	in, out uint64 // bytes
	players int    // in memory
}

// sum adds up what the loops last said. The memory is used again.
func (t *totals) sum(loops []*loopNumbers) {
	methods := 0
	for _, n := range loops {
		methods = max(methods, len(n.hub.Methods))
	}
	if len(t.hub.Methods) < methods {
		t.hub.Methods = make([]rpc.MethodStats, methods)
		t.exemplars, t.exemplary = make([]metrics.Exemplars, methods), make([]bool, methods)
	}
	clear(t.hub.Methods)
	clear(t.exemplars)
	clear(t.exemplary)
	open := t.hub.Open
	if open == nil {
		open = make(map[rpc.Carrier]int)
	}
	clear(open)
	t.hub = rpc.HubStats{Methods: t.hub.Methods, Open: open}
	t.in, t.out, t.players = 0, 0, 0
	for _, n := range loops {
		t.add(n)
	}
}

func (t *totals) add(n *loopNumbers) {
	for i := range n.hub.Methods {
		t.addMethod(i, &n.hub.Methods[i])
	}
	t.hub.Unknown += n.hub.Unknown
	t.hub.Gone += n.hub.Gone
	t.hub.Asked.Calls += n.hub.Asked.Calls
	for code, count := range n.hub.Asked.Errors {
		t.hub.Asked.Errors[code] += count
	}
	t.hub.Asked.Time.Add(&n.hub.Asked.Time)
	t.hub.MailboxSize.Add(&n.hub.MailboxSize)
	for carrier, count := range n.hub.Open {
		t.hub.Open[carrier] += count
	}
	t.players += n.players
	c := &n.conns
	t.in, t.out = t.in+c.BytesIn, t.out+c.BytesOut
}

func (t *totals) addMethod(i int, m *rpc.MethodStats) {
	into := &t.hub.Methods[i]
	into.Calls += m.Calls
	for code, count := range m.Errors {
		into.Errors[code] += count
	}
	into.Queue.Add(&m.Queue)
	into.Run.Add(&m.Run)
	if m.Exemplars == nil {
		return
	}
	t.exemplary[i] = true
	for class, e := range m.Exemplars {
		if last := &t.exemplars[i][class]; e.Trace != "" && e.At.After(last.At) {
			*last = metrics.Exemplar(e)
		}
	}
}

// addCalls adds what there is of each method, and of all.
func (s *Server) addCalls(b *metrics.Batch, t *totals) {
	codes := rpc.Codes()
	for i, name := range s.numbers.methods {
		if i >= len(t.hub.Methods) {
			break // no loop has said anything yet
		}
		m := &t.hub.Methods[i]
		b.Set(metrics.Calls, float64(answered(m)), name, metrics.OK)
		addErrors(b, metrics.Calls, codes, m.Errors[:], name)
		b.Histogram(metrics.CallQueue, &m.Queue, nil, name)
		var exemplars *metrics.Exemplars
		if t.exemplary[i] {
			exemplars = &t.exemplars[i]
		}
		waits := ""
		if s.numbers.waits[i] {
			waits = metrics.WaitsClient
		}
		b.Histogram(metrics.CallRun, &m.Run, exemplars, name, waits)
	}
	b.Set(metrics.Calls, float64(t.hub.Unknown), metrics.NoMethod, string(wire.Unimplemented))
	b.Set(metrics.Underway, float64(s.peers.Underway()))
	b.Set(metrics.Asked, float64(t.hub.Asked.Calls))
	addErrors(b, metrics.AskedErrors, codes, t.hub.Asked.Errors[:])
	b.Histogram(metrics.AskedTime, &t.hub.Asked.Time, nil)
	c := &s.peers.Counters
	b.Set(metrics.Stray, float64(c.StrayResponses.Load()))
	b.Set(metrics.Panics, float64(c.Panics.Load()))
	b.Set(metrics.FailedNotes, float64(c.FailedNotifications.Load()))
	b.Set(metrics.Mailbox, float64(s.peers.Waiting()))
	b.Histogram(metrics.MailboxSize, &t.hub.MailboxSize, nil)
	b.Set(metrics.MailboxFull, float64(c.MailboxFull.Load()))
	b.Set(metrics.OverRate, float64(c.OverRate.Load()), "request")
	b.Set(metrics.OverRate, float64(c.OverRateDropped.Load()), "notification")
	b.Set(metrics.OverRate, float64(s.gate.Counters.Logins.Load()), "login")
}

// answered is how many of the calls ended without an error: a call has one code at most.
func answered(m *rpc.MethodStats) uint64 {
	n := m.Calls
	for _, failed := range m.Errors {
		n -= failed
	}
	return n
}

// addErrors adds the codes that there were, behind labels. internal is always there,
// so that the first one of a method is seen to have come.
func addErrors(b *metrics.Batch, f *metrics.Family, codes []wire.Code, counts []uint64, labels ...string) {
	for i, code := range codes {
		if counts[i] > 0 || code == wire.Internal {
			b.Set(f, float64(counts[i]), append(labels, string(code))...)
		}
	}
}

func (s *Server) addLoops(b *metrics.Batch, loops []*loopNumbers) {
	slow := map[string]uint64{}
	for i, n := range loops {
		index := strconv.Itoa(i)
		b.Set(metrics.LoopTurns, float64(n.loop.Turns), index)
		b.Histogram(metrics.LoopTurn, &n.loop.Turn, nil, index)
		b.Histogram(metrics.LoopLag, &n.loop.Lag, nil, index)
		b.Set(metrics.LoopCallbacks, float64(n.loop.Waiting), index)
		b.Set(metrics.LoopConns, float64(s.sets[i].Len()), index)
		b.Set(metrics.LoopInbox, float64(n.hub.InboxBytes), index)
		for label, count := range n.loop.Slow {
			slow[cmp.Or(label, "-")] += count
		}
	}
	for _, label := range slices.Sorted(maps.Keys(slow)) {
		b.Set(metrics.LoopSlow, float64(slow[label]), label)
	}
	pool := s.pool.Stats()
	b.Set(metrics.Workers, float64(pool.Running), "running")
	b.Set(metrics.Workers, float64(pool.Idle), "idle")
	b.Set(metrics.WorkerQueue, float64(pool.Waiting))
	b.Set(metrics.WorkerRefused, float64(pool.Refused))
}

func (s *Server) addConnections(b *metrics.Batch, t *totals) {
	carriers := slices.SortedFunc(maps.Keys(t.hub.Open), func(a, b rpc.Carrier) int {
		return cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Framing, b.Framing))
	})
	for _, c := range carriers {
		b.Set(metrics.Connections, float64(t.hub.Open[c]), c.Transport, c.Framing)
	}
	b.Set(metrics.ConnectionMax, float64(s.maxConnections.Load()))
	b.Set(metrics.Online, float64(s.peers.Online()))
	accepted := s.accept.Stats()
	b.Set(metrics.Accepted, float64(accepted.Accepted))
	below := s.transport.Counters()
	for _, why := range slices.Sorted(maps.Keys(below.Ended)) { // so that a page finds each where it was
		b.Set(metrics.Refused, float64(below.Ended[why]), why)
	}
	b.Set(metrics.Refused, float64(accepted.Refused), "crowd")
	b.Set(metrics.AcceptPaused, float64(accepted.Failed))
	closed := s.peers.Counters.Closed()
	for _, code := range slices.Sorted(maps.Keys(closed)) {
		b.Set(metrics.Closed, float64(closed[code]), code)
	}
	b.Set(metrics.Closed, float64(t.hub.Gone), "gone")
	b.Set(metrics.Handshakes, float64(below.Handshakes))
	b.Set(metrics.Received, float64(t.in))
	b.Set(metrics.Sent, float64(t.out))
}

// addMemory adds what clients' bytes take, and who was shed for want of it.
func (s *Server) addMemory(b *metrics.Batch) {
	b.Set(metrics.WaitingBytes, float64(s.budget.Used()))
	b.Set(metrics.WaitingMax, float64(s.budget.Limit()))
	b.Set(metrics.InputBytes, float64(s.input.Used()))
	b.Set(metrics.InputMax, float64(s.input.Limit()))
	c := &s.peers.Counters
	b.Set(metrics.Shed, float64(c.ShedNew.Load()), "new")
	b.Set(metrics.Shed, float64(c.ShedStrangers.Load()), "stranger")
	b.Set(metrics.Shed, float64(c.ShedInput.Load()), "input")
	b.Set(metrics.Shed, float64(s.pressure.shed.Load()), "output")
}
