package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// tlsOptions are those of a URL that newTransport reads.
var tlsOptions = []string{"ca_file", "cert_file", "key_file", "server_name", "skip_verify"}

// keepAlive finds out within 45 s that a machine is gone which did not say so.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

// transport is how connections are made secret.
type transport struct{ config *tls.Config }

// newTransport reads the files that the options name.
func newTransport(options map[string]string) (*transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: options["server_name"]}
	if file := options["ca_file"]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: no certificate in %s", file)
		}
	}
	certificate, key := options["cert_file"], options["key_file"]
	if (certificate == "") != (key == "") {
		return nil, errors.New("cert_file and key_file are given together or not at all")
	}
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	switch options["skip_verify"] {
	case "", "false":
	case "true":
		config.InsecureSkipVerify = true
	default:
		return nil, errors.New("skip_verify is true or false")
	}
	return &transport{config}, nil
}

// dialer is how go-redis gets its connections. A failure is a *connectError: nothing of a command was sent.
func (p *redisPlace) dialer(timeout time.Duration, inProcess func(context.Context) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		var conn net.Conn
		var err error
		if inProcess != nil {
			conn, err = inProcess(ctx)
		} else {
			d := net.Dialer{KeepAliveConfig: keepAlive}
			conn, err = d.DialContext(ctx, network, addr)
		}
		if err == nil && p.secure != nil {
			conn, err = p.secure.around(ctx, conn, addr)
		}
		if err != nil {
			return nil, &connectError{err}
		}
		return conn, nil
	}
}

// around shakes hands with the server at addr.
func (t *transport) around(ctx context.Context, raw net.Conn, addr string) (net.Conn, error) {
	config := t.config
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			raw.Close()
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	socket, is := raw.(syscall.Conn)
	if !is {
		return conn, nil
	}
	return &tlsConn{conn, socket}, nil
}

// tlsConn shows go-redis the socket under the TLS, where it looks before each use whether the server has closed the connection.
// Without it each unused connection would cost a call after the server was started again.
type tlsConn struct {
	*tls.Conn
	socket syscall.Conn
}

// SyscallConn is for looking only.
func (c *tlsConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// noNotifications spares a round trip for each new connection, and what would wait for the answers.
func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// silent is go-redis's log. It would be a line for each call that fails; Health says what happened, once.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(silent{}) }
