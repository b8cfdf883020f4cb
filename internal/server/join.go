package server

import (
	"time"

	"gameserverd/internal/conn"
	"gameserverd/internal/loop"
)

// hubLoop is a loop in the words of rpc.Loop.
type hubLoop struct{ *loop.Loop }

// Now is the turn's clock. Loop only.
func (l hubLoop) Now() time.Time { return l.Time() }

// After runs fn on the loop in d, unless it is cancelled. Loop only.
func (l hubLoop) After(d time.Duration, fn func()) (cancel func()) {
	t := l.CallLater(d, fn)
	return func() { l.RemoveTimeout(t) }
}

// hubLink is the connections of a loop in the words of rpc.Link.
type hubLink struct {
	*conn.Set
	sets []*conn.Set // by hub
}

// Close ends a connection now. Loop only.
func (l hubLink) Close(id uint64) { l.Set.Close(id, conn.Local, nil) }

// Shutdown flushes a connection and ends it with FIN. Loop only.
func (l hubLink) Shutdown(id uint64) { l.Set.Shutdown(id, conn.Local) }

// Describe says what carries a connection's messages. Loop only.
func (l hubLink) Describe(uint64) string { return "tcp" }

// Move gives a connection to another hub's loop. Loop only.
func (l hubLink) Move(id uint64, hub int, adopted func(id uint64)) {
	l.Set.Move(id, l.sets[hub], adopted)
}
