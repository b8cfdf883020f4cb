// Package results has methods that return what cannot be answered.
package results

import (
	"gameserverd/internal/future"
	"gameserverd/internal/rpc"
)

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// P is a struct.
type P struct{ A int }

func (h *Handlers) Nothing(c *rpc.Call)                                  {}
func (h *Handlers) NoError(c *rpc.Call) int                              { return 0 }
func (h *Handlers) Three(c *rpc.Call) (int, int, error)                  { return 0, 0, nil }
func (h *Handlers) Swapped(c *rpc.Call) (error, int)                     { return nil, 0 }
func (h *Handlers) OwnError(c *rpc.Call) (int, *rpc.Error)               { return 0, nil }
func (h *Handlers) Errors(c *rpc.Call) (error, error)                    { return nil, nil }
func (h *Handlers) Pointer(c *rpc.Call) (*P, error)                      { return nil, nil }
func (h *Handlers) FutureError(c *rpc.Call) (*future.Future[int], error) { return nil, nil }
func (h *Handlers) FutureValue(c *rpc.Call) future.Future[int]           { panic("never called") }
func (h *Handlers) FutureChan(c *rpc.Call) *future.Future[chan int]      { return nil }
func (h *Handlers) FuturePointer(c *rpc.Call) *future.Future[*P]         { return nil }
func (h *Handlers) FutureOfError(c *rpc.Call) *future.Future[error]      { return nil }
func (h *Handlers) Chan(c *rpc.Call) (result <-chan int, err error)      { return nil, nil }

// Blocked waits where it should not.
//
//rpc:blocking
func (h *Handlers) Blocked(c *rpc.Call) *future.Future[int] { return nil }
