package client

import (
	"context"
	"time"
)

// LoginResult is what the server says at a login.
type LoginResult struct {
	UID        uint64
	ServerTime time.Time     // the server's clock, in milliseconds
	Heartbeat  time.Duration // how long the connection may be silent; 0: the server does not say
}

// tokenFunc gives the token for a login.
type tokenFunc = func(ctx context.Context) (string, error)

// Login calls auth.login with token, and after a success repeats it by itself on every new connection, before anything
// else is sent there. When the server refuses a repeated login as such (Unauthenticated, PermissionDenied,
// InvalidArgument, FailedPrecondition, Unimplemented) the client ends with that error; any other failure is tried again.
func (c *Client) Login(ctx context.Context, token string) (LoginResult, error) {
	return c.LoginFunc(ctx, func(context.Context) (string, error) { return token, nil })
}

// LoginFunc is Login for tokens that expire: token is called for every login, with a context that ends when the login's
// time is over (WithConnectTimeout for repeated ones). An error of it without one of the codes above only delays the next attempt.
func (c *Client) LoginFunc(ctx context.Context, token func(context.Context) (string, error)) (LoginResult, error) {
	t, err := token(ctx)
	if err != nil {
		return LoginResult{}, asCallError("auth.login: no token", err)
	}
	m, err := c.newCall(ctx, request, "auth.login", []any{t})
	if err != nil {
		return LoginResult{}, err
	}
	var reply loginReply
	m.result = &reply
	// The reader does this, so that a connection lost right after the response is already logged in again.
	m.then = func() { c.loggedIn(token, &reply) }
	if err := c.roundTrip(ctx, m); err != nil {
		return LoginResult{}, err
	}
	return reply.result(), nil
}

// Logout calls auth.logout, and forgets the login first, whatever the call's outcome.
func (c *Client) Logout(ctx context.Context) error {
	c.mu.Lock()
	c.token = nil
	c.mu.Unlock()
	return c.Call(ctx, "auth.logout", nil)
}

// loginReply is the result of auth.login on the wire.
type loginReply struct {
	UID          uint64 `msgpack:"uid"`
	ServerTimeMS int64  `msgpack:"server_time_ms"`
	HeartbeatMS  uint64 `msgpack:"heartbeat_ms"`
}

func (r *loginReply) heartbeat() time.Duration {
	if r.HeartbeatMS == 0 {
		return 0
	}
	ms := min(r.HeartbeatMS, uint64(maxHeartbeat/time.Millisecond))
	return max(time.Duration(ms)*time.Millisecond, minHeartbeat)
}

func (r *loginReply) result() LoginResult {
	return LoginResult{UID: r.UID, ServerTime: time.UnixMilli(r.ServerTimeMS), Heartbeat: r.heartbeat()}
}

// loggedIn remembers a login. Reader only.
func (c *Client) loggedIn(token tokenFunc, r *loginReply) {
	c.mu.Lock()
	c.token, c.heartbeat = token, r.heartbeat()
	c.mu.Unlock()
	signal(c.beats)
}

// asCallError gives an error from outside an Error with its code, Unavailable where it has none.
func asCallError(what string, err error) error {
	code := CodeOf(err)
	if code == Internal {
		code = Unavailable
	}
	return failure(code, what+": "+err.Error(), err)
}
