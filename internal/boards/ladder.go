package boards

import "sort"

// ladder is one board's entries in memory: who is at a rank and at which rank someone is, in O(log n). About 100 bytes an entry, its
// name included, in which the garbage collector finds nothing to follow. Not safe for several goroutines.
type ladder struct {
	lowest  bool
	records slab[record]
	byUID   map[uint64]uint32 // the number of a player's record
	order   order
	names   names
}

func newLadder(lowest bool) *ladder {
	l := &ladder{lowest: lowest, records: makeSlab[record](8), byUID: make(map[uint64]uint32)}
	l.order = makeOrder(&l.records)
	return l
}

func (l *ladder) placeOf(e Entry) place {
	return place{order: signed(e.Score, l.lowest), came: e.Came, uid: e.UID}
}

// signed turns a score into its order, and back: the lowest order is ahead.
func signed(score int64, lowest bool) int64 {
	if lowest {
		return score
	}
	return -score
}

// put enters e if it is better than what its player has, and returns the player's rank, from 1.
func (l *ladder) put(e Entry) (rank int64) {
	p := l.placeOf(e)
	ref, known := l.byUID[e.UID]
	switch {
	case !known:
		ref = l.append(p, e.Name)
		l.byUID[e.UID] = ref
		l.order.insert(ref)
	case p.better(l.records.at(ref).place):
		l.order.remove(ref)
		l.records.at(ref).place = p
		l.order.insert(ref)
		l.setName(ref, e.Name)
	}
	return int64(l.order.rank(l.records.at(ref).place)) + 1
}

func (l *ladder) append(p place, name string) uint32 {
	ref := l.records.add()
	*l.records.at(ref) = record{place: p, name: l.names.add(name)}
	return ref
}

// rename changes the name of a player who is here.
func (l *ladder) rename(uid uint64, name string) {
	if ref, known := l.byUID[uid]; known {
		l.setName(ref, name)
	}
}

func (l *ladder) setName(ref uint32, name string) {
	r := l.records.at(ref)
	if string(l.names.get(r.name)) == name {
		return
	}
	l.names.drop(r.name)
	r.name = l.names.add(name)
}

// load enters e without a look at what is there; indexed must follow before anything else. No player is loaded twice.
func (l *ladder) load(e Entry) { l.append(l.placeOf(e), e.Name) }

// indexed makes the indexes of what was loaded. The records are put in order first, where they lie: that takes no memory beside them,
// and neighbours on the board are neighbours in memory.
func (l *ladder) indexed() {
	n := int(l.records.used)
	sort.Sort((*loaded)(&l.records))
	l.byUID = make(map[uint64]uint32, n)
	for ref := range uint32(n) {
		l.byUID[l.records.at(ref).uid] = ref
	}
	l.order.build(n)
}

type loaded slab[record]

func (s *loaded) at(i int) *record   { return (*slab[record])(s).at(uint32(i)) }
func (s *loaded) Len() int           { return int(s.used) }
func (s *loaded) Less(i, j int) bool { return s.at(i).before(s.at(j).place) }
func (s *loaded) Swap(i, j int) {
	a, b := s.at(i), s.at(j)
	*a, *b = *b, *a
}

func (l *ladder) len() int { return l.order.n }

// rankOf is how many are before the player, who may not be here.
func (l *ladder) rankOf(uid uint64) (before int, known bool) {
	ref, known := l.byUID[uid]
	if !known {
		return 0, false
	}
	return l.order.rank(l.records.at(ref).place), true
}

// rows appends up to n rows from the one with `before` before it. Their names are cut from one string.
func (l *ladder) rows(rows []Ranked, before, n int) []Ranked {
	n = min(n, l.len()-before)
	if n <= 0 {
		return rows
	}
	first := len(rows)
	text := make([]byte, 0, n*16)
	ends := make([]int32, 0, n) // of each name in text
	l.order.each(before, n, func(ref uint32) {
		before++
		r := l.records.at(ref)
		rows = append(rows, Ranked{Rank: int64(before), UID: r.uid, Score: signed(r.order, l.lowest)})
		text = append(text, l.names.get(r.name)...)
		ends = append(ends, int32(len(text)))
	})
	all, start := string(text), int32(0)
	for i, end := range ends {
		rows[first+i].Name = all[start:end]
		start = end
	}
	return rows
}

// window is where n rows around the one with `before` before it begin, of total: as near to the middle as there is room, and of an even
// n one more before than after.
func window(before, n, total int) int {
	return max(0, min(before-n/2, total-n))
}
