// Package sys has the methods about the server itself. It knows nothing of
// players.
//
// Its one invariant: it changes nothing.
package sys

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct {
	registry *rpc.Registry
}

// New returns the area's handlers.
func New(registry *rpc.Registry) *Handlers { return &Handlers{registry} }

// Ping does nothing. It counts as activity of the connection.
//
//rpc:public
//rpc:concurrent
func (h *Handlers) Ping(c *rpc.Call) error { return nil }

// Time is the server's clock, in UTC milliseconds since 1970.
//
//rpc:public
//rpc:concurrent
func (h *Handlers) Time(c *rpc.Call) (int64, error) {
	return c.Now().UnixMilli(), nil
}

// Methods lists the methods that the server has, sorted by name.
//
//rpc:public
func (h *Handlers) Methods(c *rpc.Call) ([]rpc.MethodInfo, error) {
	return h.registry.Methods(), nil
}
