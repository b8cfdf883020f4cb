// Package variadicnew has a New that takes any number of things.
package variadicnew

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New takes options.
func New(options ...int) *Handlers { return nil }

// Ping is fine.
func (h *Handlers) Ping(c *rpc.Call) error { return nil }
