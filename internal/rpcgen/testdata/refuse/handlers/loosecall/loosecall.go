// Package loosecall has a method of another type, and no New.
package loosecall

import "gameserverd/internal/rpc"

// Service is not called Handlers.
type Service struct{}

// Ping would be a handler.
func (s *Service) Ping(c *rpc.Call) error { return nil }
