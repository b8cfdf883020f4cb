// Package oddnew has a New that returns something else.
package oddnew

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New can fail.
func New() (*Handlers, error) { return nil, nil }

// Ping is fine.
func (h *Handlers) Ping(c *rpc.Call) error { return nil }
