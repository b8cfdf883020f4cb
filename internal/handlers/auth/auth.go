// Package auth logs players in and out. It does not know how a token proves who
// someone is: a Verifier does.
//
// Its one invariant: a session is bound to a uid only by a token that the
// Verifier accepted.
package auth

import (
	"net/netip"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/rpc"
)

// Verifier reads login tokens.
type Verifier interface {
	// Verify returns the uid that the token proves, never 0. Its error is told to
	// the client. It must not block: it runs on a loop. Any goroutine.
	Verify(token string) (uid uint64, err error)
}

// Players is what a login needs of the players' states.
type Players interface {
	// Login brings the state of the player uid into memory for this process alone;
	// a player who is new is made. Any goroutine.
	Login(uid uint64) *future.Future[struct{}]
}

// Gate says how often one address may try to log in.
type Gate interface {
	// Login counts one try from a, or says how long to wait for the next. Any
	// goroutine.
	Login(a netip.Addr) (ok bool, retry time.Duration)
}

// Options are the area's settings.
type Options struct {
	Heartbeat time.Duration // how often a silent client should ping to stay connected
	Gate      Gate          // nil: everybody may try as often as they like
}

// Handlers are the methods of the area.
type Handlers struct {
	verifier Verifier
	players  Players
	options  func() Options
}

// New returns the area's handlers.
func New(verifier Verifier, players Players, options func() Options) *Handlers {
	return &Handlers{verifier, players, options}
}

// Session is the answer to a login.
type Session struct {
	UID          uint64 `msgpack:"uid"`            // who the token says you are
	ServerTimeMS int64  `msgpack:"server_time_ms"` // the server's clock, in UTC milliseconds
	HeartbeatMS  int64  `msgpack:"heartbeat_ms"`   // call sys.ping when you have sent nothing for so long
}

// Login binds the connection to the player whom the token names. An older
// connection of the same player is closed with the code replaced.
//
// A token that is not accepted is unauthenticated, and resource_exhausted one too
// many from one address (limits.login_rate_per_ip). On a connection that is
// logged in as another player it is failed_precondition: log out first.
//
//rpc:public
func (h *Handlers) Login(c *rpc.Call, token string) *future.Future[Session] {
	if gate := h.options().Gate; gate != nil { // first, since to verify a signature takes its time
		if ok, retry := gate.Login(c.Peer()); !ok {
			return future.Failed[Session](&rpc.Error{
				Code: rpc.ResourceExhausted, Message: "auth.login: too many logins from this address", RetryAfter: retry})
		}
	}
	uid, err := h.verifier.Verify(token)
	if err != nil {
		return future.Failed[Session](rpc.Errorf(rpc.Unauthenticated, "auth.login: %v", err))
	}
	if is := c.UID(); is != 0 && is != uid { // before another process loses the player for nothing
		return future.Failed[Session](rpc.Errorf(rpc.FailedPrecondition, "this connection is logged in as uid %d: log out first", is))
	}
	// The player first: if the state cannot be had, nobody is logged in.
	bound := future.Chain(rpc.Waits(c, "players.login", h.players.Login(uid)), c, func(struct{}) (*future.Future[struct{}], error) {
		return rpc.Waits(c, "session.move", c.Login(uid)), nil
	})
	return future.Map(bound, c, func(struct{}) (Session, error) {
		return Session{
			UID:          uid,
			ServerTimeMS: c.Now().UnixMilli(),
			HeartbeatMS:  h.options().Heartbeat.Milliseconds(),
		}, nil
	})
}

// Logout unbinds the connection from its player, who leaves all rooms. Without a
// login it does nothing.
//
//rpc:public
func (h *Handlers) Logout(c *rpc.Call) error {
	c.Logout()
	return nil
}
