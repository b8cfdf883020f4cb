package conn

import (
	"testing"
)

func TestEchoOverPairAndTCP(t *testing.T) {
	for _, kind := range []string{"pair", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			g := newRig(t, Options{})
			connect := g.pair
			if kind == "tcp" {
				connect = g.tcp
			}
			id, p := connect()
			for _, size := range []int{1, 100, 5000, 70_000} {
				b := pattern(size)
				p.send(b)
				p.want(b)
			}
			p.finish()
			if rest := p.rest(); len(rest) != 0 {
				t.Errorf("%d bytes more than were sent", len(rest))
			}
			p.close()
			g.wantClosed(id, PeerClosed, nil)
		})
	}
}

// The counts agree with what has happened.
func TestStats(t *testing.T) {
	g := newRig(t, Options{})
	id, p := g.pair()
	p.send([]byte("12345"))
	p.want([]byte("12345"))
	g.do(func() { g.set.Write(id, []byte("678")) })
	p.want([]byte("678"))
	p.finish()
	p.rest()
	p.close()
	g.wantClosed(id, PeerClosed, nil)
	g.turns(1)
	g.do(func() {
		st := g.set.Stats()
		if st.Open != 0 || st.Opened != 1 || st.Closed[PeerClosed] != 1 || st.BytesIn != 5 || st.BytesOut != 8 || st.Buffered != 0 {
			t.Errorf("%+v", st)
		}
	})
}
