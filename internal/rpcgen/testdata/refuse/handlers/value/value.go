// Package value has a New that is no function.
package value

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New is a variable.
var New = func() *Handlers { return nil }

// Ping is fine.
func (h *Handlers) Ping(c *rpc.Call) error { return nil }
