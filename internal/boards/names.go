package boards

import "unicode/utf8"

// maxName is how many bytes of a name a board shows: far more than the game's 24 characters have.
const maxName = 255

// nameSizes are the sizes of slots: a byte for the name's length and the name.
var nameSizes = [...]int{8, 16, 24, 32, 48, 64, 104, maxName + 1}

// namePage is how many bytes a page of slots has, or a little less.
const namePage = 16 << 10

// names holds many short texts in few pieces of memory: a million strings would be a million pointers for the garbage collector, and 16
// bytes each beside their text. A name lies in the smallest slot that fits; a slot that is given back is used again by the next name of
// its size, so renaming leaves no holes. Not safe for several goroutines.
type names struct{ sizes [len(nameSizes)]nameSlots }

type nameSlots struct {
	pages [][]byte
	used  uint32
	free  []uint32
}

// nameRef is a name's slot: its size's number in the upper 3 bits, its own in the lower 29.
type nameRef uint32

const nameBits = 29

func (n *names) slot(ref nameRef) []byte {
	size, i := ref>>nameBits, int(ref&(1<<nameBits-1))
	perPage := namePage / nameSizes[size]
	start := i % perPage * nameSizes[size]
	return n.sizes[size].pages[i/perPage][start : start+nameSizes[size]]
}

// add keeps name, which is at most maxName bytes long (see clip).
func (n *names) add(name string) nameRef {
	size := 0
	for nameSizes[size] <= len(name) {
		size++
	}
	slots := &n.sizes[size]
	var i uint32
	if last := len(slots.free) - 1; last >= 0 {
		i = slots.free[last]
		slots.free = slots.free[:last]
	} else {
		i = slots.used
		slots.used++
		if int(i)/(namePage/nameSizes[size]) == len(slots.pages) {
			slots.pages = append(slots.pages, make([]byte, namePage))
		}
	}
	ref := nameRef(size)<<nameBits | nameRef(i)
	slot := n.slot(ref)
	slot[0] = byte(len(name))
	copy(slot[1:], name)
	return ref
}

// get returns the name's bytes, which are the slot's own: valid until drop.
func (n *names) get(ref nameRef) []byte {
	slot := n.slot(ref)
	return slot[1 : 1+int(slot[0])]
}

// drop gives the slot back.
func (n *names) drop(ref nameRef) {
	slots := &n.sizes[ref>>nameBits]
	slots.free = append(slots.free, uint32(ref&(1<<nameBits-1)))
}

// clip cuts a name that no board can hold, at a character's edge.
func clip(name string) string {
	if len(name) <= maxName {
		return name
	}
	end := maxName
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}
