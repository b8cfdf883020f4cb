package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// ErrNeedsTLS is why a connection ended on which the server spoke TLS and the client did not: WithTLS is missing.
var ErrNeedsTLS = errors.New("the server speaks TLS here, and the client does not")

// WithTLS makes every connection a TLS connection. In cfg only what differs from the defaults needs to be said (nil:
// nothing does): RootCAs is the system's authorities unless said, ServerName the host of the address, and sessions are
// resumed when the client reconnects. Certificates are for servers that ask for one. For a unix socket a ServerName must be
// said. cfg is cloned.
//
// The context of Dial, and WithConnectTimeout, bound the handshake too. A handshake that fails is an error of Dial in
// which errors.As finds what crypto/tls said, for example an x509.UnknownAuthorityError.
func WithTLS(cfg *tls.Config) Option {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	return func(o *options) { o.tls = cfg }
}

// secure makes all that o dials a TLS connection to the host of address.
func (o *options) secure(network, address string) {
	cfg := o.tls.Clone() // one for this client: an Option may be used for several
	if host, _, err := net.SplitHostPort(address); err == nil && cfg.ServerName == "" && network != "unix" {
		cfg.ServerName = host
	}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	plain := o.dial
	o.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := plain(ctx, network, address)
		if err != nil {
			return nil, err
		}
		tc := tls.Client(nc, cfg)
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		return tc, nil
	}
}

// The first bytes of a TLS record that a server which was not asked for TLS may send: an alert, of any version.
const (
	recordAlert  = 0x15
	versionMajor = 0x03
)

// isAlert reports whether b, which is no frame, is what a TLS server says to somebody who speaks no TLS.
func isAlert(b []byte) bool { return len(b) >= 2 && b[0] == recordAlert && b[1] == versionMajor }
