package wire

import (
	"errors"
	"fmt"
)

// node is a value as the reference parser sees it. The parser is written from the MessagePack specification, one case
// after another, recursive and without tables, to be compared with the code under test.
type node struct {
	kind     string // as TypeName has it
	bytes    []byte // the whole encoding
	payload  []byte // of str and bin
	unsigned uint64 // of an integer >= 0
	negative bool
	children []node
}

var (
	errRefTruncated = errors.New("truncated")
	errRefInvalid   = errors.New("invalid")
)

type reference struct {
	b    []byte
	off  int
	left uint64 // elements
}

// parseReference returns the first value in b: an error wraps errRefTruncated when more bytes could make it valid.
func parseReference(b []byte, maxElements int) (node, error) {
	r := reference{b: b, left: uint64(max(maxElements, 0))}
	return r.value(0)
}

func (r *reference) take(n uint64) ([]byte, error) {
	if uint64(len(r.b)-r.off) < n {
		return nil, errRefTruncated
	}
	s := r.b[r.off : r.off+int(n)]
	r.off += int(n)
	return s, nil
}

func (r *reference) number(size int) (uint64, error) {
	s, err := r.take(uint64(size))
	var v uint64
	for _, c := range s {
		v = v<<8 | uint64(c)
	}
	return v, err
}

func (r *reference) value(depth int) (v node, err error) {
	start := r.off
	head, err := r.take(1)
	if err != nil {
		return v, err
	}
	v, err = r.body(head[0], depth)
	v.bytes = r.b[start:r.off]
	return v, err
}

func (r *reference) body(c byte, depth int) (node, error) {
	switch {
	case c <= 0x7f:
		return node{kind: "integer", unsigned: uint64(c)}, nil
	case c <= 0x8f:
		return r.container("map", 2*uint64(c-0x80), depth)
	case c <= 0x9f:
		return r.container("array", uint64(c-0x90), depth)
	case c <= 0xbf:
		return r.string("string", 0, uint64(c-0xa0))
	case c >= 0xe0:
		return node{kind: "integer", negative: true}, nil
	}
	switch c {
	case 0xc0:
		return node{kind: "nil"}, nil
	case 0xc2, 0xc3:
		return node{kind: "bool"}, nil
	case 0xc4:
		return r.string("binary", 1, 0)
	case 0xc5:
		return r.string("binary", 2, 0)
	case 0xc6:
		return r.string("binary", 4, 0)
	case 0xc7:
		return r.ext(1, 0)
	case 0xc8:
		return r.ext(2, 0)
	case 0xc9:
		return r.ext(4, 0)
	case 0xca:
		_, err := r.take(4)
		return node{kind: "float"}, err
	case 0xcb:
		_, err := r.take(8)
		return node{kind: "float"}, err
	case 0xcc:
		return r.integer(1, false)
	case 0xcd:
		return r.integer(2, false)
	case 0xce:
		return r.integer(4, false)
	case 0xcf:
		return r.integer(8, false)
	case 0xd0:
		return r.integer(1, true)
	case 0xd1:
		return r.integer(2, true)
	case 0xd2:
		return r.integer(4, true)
	case 0xd3:
		return r.integer(8, true)
	case 0xd4:
		return r.ext(0, 1)
	case 0xd5:
		return r.ext(0, 2)
	case 0xd6:
		return r.ext(0, 4)
	case 0xd7:
		return r.ext(0, 8)
	case 0xd8:
		return r.ext(0, 16)
	case 0xd9:
		return r.string("string", 1, 0)
	case 0xda:
		return r.string("string", 2, 0)
	case 0xdb:
		return r.string("string", 4, 0)
	}
	size, kind, each := 2, "array", uint64(1)
	switch c {
	case 0xdc:
	case 0xdd:
		size = 4
	case 0xde:
		kind, each = "map", 2
	case 0xdf:
		size, kind, each = 4, "map", 2
	default:
		return node{}, fmt.Errorf("%w: byte %x", errRefInvalid, c)
	}
	n, err := r.number(size)
	if err != nil {
		return node{}, err
	}
	return r.container(kind, each*n, depth)
}

func (r *reference) integer(size int, signed bool) (node, error) {
	v, err := r.number(size)
	if signed && v>>(8*size-1) != 0 {
		return node{kind: "integer", negative: true}, err
	}
	return node{kind: "integer", unsigned: v}, err
}

func (r *reference) string(kind string, size int, n uint64) (node, error) {
	if size > 0 {
		var err error
		if n, err = r.number(size); err != nil {
			return node{}, err
		}
	}
	s, err := r.take(n)
	return node{kind: kind, payload: s}, err
}

func (r *reference) ext(size int, n uint64) (node, error) {
	v, err := r.string("ext", size, n)
	if err == nil {
		_, err = r.take(1)
	}
	return v, err
}

func (r *reference) container(kind string, n uint64, depth int) (node, error) {
	v := node{kind: kind}
	if depth+1 > MaxDepth {
		return v, fmt.Errorf("%w: depth", errRefInvalid)
	}
	if n > r.left {
		return v, fmt.Errorf("%w: elements", errRefInvalid)
	}
	r.left -= n
	for ; n > 0; n-- {
		child, err := r.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.children = append(v.children, child)
	}
	return v, nil
}

func (n node) has(kind string) bool {
	if n.kind == kind {
		return true
	}
	for _, c := range n.children {
		if c.has(kind) {
			return true
		}
	}
	return false
}

// message reports whether n is a message by section 2 of the protocol.
func (n node) message() bool {
	c := n.children
	if n.kind != "array" || len(c) < 3 || len(c) > 5 || c[0].kind != "integer" || c[0].negative {
		return false
	}
	id := func(n node) bool { return n.kind == "integer" && !n.negative && n.unsigned < 1<<32 }
	call := func(c []node) bool { // method, params and perhaps meta
		if c[0].kind != "string" && c[0].kind != "binary" || len(c[0].payload) > 255 || c[1].kind != "array" {
			return false
		}
		if len(c) < 3 {
			return true
		}
		for i := 0; i < len(c[2].children); i += 2 {
			if c[2].children[i].kind != "string" {
				return false
			}
		}
		return c[2].kind == "map"
	}
	switch c[0].unsigned {
	case 0:
		return len(c) >= 4 && id(c[1]) && call(c[2:])
	case 1:
		return len(c) == 4 && id(c[1])
	case 2:
		return len(c) <= 4 && call(c[1:])
	}
	return false
}
