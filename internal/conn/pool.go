package conn

import "math/bits"

// A pool lends the buffers of one Set: kept input and unsent output. A buffer
// is named by a small number, so that a record needs no pointer to it; 0 is
// none. It is for one goroutine.
//
// Sizes are 256 B, 1, 4, 16 and 64 KiB. A larger one is made as asked and left
// to the garbage collector afterwards: those are rare, and one of them kept
// would outweigh a thousand others.
type pool struct {
	bufs  []buffer // by number; [0] is unused
	free  uint32   // first of the unused numbers, linked by next
	used  int      // numbers in use
	spare [classes]shelf
	bytes int // size of all buffers that are lent
	held  int // size of all buffers on the shelves
}

// buffer is b[off:], what has been read off the front counted by off.
type buffer struct {
	b    []byte
	off  int
	next uint32 // the next chunk of the same output, or the next unused number
}

// shelf has the unused buffers of one size. low is how many of them nobody has
// needed since the last trim.
type shelf struct {
	bufs [][]byte
	low  int
}

const (
	classes  = 5
	minClass = 256
	maxClass = 64 << 10
)

// classOf returns the smallest class that holds n bytes; classes if none does.
func classOf(n int) int {
	if n <= minClass {
		return 0
	}
	return (bits.Len(uint(n-1)) - 7) / 2
}

// classSize is the size of the buffers of class c.
func classSize(c int) int { return minClass << (2 * c) }

// sizeFor is the size of the buffer that take(n) lends.
func sizeFor(n int) int {
	if n > maxClass {
		return n
	}
	return classSize(classOf(n))
}

func (b *buffer) data() []byte { return b.b[b.off:] }

// room is how many bytes fit behind what is there.
func (b *buffer) room() int { return cap(b.b) - len(b.b) }

// take lends an empty buffer for at least n bytes.
func (p *pool) take(n int) uint32 {
	return p.adopt(p.takeBytes(n))
}

// takeBytes is take without a number.
func (p *pool) takeBytes(n int) []byte {
	var b []byte
	if c := classOf(n); c >= classes {
		b = make([]byte, 0, n)
	} else if s := &p.spare[c]; len(s.bufs) > 0 {
		last := len(s.bufs) - 1
		b = s.bufs[last]
		s.bufs[last] = nil
		s.bufs = s.bufs[:last]
		s.low = min(s.low, last)
		p.held -= cap(b)
	} else {
		b = make([]byte, 0, classSize(c))
	}
	p.bytes += cap(b)
	return b
}

// adopt gives b, which must come from a takeBytes, a number.
func (p *pool) adopt(b []byte) uint32 {
	p.used++
	n := p.free
	if n != 0 {
		p.free = p.bufs[n].next
	} else {
		if len(p.bufs) == 0 {
			p.bufs = make([]buffer, 1, 16)
		}
		n = uint32(len(p.bufs))
		p.bufs = append(p.bufs, buffer{})
	}
	p.bufs[n] = buffer{b: b}
	return n
}

// at returns buffer n. The pointer is valid until the next take or adopt.
func (p *pool) at(n uint32) *buffer { return &p.bufs[n] }

// put takes back buffer n.
func (p *pool) put(n uint32) {
	b := p.release(n)
	p.bytes -= cap(b)
	p.putBytes(b)
}

// putBytes shelves b, which is no longer counted as lent.
func (p *pool) putBytes(b []byte) {
	if c := classOf(cap(b)); c < classes && cap(b) == classSize(c) {
		p.spare[c].bufs = append(p.spare[c].bufs, b[:0])
		p.held += cap(b)
	}
}

// release frees the number n and returns its bytes, which the caller owns now
// and which stay counted as lent.
func (p *pool) release(n uint32) []byte {
	b := p.bufs[n].b
	p.bufs[n] = buffer{next: p.free}
	p.free = n
	p.used--
	return b
}

// grow makes buffer n hold at least size bytes, what is read off its front
// included in nothing: its data moves to the front.
func (p *pool) grow(n uint32, size int) {
	old := p.bufs[n]
	b := append(p.takeBytes(size), old.data()...)
	p.bufs[n] = buffer{b: b, next: old.next}
	p.bytes -= cap(old.b)
	p.putBytes(old.b)
}

// trim drops the buffers that nobody has needed since the last trim, and says
// whether any are left for the next one.
func (p *pool) trim() (left bool) {
	for c := range p.spare {
		s := &p.spare[c]
		keep := len(s.bufs) - s.low
		clear(s.bufs[keep:])
		s.bufs = s.bufs[:keep]
		p.held -= s.low * classSize(c)
		if cap(s.bufs) > 64 && len(s.bufs) < cap(s.bufs)/4 {
			s.bufs = append(make([][]byte, 0, 2*len(s.bufs)), s.bufs...)
		}
		s.low = len(s.bufs)
		left = left || len(s.bufs) > 0
	}
	if p.used == 0 {
		p.bufs, p.free = nil, 0
	}
	return left
}
