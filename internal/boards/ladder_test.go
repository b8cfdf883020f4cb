package boards

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// seeded returns a random source whose seed a failing test prints.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// model is a board as simple as it can be.
type model struct {
	lowest  bool
	entries []Entry // in order
}

func (m *model) compare(a, b Entry) int {
	byScore := 0
	switch {
	case a.Score > b.Score:
		byScore = -1
	case a.Score < b.Score:
		byScore = 1
	}
	if m.lowest {
		byScore = -byScore
	}
	for _, c := range []int{byScore, int(min(1, max(-1, a.Came-b.Came)))} {
		if c != 0 {
			return c
		}
	}
	switch {
	case a.UID < b.UID:
		return -1
	case a.UID > b.UID:
		return 1
	}
	return 0
}

func (m *model) find(uid uint64) int {
	return slices.IndexFunc(m.entries, func(e Entry) bool { return e.UID == uid })
}

func (m *model) put(e Entry) int64 {
	if i := m.find(e.UID); i < 0 {
		m.entries = append(m.entries, e)
	} else if m.compare(e, m.entries[i]) < 0 {
		m.entries[i] = e
	}
	slices.SortFunc(m.entries, m.compare)
	return int64(m.find(e.UID)) + 1
}

func (m *model) rename(uid uint64, name string) {
	if i := m.find(uid); i >= 0 {
		m.entries[i].Name = name
	}
}

func (m *model) top(n int) []Ranked { return m.rows(0, n) }

func (m *model) rows(from, n int) []Ranked {
	rows := []Ranked{}
	for i := from; i < min(len(m.entries), from+n); i++ {
		e := m.entries[i]
		rows = append(rows, Ranked{Rank: int64(i) + 1, UID: e.UID, Name: e.Name, Score: e.Score})
	}
	return rows
}

// around looks at every window that holds the player, and takes the one with the player's row nearest to the middle.
func (m *model) around(uid uint64, n int) []Ranked {
	at := m.find(uid)
	if at < 0 {
		return nil
	}
	if n >= len(m.entries) {
		return m.rows(0, n)
	}
	best, distance := 0, 1<<30
	for from := range len(m.entries) - n + 1 {
		before, after := at-from, from+n-1-at
		if d := before - after; before >= 0 && after >= 0 && max(d, -d) < distance || d == 1 && distance == 1 {
			best, distance = from, max(d, -d)
		}
	}
	return m.rows(best, n)
}

// check fails unless every node of the tree fulfils what the others rely on.
func (o *order) check(t *testing.T) {
	t.Helper()
	var leaves []uint32
	var below func(id uint32, height int, low, high *place, root bool) int
	below = func(id uint32, height int, low, high *place, root bool) int {
		if height == 0 {
			leaves = append(leaves, id)
			l := o.leaves.at(id)
			if l.n >= leafMax || l.n == 0 && !root {
				t.Fatalf("a leaf of %d", l.n)
			}
			for i, ref := range l.refs[:l.n] {
				p := o.records.at(ref).place
				if i > 0 && !o.records.at(l.refs[i-1]).before(p) || low != nil && p.before(*low) || high != nil && !p.before(*high) {
					t.Fatalf("%+v is out of order at %d", p, i)
				}
			}
			return int(l.n)
		}
		v := o.inners.at(id)
		if v.n >= innerMax || v.n < 2 {
			t.Fatalf("an inner node of %d on height %d", v.n, height)
		}
		sum := 0
		for i := range v.n {
			from, to := low, high
			if i > 0 {
				from = &v.low[i]
			}
			if i+1 < v.n {
				to = &v.low[i+1]
			}
			n := below(v.child[i], height-1, from, to, false)
			if n != int(v.count[i]) {
				t.Fatalf("%d records below a child that counts %d", n, v.count[i])
			}
			sum += n
		}
		return sum
	}
	if n := below(o.root, o.height, nil, nil, true); n != o.n {
		t.Fatalf("%d records in a tree that counts %d", n, o.n)
	}
	for i, id := range leaves {
		next := noLeaf
		if i+1 < len(leaves) {
			next = leaves[i+1]
		}
		if o.leaves.at(id).next != next {
			t.Fatalf("leaf %d is linked to %d, not to %d", id, o.leaves.at(id).next, next)
		}
	}
	if used := int(o.leaves.used) - len(o.leaves.free); used != len(leaves) {
		t.Fatalf("%d leaves are taken, %d are in the tree", used, len(leaves))
	}
}

// TestOrderKeepsItsShape grows a tree of three levels, moves records about until it has shrunk and grown again at many places, and
// looks at every node.
func TestOrderKeepsItsShape(t *testing.T) {
	r := seeded(t)
	for _, built := range []int{0, leafMax, 20_000} {
		l := newLadder(false)
		for uid := range built {
			l.load(Entry{UID: uint64(uid), Score: r.Int64N(1000), Came: r.Int64N(100)})
		}
		l.indexed()
		l.order.check(t)
		const most = 20_000
		places := map[uint64]place{}
		for ref := range uint32(built) {
			places[l.records.at(ref).uid] = l.records.at(ref).place
		}
		for step := range 20_000 {
			uid := r.Uint64N(most)
			if step%10_000 > 5000 { // crowd into a few places, so that others empty
				uid = r.Uint64N(most / 2)
			}
			p := place{order: r.Int64N(1000), came: r.Int64N(100), uid: uid}
			if step%10_000 > 5000 {
				p.order = 500
			}
			ref, known := l.byUID[uid]
			if known {
				l.order.remove(ref)
				l.records.at(ref).place = p
			} else {
				ref = l.append(p, "")
				l.byUID[uid] = ref
			}
			l.order.insert(ref)
			places[uid] = p
			if step%5000 == 0 {
				l.order.check(t)
			}
		}
		l.order.check(t)
		sorted := make([]place, 0, len(places))
		for _, p := range places {
			sorted = append(sorted, p)
		}
		slices.SortFunc(sorted, func(a, b place) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		i := 0
		l.order.each(0, most, func(ref uint32) {
			if p := l.records.at(ref).place; p != sorted[i] {
				t.Fatalf("%+v at rank %d, want %+v", p, i, sorted[i])
			}
			i++
		})
		if i != len(sorted) {
			t.Fatalf("%d records, want %d", i, len(sorted))
		}
		for range 2000 {
			i := r.IntN(len(sorted))
			if got := l.order.rank(sorted[i]); got != i {
				t.Fatalf("rank %d, want %d", got, i)
			}
			from, first := r.IntN(len(sorted)), true
			l.order.each(from, 1, func(ref uint32) {
				if l.records.at(ref).place != sorted[from] || !first {
					t.Fatalf("at rank %d: %+v, want %+v", from, l.records.at(ref).place, sorted[from])
				}
				first = false
			})
		}
		// Everything goes away, and the nodes with it.
		for uid, ref := range l.byUID {
			l.order.remove(ref)
			if uid%4000 == 0 || l.order.n < 500 {
				l.order.check(t)
			}
		}
		l.order.check(t)
	}
}

// TestOrderShrinksAtItsEnds takes records away from one end to the other.
func TestOrderShrinksAtItsEnds(t *testing.T) {
	for _, fromEnd := range []bool{false, true} {
		l := newLadder(false)
		const n = 1000
		for uid := range uint64(n) {
			l.load(Entry{UID: uid})
		}
		l.indexed()
		for i := range uint32(n) {
			if fromEnd {
				i = n - 1 - i
			}
			l.order.remove(i)
			l.order.check(t)
		}
	}
}

// TestNamesUseSlotsAgain gives a few players new names of all lengths many times: the memory must not grow with the renames.
func TestNamesUseSlotsAgain(t *testing.T) {
	r := seeded(t)
	var n names
	const players = 300
	refs, want := make([]nameRef, players), make([]string, players)
	for i := range refs {
		refs[i] = n.add("")
	}
	pages := func() (sum int) {
		for _, s := range n.sizes {
			sum += len(s.pages)
		}
		return sum
	}
	for step := range 20_000 {
		i := r.IntN(players)
		n.drop(refs[i])
		text := make([]byte, r.IntN(maxName+1))
		for k := range text {
			text[k] = byte(r.Uint32())
		}
		want[i] = string(text)
		refs[i] = n.add(want[i])
		if j := r.IntN(players); string(n.get(refs[j])) != want[j] {
			t.Fatalf("step %d: %q, want %q", step, n.get(refs[j]), want[j])
		}
	}
	for i, ref := range refs {
		if string(n.get(ref)) != want[i] {
			t.Errorf("%q, want %q", n.get(ref), want[i])
		}
	}
	if got := pages(); got > 2*len(nameSizes)+players*(maxName+1)/namePage*2 {
		t.Errorf("%d pages for %d names", got, players)
	}
}

func TestClip(t *testing.T) {
	long := fmt.Sprintf("%254s", "") + "é"
	for in, want := range map[string]string{"": "", "Zoë": "Zoë", long: long[:254], long[1:]: long[1:], long + "x": long[:254]} {
		if got := clip(in); got != want {
			t.Errorf("%d bytes were cut to %d, want %d", len(in), len(got), len(want))
		}
	}
}
