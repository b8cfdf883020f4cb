// Package generic has Handlers with a type parameter.
package generic

// Handlers has a type parameter.
type Handlers[T any] struct{ v T }

// New returns one.
func New() *Handlers[int] { return nil }
