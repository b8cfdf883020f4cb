// Package directives has //rpc: lines that say nothing or nonsense.
//
//rpc:public
package directives

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
//
//rpc:durable
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Misspelled has a typing error.
//
//rpc:publik
func (h *Handlers) Misspelled(c *rpc.Call) error { return nil }

// Unknown has a word of its own.
//
//rpc:authenticated
func (h *Handlers) Unknown(c *rpc.Call) error { return nil }

// Spaced has an ordinary comment.
//
// rpc:public
func (h *Handlers) Spaced(c *rpc.Call) error { return nil }

// Twice says it twice.
//
//rpc:public
//rpc:public
func (h *Handlers) Twice(c *rpc.Call) error { return nil }

// More says more than it should.
//
//rpc:public always
func (h *Handlers) More(c *rpc.Call) error { return nil }

// Nameless gives no name.
//
//rpc:name
func (h *Handlers) Nameless(c *rpc.Call) error { return nil }

// TwoNames gives two.
//
//rpc:name a b
func (h *Handlers) TwoNames(c *rpc.Call) error { return nil }

// BadName has a letter that names cannot have.
//
//rpc:name room/join
func (h *Handlers) BadName(c *rpc.Call) error { return nil }

// Dotted begins with a dot.
//
//rpc:name .join
func (h *Handlers) Dotted(c *rpc.Call) error { return nil }

// Long is too long.
//
//rpc:name aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
func (h *Handlers) Long(c *rpc.Call) error { return nil }

// Größe cannot be a wire name as it is.
func (h *Handlers) Größe(c *rpc.Call) error { return nil }

//rpc:public

// Detached is not the comment of its directive.
func (h *Handlers) Detached(c *rpc.Call) error { return nil }

// NoCall is no handler.
//
//rpc:public
func (h *Handlers) NoCall(x int) error { return nil }

// unexported is no handler.
//
//rpc:public
func (h *Handlers) unexported(c *rpc.Call) error { return nil }

// Hurried answers at once.
//
//rpc:waits
func (h *Handlers) Hurried(c *rpc.Call) error { return nil }

// Nobody has the name of no method.
//
//rpc:name unknown
func (h *Handlers) Nobody(c *rpc.Call) error { return nil }
