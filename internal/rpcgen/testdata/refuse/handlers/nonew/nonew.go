// Package nonew has no New.
package nonew

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// Ping is fine.
func (h *Handlers) Ping(c *rpc.Call) error { return nil }
