// Package params has methods whose parameters have no form on the wire.
package params

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

func (h *Handlers) Variadic(c *rpc.Call, v ...int) error              { return nil }
func (h *Handlers) Optional(c *rpc.Call, a *int, b int, d *int) error { return nil }
func (h *Handlers) Blank(c *rpc.Call, _ int) error                    { return nil }
func (h *Handlers) Unnamed(*rpc.Call, int, string) error              { return nil }
func (h *Handlers) ByValue(c rpc.Call, v int) error                   { return nil }
