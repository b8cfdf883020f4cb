// Package wire is MessagePack-RPC on byte slices: framing, finding where a message ends, checking it, reading it and
// writing it, as docs/protocol.md has it.
//
// It does no I/O, starts no goroutine, keeps no state between calls and knows no method. It is not a general MessagePack
// library: values of arbitrary Go types go to github.com/vmihailenco/msgpack/v5.
//
// Its one invariant: nothing decodes bytes that were not validated. A Raw made by this package is exactly one well-formed
// value, no deeper than MaxDepth, in which every length and every count that is claimed is really there. So what decoding
// it allocates is in proportion to its length, and no depth of nesting exhausts the stack.
//
// The thread rule of every function and of the methods of Raw, Error and the other errors: Any goroutine. A Walker, Reader or
// Message belongs to one goroutine at a time.
package wire

import "strconv"

// Limits of the protocol. Lengths are in bytes.
const (
	HeaderLen          = 4         // of the length in front of each frame
	MaxFrame           = 1<<24 - 1 // the longest message any limit may allow: the first byte of a header is always 0
	MaxDepth           = 32        // containers nested in one another; the array that is the message is the first of them
	MaxMethod          = 255       // bytes of a method's name
	DefaultMaxFrame    = 1 << 20   // limits.max_frame_bytes when nothing else is configured
	DefaultMaxElements = 100_000   // values in all containers of one message; see Check
)

// A length claimed by 4 bytes is added to an offset without a test for overflow, so an int must have 64 bits.
var _ [strconv.IntSize - 64]struct{}

// Raw is one encoded value. Every Raw that this package returns is validated, as Check does; one made by other means
// must be too before it is given to this package's writing functions, which copy it as it is.
//
// As a struct field or an element of a slice or map it is encoded and decoded as the value that it holds (nil: as
// MessagePack nil), by Marshal and Unmarshal as well as by msgpack/v5 alone; what is decoded into it is a copy.
type Raw []byte
