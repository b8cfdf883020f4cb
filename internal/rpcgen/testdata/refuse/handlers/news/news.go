// Package news wants what Parts does not have, or has twice.
package news

import (
	"io"

	"gameserverd/internal/rpc"
)

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New(in io.Reader, out io.Writer, limit int, name string, _ io.Closer) *Handlers {
	return &Handlers{}
}

// Ping is fine.
func (h *Handlers) Ping(c *rpc.Call) error { return nil }
