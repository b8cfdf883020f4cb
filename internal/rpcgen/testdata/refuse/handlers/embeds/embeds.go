// Package embeds has a handler that Handlers does not declare.
package embeds

import "gameserverd/internal/rpc"

// Base has the method.
type Base struct{}

// Ping is promoted.
func (Base) Ping(c *rpc.Call) error { return nil }

// Handlers are the methods of the area.
type Handlers struct{ Base }

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Pong is fine.
func (h *Handlers) Pong(c *rpc.Call) error { return nil }
