package bench

import "math/bits"

// outstanding is the calls of one connection that have no answer yet, at most depth of them. A call's msgid is its
// slot in the low bits and a count of the slot's uses above: so answers may come in any order, an answer that was not
// asked for or comes twice is known as such, and memory is bounded by the calls that were ever outstanding together.
//
// Its invariant: free and the slots with begun >= 0 are disjoint and together all slots.
type outstanding struct {
	slots []slot
	free  int32 // the first free slot, -1: none
	depth int32
	live  int32
	shift uint8 // bits of a msgid that are the slot
}

type slot struct {
	begun int64  // ns; -1: free
	id    uint32 // of the call, or of the last one while free
	next  int32  // free slot after this one, -1: none
}

func newOutstanding(depth int) outstanding {
	return outstanding{free: -1, depth: int32(depth), shift: uint8(bits.Len(uint(depth - 1)))}
}

// room reports whether another call may begin.
func (o *outstanding) room() bool { return o.live < o.depth }

// begin notes a call that begins at now (ns, not negative) and returns its msgid. There must be room.
func (o *outstanding) begin(now int64) uint32 {
	at := o.free
	if at < 0 {
		at = int32(len(o.slots))
		o.slots = append(o.slots, slot{id: uint32(at) - 1<<o.shift, next: -1})
	} else {
		o.free = o.slots[at].next
	}
	s := &o.slots[at]
	s.begun = now
	s.id += 1 << o.shift
	o.live++
	return s.id
}

// end takes the answer to msgid id and returns when its call began; false: no such call is outstanding.
func (o *outstanding) end(id uint32) (begun int64, ok bool) {
	at := id & (1<<o.shift - 1)
	if at >= uint32(len(o.slots)) {
		return 0, false
	}
	s := &o.slots[at]
	if s.id != id || s.begun < 0 {
		return 0, false
	}
	begun = s.begun
	s.begun, s.next = -1, o.free
	o.free = int32(at)
	o.live--
	return begun, true
}

// within returns how many of the outstanding calls began in w.
func (o *outstanding) within(w window) (n uint64) {
	for i := range o.slots {
		if w.holds(o.slots[i].begun) {
			n++
		}
	}
	return n
}
