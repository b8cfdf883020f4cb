package wire

import "time"

// ClosingMethod is the notification with which a server says why it closes a connection.
const ClosingMethod = "sys.closing"

// The codes of a Closing. Peers may send others.
const (
	ProtocolError      = "protocol_error"       // bytes that are no valid message
	FrameTooLarge      = "frame_too_large"      // a message over the limit
	LoginTimeout       = "login_timeout"        // not logged in after limits.login_timeout
	IdleTimeout        = "idle_timeout"         // nothing received for limits.idle_timeout
	SlowConsumer       = "slow_consumer"        // too much waits to be sent
	RateLimited        = "rate_limited"         // the rate limit was ignored for too long
	TooManyConnections = "too_many_connections" // over limits.max_connections or limits.max_connections_per_ip
	Replaced           = "replaced"             // the same uid logged in elsewhere
	Kicked             = "kicked"               // an operator or a handler said so
	ServerShutdown     = "server_shutdown"      // draining
)

// Closing says why a server closes a connection:
//
//	{"code": str, "message": str, "reconnect": bool, "retry_after_ms": uint}    the last only where it is set
type Closing struct {
	Code       string
	Message    string        // for people
	Reconnect  bool          // whether it makes sense to connect again
	RetryAfter time.Duration // and when at the earliest; 0: nothing is said; sent as milliseconds, rounded up
}

// AppendClosing appends the whole notification.
func AppendClosing(b []byte, c Closing) []byte {
	b = AppendArray(AppendNotification(b, ClosingMethod), 1)
	n := 3
	if c.RetryAfter > 0 {
		n = 4
	}
	b = AppendMap(b, n)
	b = AppendString(AppendString(b, "code"), c.Code)
	b = AppendString(AppendString(b, "message"), c.Message)
	b = AppendBool(AppendString(b, "reconnect"), c.Reconnect)
	if c.RetryAfter > 0 {
		b = AppendUint(AppendString(b, "retry_after_ms"), millis(c.RetryAfter))
	}
	return b
}

// ParseClosing reads the params of the notification, which must be validated. Unknown keys are ignored and so are missing
// ones, but a known one of the wrong type is a *TypeError.
func ParseClosing(params Raw) (c Closing, err error) {
	r := NewReader(params)
	if n, err := r.Array(); err != nil {
		return c, err
	} else if n == 0 {
		return c, &TypeError{Want: "map", Got: "nothing"}
	}
	n, err := r.Map()
	if err != nil {
		return c, err
	}
	for ; n > 0 && err == nil && len(r.Rest()) > 0; n-- {
		key := r.Raw()
		value := NewReader(r.Raw())
		start, end := text(key)
		switch string(key[start:end]) {
		case "code":
			c.Code, err = value.String()
		case "message":
			c.Message, err = value.String()
		case "reconnect":
			c.Reconnect, err = value.Bool()
		case "retry_after_ms":
			var ms uint64
			ms, err = value.Uint64()
			c.RetryAfter = fromMillis(ms)
		}
	}
	return c, err
}
