// Package reward has a name other than its folder's.
package reward

import (
	"time"

	"gameserverd/internal/rpc"
)

// Handlers are the methods of the area.
type Handlers struct{ clock func() time.Time }

// New returns the area's handlers.
func New(func() time.Time) *Handlers { return &Handlers{} }

// Claim has everything in its name's folder.
//
//rpc:durable
func (h *Handlers) Claim(_ *rpc.Call) (Gift, error) { return Gift{Gold: 5}, nil }

// HTTPStatus begins with an acronym, and its receiver is a value.
//
//rpc:public
//rpc:concurrent
func (h Handlers) HTTPStatus(c *rpc.Call, fromUID uint64) error { return nil }

// Close is no handler: it takes no call.
func (h *Handlers) Close() error { return nil }

// helper is no handler: it is not exported.
func (h *Handlers) helper(c *rpc.Call) error { return h.Close() }

// Gift is what one gets.
type Gift struct {
	Gold  int64            `msgpack:"gold"`
	Items map[string]int64 `msgpack:"items"` // by item | never below 1
	Next  *Gift            `msgpack:"next"`
}
