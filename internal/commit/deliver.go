package commit

import (
	"runtime/debug"

	"go.uber.org/zap"
)

// deliver posts the Done of changes that have ended: one post for each Home. A Home that refuses has been closed with everything on
// it: nobody is left there to be told, and the change is what it is.
func (g *Group) deliver(changes []*Change) {
	for len(changes) > 0 {
		home := changes[0].Home
		var here, others []*Change
		for _, c := range changes {
			if c.Home == home {
				here = append(here, c)
			} else {
				others = append(others, c)
			}
		}
		home.AddCallback(func() {
			for _, c := range here {
				g.done(c)
			}
		})
		changes = others
	}
}

// done calls one Done; its panic is not the next one's. On the change's Home.
func (g *Group) done(c *Change) {
	defer func() {
		if v := recover(); v != nil {
			g.o.Log.Error("panic after a commit", zap.Uint64("uid", c.UID), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
		}
	}()
	c.Done(c.outcome)
}
