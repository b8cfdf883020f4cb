package server

import (
	"time"

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
