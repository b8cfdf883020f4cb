package bench

// window is the time that is measured, in ns of the run's clock: [from, until).
type window struct {
	from, until int64
}

func (w window) holds(t int64) bool { return t >= w.from && t < w.until }

// pacer says when the calls of an open loop are due: the k-th at first + k*every, however long the ones before it take.
// A call that cannot be sent when it is due stays due, and its latency is counted from then on: a stalled server does
// not hide the calls that it delays (no coordinated omission).
type pacer struct {
	first float64 // ns
	every float64 // ns between two calls
	taken uint64  // calls sent so far
}

// newPacer is the share of one of several loops of rate calls a second in all: loop at of loops drives conns of all the
// connections. The loops' calls interleave.
func newPacer(rate float64, start int64, at, loops, conns, all int) pacer {
	every := 1e9 / rate * float64(all) / float64(conns)
	return pacer{first: float64(start) + every*float64(at)/float64(loops), every: every}
}

// next returns when the next call is due.
func (p *pacer) next() int64 { return int64(p.first + float64(p.taken)*p.every) }

// take removes the next call, which was due at the time that it returns.
func (p *pacer) take() int64 {
	due := p.next()
	p.taken++
	return due
}

// owed returns how many calls that are due in w were not taken.
func (p *pacer) owed(w window) uint64 {
	from := max(float64(p.next()), float64(w.from))
	if p.every <= 0 || from >= float64(w.until) {
		return 0
	}
	return uint64((float64(w.until)-from)/p.every + 0.5)
}

// rotation is a first-in first-out ring of the connections that have room for a call, each at most once.
type rotation struct {
	ring  []int32
	in    []bool // by connection: it is in the ring
	first int
	n     int
}

func newRotation(conns int) rotation {
	return rotation{ring: make([]int32, conns), in: make([]bool, conns)}
}

// push puts a connection at the end; one that is in already keeps its place.
func (r *rotation) push(at int32) {
	if r.in[at] {
		return
	}
	r.in[at] = true
	r.ring[(r.first+r.n)%len(r.ring)] = at
	r.n++
}

// pop takes the connection that has waited longest.
func (r *rotation) pop() (at int32, ok bool) {
	if r.n == 0 {
		return 0, false
	}
	at = r.ring[r.first]
	r.in[at] = false
	r.first = (r.first + 1) % len(r.ring)
	r.n--
	return at, true
}
