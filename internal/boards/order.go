package boards

import "sort"

// place is where an entry stands on its board: ascending by order, then by came, then by uid.
type place struct {
	order int64 // the score, negated where the highest leads
	came  int64
	uid   uint64
}

func (a place) before(b place) bool {
	if a.order != b.order {
		return a.order < b.order
	}
	if a.came != b.came {
		return a.came < b.came
	}
	return a.uid < b.uid
}

// better tells whether a takes b's place, both being of one player: an equal one does not.
func (a place) better(b place) bool {
	return a.order < b.order || a.order == b.order && a.came < b.came
}

// record is one entry as it is kept; its number in the slab does not change.
type record struct {
	place
	name nameRef
}

const (
	leafMax  = 128 // a leaf or inner node with this many is split at once
	innerMax = 64
	noLeaf   = ^uint32(0)
)

// order keeps the numbers of records in the records' order: a B+ tree whose inner nodes know how many records are below each child.
//
//	inner   low[1]      low[2]            a child's records are not before its low;
//	       /      |           \           low[0] is the node's own in the one above
//	leaf → leaf  →  leaf  →  leaf         linked in order
//
// Why not tidwall/btree: its BTreeG finds the entry at a rank in O(log n), but the rank of an entry only by
// searching with that, O(log² n): 3.5 us of a million entries where this takes 1.3 with the look for the player's record
// (BenchmarkMemoryRank), under the board's lock. And its items are whole entries, 36 bytes each as it fills its nodes; here they are the
// records' numbers, 6 bytes each.
//
// Nodes are numbers in slabs and hold no pointer. Not safe for several goroutines.
type order struct {
	records *slab[record]
	leaves  slab[leaf]
	inners  slab[inner]
	root    uint32
	height  int // inner nodes above a leaf
	n       int
}

type leaf struct {
	n    uint32
	next uint32 // noLeaf: the last
	refs [leafMax]uint32
}

type inner struct {
	n     int
	child [innerMax]uint32 // leaves on height 1, else inners
	count [innerMax]uint32 // records below each child
	low   [innerMax]place
}

func makeOrder(records *slab[record]) order {
	o := order{records: records, leaves: makeSlab[leaf](4), inners: makeSlab[inner](2)}
	o.root = o.newLeaf(noLeaf)
	return o
}

func (o *order) newLeaf(next uint32) uint32 {
	id := o.leaves.add()
	l := o.leaves.at(id)
	l.n, l.next = 0, next
	return id
}

func (o *order) newInner() uint32 {
	id := o.inners.add()
	o.inners.at(id).n = 0
	return id
}

// toward is the child where p is or belongs.
func (v *inner) toward(p place) int {
	lo, hi := 0, v.n-1 // low[lo] <= p < low[hi+1]
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if p.before(v.low[mid]) {
			hi = mid - 1
		} else {
			lo = mid
		}
	}
	return lo
}

// search is the position of the first record of the leaf that is not before p.
func (o *order) search(l *leaf, p place) int {
	return sort.Search(int(l.n), func(i int) bool { return !o.records.at(l.refs[i]).before(p) })
}

// rank is how many records are before p.
func (o *order) rank(p place) int {
	id, before := o.root, 0
	for range o.height {
		v := o.inners.at(id)
		i := v.toward(p)
		for _, c := range v.count[:i] {
			before += int(c)
		}
		id = v.child[i]
	}
	return before + o.search(o.leaves.at(id), p)
}

// each calls fn with the numbers of up to n records from the one with `rank` records before it, in order.
func (o *order) each(rank, n int, fn func(ref uint32)) {
	if rank < 0 || rank >= o.n {
		return
	}
	id := o.root
	for range o.height {
		v := o.inners.at(id)
		i := 0
		for rank >= int(v.count[i]) {
			rank -= int(v.count[i])
			i++
		}
		id = v.child[i]
	}
	for ; n > 0 && id != noLeaf; rank = 0 {
		l := o.leaves.at(id)
		here := l.refs[rank:l.n]
		here = here[:min(n, len(here))]
		for _, ref := range here {
			fn(ref)
		}
		n -= len(here)
		id = l.next
	}
}
