package loop

import (
	"fmt"
	"math"
	"time"

	"gameserverd/internal/histogram"
)

// Timeout is one call that a loop will make at some time. It is made by CallAt and its relatives, and good for RemoveTimeout.
type Timeout struct {
	// loop only
	fn     func() // nil: has run or was removed
	inHeap bool
}

// timers is a heap of what is to be called when: 4-ary, with the keys in the array. A removed one stays in it, without its
// function, until it comes to the top or until there are so many that the heap is rebuilt without them.
type timers struct {
	heap    []timer // least (when, seq) first; heap[i]'s children are heap[4i+1 .. 4i+4]
	seq     uint64
	removed int // how many of heap have no function any more
	due     []*Timeout
	dueAt   int
}

type timer struct {
	when int64  // Loop.Monotonic
	seq  uint64 // of adding: equal times are called in this order
	t    *Timeout
}

func (a timer) before(b timer) bool { return a.when < b.when || a.when == b.when && a.seq < b.seq }

// The heap is rebuilt when more than minRemoved of its timers were removed and these are more than half of it; so a rebuild costs
// each removal a constant, and a small heap is left alone.
const minRemoved = 512

func (h *timers) push(when int64, t *Timeout) {
	h.seq++
	t.inHeap = true
	h.heap = append(h.heap, timer{})
	h.up(len(h.heap)-1, timer{when, h.seq, t})
}

// up puts x at i or nearer to the top.
func (h *timers) up(i int, x timer) {
	for i > 0 {
		parent := (i - 1) / 4
		if !x.before(h.heap[parent]) {
			break
		}
		h.heap[i] = h.heap[parent]
		i = parent
	}
	h.heap[i] = x
}

// down puts x at i or further from the top.
func (h *timers) down(i int, x timer) {
	n := len(h.heap)
	for {
		first := 4*i + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, n); c++ {
			if h.heap[c].before(h.heap[least]) {
				least = c
			}
		}
		if !h.heap[least].before(x) {
			break
		}
		h.heap[i] = h.heap[least]
		i = least
	}
	h.heap[i] = x
}

// pop removes the top.
func (h *timers) pop() timer {
	top, last := h.heap[0], len(h.heap)-1
	x := h.heap[last]
	h.heap[last] = timer{}
	h.heap = h.heap[:last]
	if last > 0 {
		h.down(0, x)
	}
	if cap(h.heap) > keepCallbacks && last < cap(h.heap)/4 {
		h.heap = append(make([]timer, 0, 2*last), h.heap...) // a burst does not stay resident
	}
	top.t.inHeap = false
	if top.t.fn == nil {
		h.removed--
	}
	return top
}

// next returns when the next timer is to be called.
func (h *timers) next() (when int64, ok bool) {
	for len(h.heap) > 0 {
		if h.heap[0].t.fn != nil {
			return h.heap[0].when, true
		}
		h.pop()
	}
	return 0, false
}

func (h *timers) remove(t *Timeout) {
	if t == nil || t.fn == nil {
		return
	}
	t.fn = nil
	if !t.inHeap {
		return // taken out as due this turn, and will be passed over
	}
	h.removed++
	if h.removed > minRemoved && h.removed > len(h.heap)/2 {
		h.rebuild()
	}
}

// rebuild drops the removed timers, in time linear in the heap.
func (h *timers) rebuild() {
	kept := h.heap[:0]
	for _, x := range h.heap {
		if x.t.fn != nil {
			kept = append(kept, x)
		}
	}
	clear(h.heap[len(kept):])
	if cap(kept) > 4*len(kept)+minRemoved {
		kept = append(make([]timer, 0, 2*len(kept)), kept...)
	}
	h.heap, h.removed = kept, 0
	for i := (len(kept) - 2) / 4; i >= 0 && len(kept) > 1; i-- {
		h.down(i, kept[i])
	}
}

// runTimers calls the timers that are due. Which they are is decided before the first is called: one that a timer adds is not
// called in this turn, even if its time has passed. One that an earlier one removes is not called at all.
func (l *Loop) runTimers() {
	h := &l.timers
	now := int64(0) // read once, and only if a timer is due
	for len(h.heap) > 0 && h.heap[0].when <= l.mono {
		if x := h.pop(); x.t.fn != nil {
			h.due = append(h.due, x.t)
			if now == 0 {
				now = l.Nanotime()
			}
			histogram.Durations.Observe(&l.record.lag, now-x.when)
		}
	}
	if len(h.due) == 0 {
		return
	}
	for h.dueAt < len(h.due) {
		l.runDue()
	}
	h.due, h.dueAt = h.due[:0], 0
	if cap(h.due) > keepCallbacks {
		h.due = nil
	}
}

// runDue calls due timers until the last or a panic.
func (l *Loop) runDue() {
	defer l.caught()
	h := &l.timers
	for h.dueAt < len(h.due) {
		t := h.due[h.dueAt]
		h.due[h.dueAt] = nil
		h.dueAt++
		if h.dueAt%clockEvery == 0 {
			l.readClock()
		}
		if fn := t.fn; fn != nil {
			t.fn = nil
			l.pace.step()
			fn()
		}
	}
}

// CallAt calls fn once the time is t; in the next turn if that has passed. Timers of the same time are called in the order of
// adding. If t has no monotonic reading, it is what the wall clock says now that counts, not what it is set to later. Loop only.
func (l *Loop) CallAt(t time.Time, fn func()) *Timeout {
	l.assertLoop("CallAt")
	to := &Timeout{fn: fn}
	l.timers.push(addSaturated(l.mono, t.Sub(l.now)), to)
	return to
}

// CallLater calls fn when d has passed, never sooner; in the next turn if d is not positive. It reads the clock, where
// CallAt(l.Time().Add(d), fn) reckons from the beginning of the turn. Loop only.
func (l *Loop) CallLater(d time.Duration, fn func()) *Timeout {
	l.assertLoop("CallLater")
	to := &Timeout{fn: fn}
	l.timers.push(l.after(d), to)
	return to
}

// after returns the time d from now.
func (l *Loop) after(d time.Duration) int64 {
	return addSaturated(max(l.mono, int64(l.clock.Now().Sub(l.base))), d)
}

// addSaturated returns now+d; what lies beyond all time is never, and not at once.
func addSaturated(now int64, d time.Duration) int64 {
	if d > 0 && now > math.MaxInt64-int64(d) {
		return math.MaxInt64
	}
	return now + int64(d)
}

// AddTimeout is CallAt for a time.Time and CallLater for a time.Duration, as Tornado's add_timeout is; it panics on anything else,
// which is a mistake in the program. Loop only.
func (l *Loop) AddTimeout(deadline any, fn func()) *Timeout {
	switch d := deadline.(type) {
	case time.Time:
		return l.CallAt(d, fn)
	case time.Duration:
		return l.CallLater(d, fn)
	}
	panic(fmt.Sprintf("loop: a deadline is a time.Time or a time.Duration, not a %T", deadline))
}

// RemoveTimeout makes t's function not be called. It may have been called already, t may be removed already, or nil. Loop only.
func (l *Loop) RemoveTimeout(t *Timeout) {
	l.assertLoop("RemoveTimeout")
	l.timers.remove(t)
}
