package boards

// insert adds a record that is not there.
func (o *order) insert(ref uint32) {
	right, low, split := o.insertBelow(o.root, o.height, ref, o.records.at(ref).place)
	o.n++
	if !split {
		return
	}
	left := o.root
	o.root = o.newInner()
	o.height++
	v := o.inners.at(o.root)
	v.n = 2
	v.child[0], v.count[0] = left, o.size(left, o.height-1)
	v.child[1], v.count[1], v.low[1] = right, o.size(right, o.height-1), low
}

// insertBelow inserts under the node. If that made it full, it was split: right is the new node beside it, low its lowest place.
func (o *order) insertBelow(id uint32, height int, ref uint32, p place) (right uint32, low place, split bool) {
	if height == 0 {
		l := o.leaves.at(id)
		at := o.search(l, p)
		copy(l.refs[at+1:l.n+1], l.refs[at:l.n])
		l.refs[at] = ref
		l.n++
		if l.n < leafMax {
			return 0, place{}, false
		}
		right = o.splitLeaf(l)
		return right, o.records.at(o.leaves.at(right).refs[0]).place, true
	}
	v := o.inners.at(id)
	i := v.toward(p)
	v.count[i]++
	newChild, newLow, grew := o.insertBelow(v.child[i], height-1, ref, p)
	if !grew {
		return 0, place{}, false
	}
	added := o.size(newChild, height-1)
	v.count[i] -= added
	v.open(i + 1)
	v.child[i+1], v.count[i+1], v.low[i+1] = newChild, added, newLow
	if v.n < innerMax {
		return 0, place{}, false
	}
	right = o.newInner()
	w := o.inners.at(right)
	w.take(v, innerMax/2)
	v.n = innerMax / 2
	return right, w.low[0], true
}

func (o *order) splitLeaf(l *leaf) (right uint32) {
	right = o.newLeaf(l.next)
	r := o.leaves.at(right)
	r.n = uint32(copy(r.refs[:], l.refs[leafMax/2:]))
	l.n, l.next = leafMax/2, right
	return right
}

// size is how many records are below the node.
func (o *order) size(id uint32, height int) uint32 {
	if height == 0 {
		return o.leaves.at(id).n
	}
	v := o.inners.at(id)
	sum := uint32(0)
	for _, c := range v.count[:v.n] {
		sum += c
	}
	return sum
}

// open makes room for a child at i.
func (v *inner) open(i int) {
	copy(v.child[i+1:v.n+1], v.child[i:v.n])
	copy(v.count[i+1:v.n+1], v.count[i:v.n])
	copy(v.low[i+1:v.n+1], v.low[i:v.n])
	v.n++
}

// shut takes the child at i out.
func (v *inner) shut(i int) {
	copy(v.child[i:], v.child[i+1:v.n])
	copy(v.count[i:], v.count[i+1:v.n])
	copy(v.low[i:], v.low[i+1:v.n])
	v.n--
}

// take appends w's children from `from` on. The caller corrects w.n.
func (v *inner) take(w *inner, from int) {
	copy(v.child[v.n:], w.child[from:w.n])
	copy(v.count[v.n:], w.count[from:w.n])
	copy(v.low[v.n:], w.low[from:w.n])
	v.n += w.n - from
}

// remove takes out a record that is there. It still has the place with which it was inserted.
func (o *order) remove(ref uint32) {
	o.removeBelow(o.root, o.height, o.records.at(ref).place)
	o.n--
	for o.height > 0 && o.inners.at(o.root).n == 1 {
		old := o.root
		o.root = o.inners.at(old).child[0]
		o.height--
		o.inners.drop(old)
	}
}

func (o *order) removeBelow(id uint32, height int, p place) {
	if height == 0 {
		l := o.leaves.at(id)
		at := o.search(l, p)
		copy(l.refs[at:], l.refs[at+1:l.n])
		l.n--
		return
	}
	v := o.inners.at(id)
	i := v.toward(p)
	v.count[i]--
	o.removeBelow(v.child[i], height-1, p)
	if height == 1 && v.count[i] >= leafMax/4 || height > 1 && o.inners.at(v.child[i]).n >= innerMax/4 {
		return
	}
	// The child has become small: it becomes one with a neighbour that has room. One without room is so full that both together are
	// well used.
	if i > 0 && o.merge(v, i-1, height-1) {
		return
	}
	if i+1 < v.n {
		o.merge(v, i, height-1)
	}
}

// merge puts the children i and i+1 of v into one, if they fit.
func (o *order) merge(v *inner, i, height int) bool {
	if height == 0 {
		if v.count[i]+v.count[i+1] >= leafMax {
			return false
		}
		l, r := o.leaves.at(v.child[i]), o.leaves.at(v.child[i+1])
		l.n += uint32(copy(l.refs[l.n:], r.refs[:r.n]))
		l.next = r.next
		o.leaves.drop(v.child[i+1])
	} else {
		l, r := o.inners.at(v.child[i]), o.inners.at(v.child[i+1])
		if l.n+r.n >= innerMax {
			return false
		}
		l.take(r, 0)
		o.inners.drop(v.child[i+1])
	}
	v.count[i] += v.count[i+1]
	v.shut(i + 1)
	return true
}

// build makes the tree of the records 0 to n-1, which are in order already.
func (o *order) build(n int) {
	*o = order{records: o.records, leaves: makeSlab[leaf](4), inners: makeSlab[inner](2)}
	const fill = leafMax * 3 / 4 // room for what comes
	var level []uint32
	var lows []place
	for from := 0; from < n || from == 0; from += fill {
		id := o.newLeaf(noLeaf)
		l := o.leaves.at(id)
		for ref := from; ref < min(n, from+fill); ref++ {
			l.refs[l.n] = uint32(ref)
			l.n++
		}
		low := place{}
		if from > 0 {
			o.leaves.at(level[len(level)-1]).next = id
			low = o.records.at(uint32(from)).place
		}
		level, lows = append(level, id), append(lows, low)
	}
	for ; len(level) > 1; o.height++ {
		level, lows = o.buildAbove(level, lows)
	}
	o.root, o.n = level[0], n
}

func (o *order) buildAbove(below []uint32, lows []place) ([]uint32, []place) {
	const fill = innerMax * 3 / 4
	var level []uint32
	var levelLows []place
	for from := 0; from < len(below); from += fill {
		id := o.newInner()
		v := o.inners.at(id)
		for i := from; i < min(len(below), from+fill); i++ {
			v.child[v.n], v.count[v.n], v.low[v.n] = below[i], o.size(below[i], o.height), lows[i]
			v.n++
		}
		level, levelLows = append(level, id), append(levelLows, lows[from])
	}
	return level, levelLows
}
