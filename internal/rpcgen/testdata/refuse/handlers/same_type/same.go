// Package same has another of its name beside it.
package same

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Thing is sent by both.
type Thing struct{ A int }

// Show shows it.
func (h *Handlers) Show(c *rpc.Call) (Thing, error) { return Thing{}, nil }
