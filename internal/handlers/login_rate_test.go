package handlers_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"gameserverd/internal/future"
	authHandlers "gameserverd/internal/handlers/auth"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
)

// counted is everything that a login asks for.
type counted struct {
	tries    []netip.Addr
	left     int // logins that the gate lets pass
	verified int
}

func (c *counted) Login(a netip.Addr) (ok bool, retry time.Duration) {
	c.tries = append(c.tries, a)
	c.left--
	return c.left >= 0, 1500 * time.Millisecond
}

func (c *counted) Verify(token string) (uint64, error) {
	c.verified++
	if token != "good" {
		return 0, errors.New("bad token")
	}
	return 7, nil
}

type noPlayers struct{}

func (noPlayers) Login(uint64) *future.Future[struct{}] { return future.Resolved(struct{}{}) }

// A login too many is refused before its token is looked at, and good and bad
// ones count alike.
func TestLoginRate(t *testing.T) {
	gate := &counted{left: 3}
	s := rpctest.New(t, func(*rpctest.Server) []rpc.Method {
		return authHandlers.Methods(authHandlers.New(gate, noPlayers{}, func() authHandlers.Options { return authHandlers.Options{Gate: gate} }))
	})
	c := s.Connect()
	for range 2 {
		if _, err := c.Call("auth.login", "bad"); err == nil || err.Code != rpc.Unauthenticated {
			t.Fatalf("got %v", err)
		}
	}
	c.Must(nil, "auth.login", "good")
	for _, token := range []string{"good", "bad"} {
		_, err := c.Call("auth.login", token)
		if err == nil || err.Code != rpc.ResourceExhausted || err.RetryAfter != 1500*time.Millisecond {
			t.Errorf("one too many: %v", err)
		}
	}
	if gate.verified != 3 || len(gate.tries) != 5 || gate.tries[0] != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%d tokens were verified, tried from %v", gate.verified, gate.tries)
	}
}
