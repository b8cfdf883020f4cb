// Package names has wire names that package twice has too.
package names

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Join is in twice too, by a directive.
func (h *Handlers) Join(c *rpc.Call) error { return nil }

// JOIN has the name of Join in small letters.
func (h *Handlers) JOIN(c *rpc.Call) error { return nil }
