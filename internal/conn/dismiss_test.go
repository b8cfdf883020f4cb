package conn

import (
	"testing"
	"time"
)

// Who is dismissed gets what was written and then a FIN, and is not waited for.
func TestDismiss(t *testing.T) {
	for _, kind := range []string{"pair", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			g := newRig(t, Options{Linger: time.Hour})
			g.do(func() {
				g.onData = func(id uint64, b []byte) int {
					g.set.Write(id, []byte("go away"))
					g.set.Dismiss(id, Local)
					g.set.Dismiss(id, Local)
					return 1
				}
			})
			attach := g.pair
			if kind == "tcp" {
				attach = g.tcp
			}
			id, p := attach()
			p.send([]byte("let me in"))
			g.wantClosed(id, Local, nil)
			p.want([]byte("go away"))
			if n, err := p.read(make([]byte, 10)); n != 0 || err != nil {
				t.Errorf("after it: %d bytes, %v; want a FIN", n, err)
			}
		})
	}
}

// What does not fit the socket is still sent, and one whose Data does not run is
// shut down.
func TestDismissWaitsForTheOutput(t *testing.T) {
	g := newRig(t, Options{})
	text := pattern(1 << 20)
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			g.set.Write(id, text)
			g.set.Dismiss(id, Local)
			return len(b)
		}
	})
	id, p := g.narrow("pair")
	p.send([]byte("?"))
	p.want(text)
	p.close()
	g.wantClosed(id, Local, nil)

	id, p = g.pair()
	g.do(func() { g.set.Write(id, text[:1000]); g.set.Dismiss(id, Local); g.set.Dismiss(id+1<<32, Local) })
	p.want(text[:1000])
	p.close()
	g.wantClosed(id, Local, nil)
}
