// Package notype has a New and no Handlers.
package notype

// Service is not called Handlers.
type Service struct{}

// New returns it.
func New() *Service { return nil }
