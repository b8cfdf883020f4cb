package boards

// slab holds any number of T in pages and gives each a number, so that what refers to it takes four bytes and is not a pointer: a T
// without pointers costs the garbage collector one look a page. Pages stay where they are. Not safe for several goroutines.
type slab[T any] struct {
	pages [][]T
	shift uint // log2 of the number of T in a page
	used  uint32
	free  []uint32
}

func makeSlab[T any](shift uint) slab[T] { return slab[T]{shift: shift} }

func (s *slab[T]) at(i uint32) *T { return &s.pages[i>>s.shift][i&(1<<s.shift-1)] }

// add returns the number of a T, which is zero or as it was left by drop.
func (s *slab[T]) add() uint32 {
	if last := len(s.free) - 1; last >= 0 {
		i := s.free[last]
		s.free = s.free[:last]
		return i
	}
	i := s.used
	if int(i>>s.shift) == len(s.pages) {
		s.pages = append(s.pages, make([]T, 1<<s.shift))
	}
	s.used++
	return i
}

// drop gives a number back.
func (s *slab[T]) drop(i uint32) { s.free = append(s.free, i) }
