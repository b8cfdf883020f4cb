package server

import (
	"syscall"

	"go.uber.org/zap"
)

// ownDescriptors is what the daemon needs for itself beside its loops: listeners,
// the admin server and its clients, logs.
const (
	ownDescriptors  = 64
	loopDescriptors = 4
)

// spare is how many connections over max are accepted, only to be told
// too_many_connections in their own framing.
func spare(max int) int { return min(max/64+16, 1024) }

// ConnectionsWithin is how many connections a process may serve that has so many
// descriptors and loops, at least 1. Any goroutine.
func ConnectionsWithin(descriptors uint64, loops int) int {
	left := int(min(descriptors, 1<<30)) - ownDescriptors - loopDescriptors*loops
	n := left * 64 / 65
	for n > 1 && n+spare(n) > left {
		n--
	}
	return max(n, 1)
}

// limitConnections is limits.max_connections, or less where the process may not
// have as many descriptors: a client that is told so fares better than one that
// is never accepted, and the admin server can still be reached.
func (s *Server) limitConnections() int {
	configured := s.config().Limits.MaxConnections
	var rlimit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &rlimit); err != nil {
		return configured
	}
	within := ConnectionsWithin(rlimit.Cur, len(s.loops))
	if configured <= within {
		return configured
	}
	if int64(within) == s.maxConnections.Load() { // a reload: it was said before
		return within
	}
	s.log.Info("fewer connections than limits.max_connections: the process may not have more descriptors",
		zap.Int("connections", within), zap.Int("max_connections", configured), zap.Uint64("descriptors", rlimit.Cur))
	return within
}
