package wire

import (
	"encoding/binary"
	"fmt"
)

// SyntaxError says where and why bytes are not a valid value or message. On a connection it is a protocol error.
type SyntaxError struct {
	Offset int // bytes from the start of what was given
	Msg    string
}

// Error is "wire: what at byte where".
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("wire: %s at byte %d", e.Msg, e.Offset)
}

const truncated = "truncated value"

// The first byte of a value says what follows. forms has the ones that need no further byte to be measured:
//
//	bits 0-7   length of head and payload; 0: not one of them
//	bits 8-14  values inside (a map entry is two)
//	bit 15     a container, even when it is empty
var forms = func() (t [256]uint16) {
	const container = 1 << 15
	for c := range t {
		switch {
		case c <= 0x7f, c >= 0xe0: // fixint
			t[c] = 1
		case c <= 0x8f: // fixmap
			t[c] = container | uint16(c&0x0f)*2<<8 | 1
		case c <= 0x9f: // fixarray
			t[c] = container | uint16(c&0x0f)<<8 | 1
		case c <= 0xbf: // fixstr
			t[c] = 1 + uint16(c&0x1f)
		}
	}
	t[0xc0], t[0xc2], t[0xc3] = 1, 1, 1             // nil, false, true
	t[0xcc], t[0xcd], t[0xce], t[0xcf] = 2, 3, 5, 9 // uint
	t[0xd0], t[0xd1], t[0xd2], t[0xd3] = 2, 3, 5, 9 // int
	t[0xca], t[0xcb] = 5, 9                         // float
	return t
}()

// measure is for the forms that are not in the table. size is the length of head and payload (of a container: of the
// head), 0 when b ends inside the head, and -1 for 0xc1, which is no form.
//
//	str8   bin8   c4 d9 | len  | bytes         array16 dc | n n     | values
//	str16  bin16  c5 da | len2 | bytes         array32 dd | n n n n | values
//	str32  bin32  c6 db | len4 | bytes         map16   de | n n     | keys and values
//	ext8/16/32 c7-c9 | len1/2/4 | type | bytes map32   df | n n n n | keys and values
//	fixext1..16 d4-d8 | type | bytes
func measure(b []byte) (size int, children uint64, container bool) {
	c := b[0]
	switch c {
	case 0xc1:
		return -1, 0, false
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return 2 + 1<<(c-0xd4), 0, false
	case 0xc4, 0xc7, 0xd9:
		if len(b) < 2 {
			return 0, 0, false
		}
		size = 2 + int(b[1])
	case 0xc5, 0xc8, 0xda, 0xdc, 0xde:
		if len(b) < 3 {
			return 0, 0, false
		}
		size = 3 + int(binary.BigEndian.Uint16(b[1:]))
	default: // c6 c9 db dd df
		if len(b) < 5 {
			return 0, 0, false
		}
		size = 5 + int(binary.BigEndian.Uint32(b[1:]))
	}
	switch c {
	case 0xc7, 0xc8, 0xc9:
		return size + 1, 0, false
	case 0xdc:
		return 3, uint64(size - 3), true
	case 0xdd:
		return 5, uint64(size - 5), true
	case 0xde:
		return 3, 2 * uint64(size-3), true
	case 0xdf:
		return 5, 2 * uint64(size-5), true
	}
	return size, 0, false
}

func isExt(c byte) bool { return c >= 0xc7 && c <= 0xc9 || c >= 0xd4 && c <= 0xd8 }

// Walker finds where a value ends that arrives in pieces, and checks it on the way. It holds no reference to the bytes,
// allocates nothing and may be used again after Reset; the zero Walker allows no value inside a container.
type Walker struct {
	off   int              // where the next head is; past the bytes seen while a payload is still arriving
	left  uint64           // elements that may still come
	todo  uint64           // values still to come at this depth
	depth uint             // containers that are open
	stack [MaxDepth]uint64 // todo of the depths outside; the outermost first
	noExt bool             // ext values are refused
	ended bool             // the value was complete
}

// Reset makes w ready for a new value that may hold maxElements values in its containers, counted as Check does.
func (w *Walker) Reset(maxElements int) { w.start(0, 0, maxElements) }

// start is Reset for one value at off that lies inside depth containers.
func (w *Walker) start(off int, depth uint, maxElements int) {
	w.off, w.todo, w.depth, w.ended = off, 1, depth, false
	w.left = uint64(max(maxElements, 0))
	clear(w.stack[:depth]) // nothing follows in the containers around it
}

// Walk looks at b, which holds all bytes of the value so far, from its start, and possibly more behind it. It continues
// where the last call stopped, so the cost is that of the new bytes. It returns the length of the value once all of it is
// there, and 0 when more bytes are needed. It looks at no byte behind the value. After an error (a *SyntaxError) w must be Reset.
func (w *Walker) Walk(b []byte) (n int, err error) {
	if !w.ended {
		if err := w.run(b); err != nil {
			return 0, err
		}
	}
	if w.ended && w.off <= len(b) {
		return w.off, nil
	}
	return 0, nil
}

// Need is the least length, in bytes, that the value can have after what Walk has seen of it, where a head that is not yet
// complete counts as one byte. A reader with a limit can
// refuse a message that announces more than that, before it has come.
func (w *Walker) Need() int {
	n := w.todo
	for _, todo := range w.stack[:w.depth] {
		n += todo
	}
	return w.off + int(n)
}

// run goes through the values until the last one has ended or b has. Invariant: off is where the next of todo values
// starts, and w.stack[:depth] counts those that follow it further out.
func (w *Walker) run(b []byte) error {
	off, todo, depth := w.off, w.todo, w.depth
	for off < len(b) {
		c := b[off]
		f := forms[c]
		size, children, container := int(f&0xff), uint64(f>>8&0x7f), f>>15 != 0
		if f == 0 {
			size, children, container = measure(b[off:])
			if size == 0 {
				break
			}
			if size < 0 {
				return &SyntaxError{off, "byte 0xc1, which MessagePack does not use"}
			}
			if w.noExt && isExt(c) {
				return &SyntaxError{off, "ext value, which is not supported here"}
			}
		}
		todo--
		if container {
			if depth >= MaxDepth {
				return &SyntaxError{off, fmt.Sprintf("nesting deeper than %d", MaxDepth)}
			}
			if children > w.left {
				return &SyntaxError{off, "too many elements"}
			}
			w.left -= children
			w.stack[depth] = todo
			depth++
			todo = children
		}
		off += size
		for todo == 0 {
			if depth == 0 {
				w.off, w.todo, w.depth, w.ended = off, 0, 0, true
				return nil
			}
			depth--
			todo = w.stack[depth]
		}
	}
	w.off, w.todo, w.depth = off, todo, depth
	return nil
}

// whole is run for bytes that are all there: the value must be complete in b. It returns where it ends.
func (w *Walker) whole(b []byte) (end int, err error) {
	if err := w.run(b); err != nil {
		return 0, err
	}
	if !w.ended || w.off > len(b) {
		return 0, &SyntaxError{len(b), truncated}
	}
	return w.off, nil
}

// Check reports whether b is exactly one well-formed value: everything that is claimed is there, nothing follows, at most
// MaxDepth containers are nested, 0xc1 does not occur. At most maxElements values may lie inside containers, at all
// depths together: an array of n counts n, a map of n entries 2n, and so a value outside any container counts nothing.
// Text is not required to be UTF-8. Ext values are accepted. The error is a *SyntaxError.
func Check(b []byte, maxElements int) error {
	var w Walker
	w.Reset(maxElements)
	return w.exactly(b)
}

// exactly is whole, and nothing may follow.
func (w *Walker) exactly(b []byte) error {
	end, err := w.whole(b)
	if err == nil && end != len(b) {
		err = &SyntaxError{end, "bytes after the value"}
	}
	return err
}

// Skip returns the length of the first value in b, which must be validated. (For other bytes it returns some number from
// 0 to len(b).)
func Skip(b []byte) int {
	off := 0
	for todo := uint64(1); todo > 0 && off < len(b); todo-- {
		f := forms[b[off]]
		size, children := int(f&0xff), uint64(f>>8&0x7f)
		if f == 0 {
			size, children, _ = measure(b[off:])
			if size <= 0 {
				return len(b)
			}
		}
		off += size
		todo += children
	}
	return min(off, len(b))
}
