package conn

import "gameserverd/internal/census"

// sparedFlush is how many bytes a connection that only flushes may have waiting
// and is not shed.
const sparedFlush = 64 << 10

// sheddable reports whether r may be closed for want of memory; see Level.
func (r *record) sheddable() bool {
	if r.state == stFlushing {
		return r.owed > sparedFlush
	}
	return r.state == stOpen && r.owed > minClass
}

// Shed closes connections as SlowConsumer, those with the most unsent output
// first, until this Set's share of want bytes is given back; of is how many bytes
// of output all Sets have together. Who has fewer than least stays, though nobody
// of this Set has more. It looks at the connections that have output waiting twice.
// It returns how many it has closed. Loop only.
func (s *Set) Shed(want, of, least int) (closed int) {
	s.check("Shed")
	mine := 0
	for i := s.owing; i != none; i = s.at(i).next {
		mine += int(s.at(i).owed)
	}
	if mine == 0 || want <= 0 {
		return 0
	}
	share := float64(want) * min(1, float64(mine)/float64(max(of, 1)))
	return s.shed(max(int64(share), 1), least)
}

// shed closes connections until so many bytes are given back.
func (s *Set) shed(bytes int64, least int) (closed int) {
	var all census.Census
	for i := s.owing; i != none; i = s.at(i).next {
		if r := s.at(i); r.sheddable() && int(r.owed) >= least {
			all.Add(int(r.owed))
		}
	}
	cut, left := all.Cut(bytes)
	var next uint32
	for i := s.owing; i != none; i = next {
		r := s.at(i)
		next = r.next // closing takes r out of the list
		class := census.Class(int(r.owed))
		if !r.sheddable() || int(r.owed) < least || class < cut {
			continue
		}
		if class == cut {
			if left <= 0 {
				continue
			}
			left -= int64(r.owed)
		}
		closed++
		s.close(idOf(i, r), r, SlowConsumer, undelivered(r))
	}
	s.stats.Shed += uint64(closed)
	return closed
}
