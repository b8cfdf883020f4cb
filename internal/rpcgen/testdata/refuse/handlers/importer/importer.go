// Package importer imports what imports it.
package importer

import (
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpcgen/testdata/refuse/handlers"
)

// Handlers are the methods of the area.
type Handlers struct{}

// New takes everything.
func New(p *handlers.Parts) *Handlers { return &Handlers{} }

// Ping is fine.
func (h *Handlers) Ping(c *rpc.Call) error { return nil }
