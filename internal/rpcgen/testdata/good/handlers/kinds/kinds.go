// Package kinds has a method for each type that a handler can take and return.
package kinds

import (
	"errors"
	"fmt"

	"gameserverd/internal/future"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpcgen/testdata/good/handlers/helper"
	shapes "gameserverd/internal/rpcgen/testdata/good/shapes-of"
)

// Adder is asked for under a name of its own.
type Adder interface{ Double(int64) int64 }

// Doubler is what Parts has.
type Doubler interface {
	Adder
	Other()
}

// Options are settings.
type Options struct{ Max int }

// Handlers are the methods of the area.
type Handlers struct {
	adder Adder
	Kept  rpc.Raw // what the last plain method with a raw parameter saw
}

// New returns the area's handlers.
func New(adder Adder, _ Options) *Handlers { return &Handlers{adder: adder} }

// Named types of each kind.
type (
	Flag   bool
	Score  int64
	Level  uint16
	Ratio  float64
	Board  string
	Blob   []byte
	Octet  uint8
	Octets []Octet
	Scores []Score
	Bag    map[Board]Score
)

// Tree contains itself.
type Tree struct {
	Name string           `msgpack:"name"`
	Kids []Tree           `msgpack:"kids"`
	By   map[string]*Tree `msgpack:"by,omitempty"`
	Raw  rpc.Raw          `msgpack:"raw"`
	Any  any              `msgpack:"any"`
	Not  chan int         `msgpack:"-"`
}

func (h *Handlers) Bool(c *rpc.Call, v bool) (bool, error)                        { return v, nil }
func (h *Handlers) Int(c *rpc.Call, v int) (int, error)                           { return v, nil }
func (h *Handlers) Int8(c *rpc.Call, v int8) (int8, error)                        { return v, nil }
func (h *Handlers) Int16(c *rpc.Call, v int16) (int16, error)                     { return v, nil }
func (h *Handlers) Int32(c *rpc.Call, v int32) (int32, error)                     { return v, nil }
func (h *Handlers) Rune(c *rpc.Call, v rune) (rune, error)                        { return v, nil }
func (h *Handlers) Int64(c *rpc.Call, v int64) (int64, error)                     { return v, nil }
func (h *Handlers) Uint(c *rpc.Call, v uint) (uint, error)                        { return v, nil }
func (h *Handlers) Uint8(c *rpc.Call, v uint8) (uint8, error)                     { return v, nil }
func (h *Handlers) Byte(c *rpc.Call, v byte) (byte, error)                        { return v, nil }
func (h *Handlers) Uint16(c *rpc.Call, v uint16) (uint16, error)                  { return v, nil }
func (h *Handlers) Uint32(c *rpc.Call, v uint32) (uint32, error)                  { return v, nil }
func (h *Handlers) Uint64(c *rpc.Call, v uint64) (uint64, error)                  { return v, nil }
func (h *Handlers) Float32(c *rpc.Call, v float32) (float32, error)               { return v, nil }
func (h *Handlers) Float64(c *rpc.Call, v float64) (float64, error)               { return v, nil }
func (h *Handlers) String(c *rpc.Call, v string) (string, error)                  { return v, nil }
func (h *Handlers) Bytes(c *rpc.Call, v []byte) ([]byte, error)                   { return v, nil }
func (h *Handlers) Any(c *rpc.Call, v any) (any, error)                           { return v, nil }
func (h *Handlers) Slice(c *rpc.Call, v []int64) ([]int64, error)                 { return v, nil }
func (h *Handlers) Map(c *rpc.Call, v map[string]bool) (map[string]bool, error)   { return v, nil }
func (h *Handlers) Struct(c *rpc.Call, v Tree) (Tree, error)                      { return v, nil }
func (h *Handlers) NamedBool(c *rpc.Call, v Flag) (Flag, error)                   { return v, nil }
func (h *Handlers) NamedInt(c *rpc.Call, v Score) (Score, error)                  { return v, nil }
func (h *Handlers) NamedUint(c *rpc.Call, v Level) (Level, error)                 { return v, nil }
func (h *Handlers) NamedFloat(c *rpc.Call, v Ratio) (Ratio, error)                { return v, nil }
func (h *Handlers) NamedString(c *rpc.Call, v Board) (Board, error)               { return v, nil }
func (h *Handlers) NamedBytes(c *rpc.Call, v Blob) (Blob, error)                  { return v, nil }
func (h *Handlers) NamedOctets(c *rpc.Call, v Octets) (Octets, error)             { return v, nil }
func (h *Handlers) NamedSlice(c *rpc.Call, v Scores) (Scores, error)              { return v, nil }
func (h *Handlers) NamedMap(c *rpc.Call, v Bag) (Bag, error)                      { return v, nil }
func (h *Handlers) Elsewhere(c *rpc.Call, v shapes.Unit) (shapes.Unit, error)     { return v, nil }
func (h *Handlers) Points(c *rpc.Call, v []shapes.Point) ([]*shapes.Point, error) { return nil, nil }
func (h *Handlers) Nil(c *rpc.Call) (map[string]int64, error)                     { return nil, nil }
func (h *Handlers) Nothing(c *rpc.Call, v bool) (struct{}, error)                 { return struct{}{}, nil }
func (h *Handlers) NoRaw(c *rpc.Call) (rpc.Raw, error)                            { return nil, nil }
func (h *Handlers) Later(c *rpc.Call, v Score) *future.Future[Score]              { return future.Resolved(v) }

// LaterNothing waits for a client.
//
//rpc:waits
func (h *Handlers) LaterNothing(c *rpc.Call) *future.Future[struct{}] {
	return future.Resolved(struct{}{})
}
func (h *Handlers) LaterRaw(c *rpc.Call, v rpc.Raw) *future.Future[rpc.Raw] {
	return future.Resolved(v)
}
func (h *Handlers) LaterPoint(c *rpc.Call) *future.Future[shapes.Point] {
	return future.Resolved(shapes.Point{X: 1})
}
func (h *Handlers) LaterNone(c *rpc.Call, v []string) *future.Future[shapes.Point] { return nil }

// Raw keeps what it gets, which a plain method must not.
func (h *Handlers) Raw(c *rpc.Call, v rpc.Raw) (rpc.Raw, error) {
	h.Kept = v
	return v, nil
}

// Fail fails.
func (h *Handlers) Fail(c *rpc.Call, code string) error {
	return rpc.Errorf(rpc.NotFound, "%s is not there", code)
}

// Work runs on a worker.
//
//rpc:blocking
func (h *Handlers) Work(c *rpc.Call, v rpc.Raw, n *Score) (rpc.Raw, error) { return v, nil }

// WorkOnly runs on a worker and has no result.
//
//rpc:blocking
func (h *Handlers) WorkOnly(c *rpc.Call, fail bool) error {
	if fail {
		return errors.New("an error without a code")
	}
	return nil
}

// Optional says what it got.
//
//	It also has a second paragraph,
//	as code.
//
//rpc:name optional.params
func (h *Handlers) Optional(c *rpc.Call, must int64, ifVersion *uint32, score *Score, tags *[]string, p *shapes.Point) (string, error) {
	out := fmt.Sprint(must)
	if ifVersion != nil {
		out += fmt.Sprint(" version ", *ifVersion)
	}
	if score != nil {
		out += fmt.Sprint(" score ", *score)
	}
	if tags != nil {
		out += fmt.Sprint(" tags ", *tags)
	}
	if p != nil {
		out += fmt.Sprint(" point ", p.X)
	}
	return out, nil
}

// Names has parameters that are called as the generated code calls its own, or
// as Go and the packages in use do.
func (h *Handlers) Names(call *rpc.Call, h_, a, out, err, result, value, wire, shapes, len, string, New int64, c, ctx shapes.Unit, client *shapes.Unit) (int64, error) {
	return h.adder.Double(helper.Twice(a + out + err + result + value + wire + len + string + New)), nil
}
