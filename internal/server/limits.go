package server

import (
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/conn"
	"gameserverd/internal/loop"
	"gameserverd/internal/rpc"
)

// pressure keeps the memory for clients within limits.max_total_write_buffer_bytes
// and limits.max_total_input_bytes. As either is used up it sheds, in this order,
// which conn.Level has in numbers:
//
//  1. new connections are refused: told too_many_connections
//  2. connections without a login are closed: told the same
//  3. the connections with the most bytes waiting are closed, on each loop its own:
//     with output as slow_consumer, with input as too_many_connections
//
// Never shed is what a drain does, what a session says last, and answers that fit
// the smallest buffer, those to heartbeats among them; the admin server is no
// client. The first loop looks, when a level has changed and then each tenth of a
// second until all is calm.
type pressure struct {
	// immutable after New
	log    *zap.Logger
	peers  *rpc.Peers
	loops  []*loop.Loop
	sets   []*conn.Set
	output *conn.Budget
	input  *conn.Budget

	// any goroutine
	posted atomic.Bool  // a look is on its way
	shed   atomic.Int64 // connections closed for their output

	// first loop only
	level  conn.Level // that was acted on
	told   conn.Level // that was logged last
	toldAt time.Time
	timer  *loop.Timeout // of the next look; nil: none
}

const (
	// lookEvery is how often memory is looked at while it is short.
	lookEvery = 100 * time.Millisecond
	// tellEvery is how often a level is logged at most: who wants to can make it
	// go up and down.
	tellEvery = time.Second
	// shedTo is how much may be used after the largest were closed, in percent.
	shedTo = 90
)

// newBudgets makes the budgets of a process.
func newBudgets(l config.Limits) (output, input *conn.Budget) {
	return conn.NewBudget(l.MaxTotalWriteBufferBytes), conn.NewBudget(l.MaxTotalInputBytes)
}

// watchPressure begins to look after the budgets. Before the loops turn.
func (s *Server) watchPressure() {
	p := &pressure{log: s.log, peers: s.peers, loops: s.loops, sets: s.sets, output: s.budget, input: s.input}
	for _, b := range []*conn.Budget{p.output, p.input} {
		b.OnLevel(p.wake)
	}
	s.pressure = p
}

// wake has the first loop look. Any goroutine.
func (p *pressure) wake() {
	if !p.posted.Swap(true) {
		p.loops[0].AddCallback(func() {
			p.posted.Store(false)
			p.look()
		})
	}
}

// look acts on the level of the budget that is used more. First loop only.
func (p *pressure) look() {
	is := max(p.output.Level(), p.input.Level())
	if is != p.level {
		p.level = is
		p.peers.SetPressure(rpc.Pressure(min(is, conn.Strangers))) // which has the same order
	}
	if p.output.Level() >= conn.Largest {
		p.shedOutput()
	}
	if p.input.Level() >= conn.Largest {
		used := p.input.Used()
		p.peers.ShedInput(used-p.input.Limit()/100*shedTo, used, p.mean(used))
	}
	p.tell()
	if p.timer == nil && (p.level != conn.Calm || p.told != p.level) {
		p.timer = p.loops[0].CallLater(lookEvery, func() {
			p.timer = nil
			p.look()
		})
	}
}

// shedOutput closes those with the most bytes to be sent, on every loop.
func (p *pressure) shedOutput() {
	used := p.output.Used()
	want, least := used-p.output.Limit()/100*shedTo, p.mean(used)
	for i, l := range p.loops {
		l.AddCallback(func() { p.shed.Add(int64(p.sets[i].Shed(want, used, least))) })
	}
}

// mean is what each connection has of used bytes on average. Who has less is not
// the cause, though it may be the largest of its loop; and somebody has more.
func (p *pressure) mean(used int) int { return used / max(1, p.peers.Connections()) }

// tell logs a level that has changed.
func (p *pressure) tell() {
	now := p.loops[0].Time()
	if p.told == p.level || now.Sub(p.toldAt) < tellEvery {
		return
	}
	p.told, p.toldAt = p.level, now
	counters := &p.peers.Counters
	p.log.Warn("memory for clients", zap.Stringer("pressure", p.level),
		zap.Int("output", p.output.Used()), zap.Int("max_output", p.output.Limit()),
		zap.Int("input", p.input.Used()), zap.Int("max_input", p.input.Limit()),
		zap.Int64("refused", counters.ShedNew.Load()), zap.Int64("without_login", counters.ShedStrangers.Load()),
		zap.Int64("for_output", p.shed.Load()), zap.Int64("for_input", counters.ShedInput.Load()))
}

// admit decides, before anything is spent on it, whether a connection may stay long
// enough to be told why it may not stay longer. When too many wait to be told, or
// were told a moment ago, those that would be refused are closed without a word;
// others may come all the same.
func (s *Server) admit(peer netip.AddrPort) bool {
	n := 0
	for _, set := range s.sets {
		n += set.Len() // those on their way to another loop included
	}
	most := int(s.maxConnections.Load())
	if s.peers.Refusing() >= rpc.MaxRefusing {
		return n < most && s.budget.Level() == conn.Calm && s.input.Level() == conn.Calm && s.gate.Would(peer.Addr())
	}
	return n < most+spare(most)
}
