// Package empty has a method without its call.
package empty

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Sum lacks its first parameter.
func (h *Handlers) Sum(x, y int64) (int64, error) { return x + y, nil }
