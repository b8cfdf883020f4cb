// Package twice has a wire name of package names.
package twice

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Mine is called as another.
//
//rpc:name names.join
func (h *Handlers) Mine(c *rpc.Call) error { return nil }
