// Package taken has the generated function's name.
package taken

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Methods is generated.
func Methods() {}

// Ping is fine.
func (h *Handlers) Ping(c *rpc.Call) error { return nil }
