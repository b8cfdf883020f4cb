// Package basic has the methods that every client can try first. They need
// nothing of the game.
//
// Its one invariant: it keeps no state.
package basic

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Sum adds two signed 64-bit integers. A sum that does not fit into 64 bits is
// out_of_range.
//
//rpc:public
//rpc:name sum
func (h *Handlers) Sum(c *rpc.Call, x, y int64) (int64, error) {
	sum := x + y
	if (sum > x) != (y > 0) {
		return 0, rpc.Errorf(rpc.OutOfRange, "sum: %d + %d does not fit into 64 bits", x, y)
	}
	return sum, nil
}

// Echo returns its parameter, any value, byte for byte.
//
//rpc:public
//rpc:name echo
func (h *Handlers) Echo(c *rpc.Call, v rpc.Raw) (rpc.Raw, error) {
	return v, nil
}
