package ctl

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Client talks to a daemon by its socket. Any goroutine.
type Client struct {
	// immutable after NewClient
	path string
	http http.Client
}

// dialTime bounds connecting to a daemon on this machine.
const dialTime = 3 * time.Second

// maxAnswer bounds what a daemon may answer, and one line of what it sends.
const maxAnswer = 64 << 20

// NewClient returns a client of the socket at path; it does not connect.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		err = within(path, func(short string) (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
			return err
		})
		if err != nil {
			return nil, &ConnectError{path, err}
		}
		return conn, nil
	}
	return &Client{path: path, http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// ConnectError says that the daemon was not reached: nothing has happened.
type ConnectError struct {
	Path string
	Err  error
}

// Error is the reason.
func (e *ConnectError) Error() string { return e.Err.Error() }

// Unwrap gives Err.
func (e *ConnectError) Unwrap() error { return e.Err }

// Call sends a request, with in as its body unless it is nil, and decodes the
// answer into out. The error is an *Error if the daemon has answered with one, a
// *ConnectError if it was not reached. Any goroutine.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	body, err := c.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("ctl: the answer: %w", err)
	}
	return nil
}

// Lines is Call for an answer of many lines: began is called when the daemon has
// taken the command, fn with each line, until its end or an error of fn. Any
// goroutine.
func (c *Client) Lines(ctx context.Context, method, path string, in any, began func(), fn func(line []byte) error) error {
	body, err := c.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	began()
	scan := bufio.NewScanner(body)
	scan.Buffer(nil, maxAnswer)
	for scan.Scan() {
		if err := fn(scan.Bytes()); err != nil {
			return err
		}
	}
	return scan.Err()
}

func (c *Client) do(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://ctl"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var connecting *ConnectError
		if errors.As(err, &connecting) {
			return nil, connecting // without the URL, which is none of the operator's
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var answered struct {
		Error *Error `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answered); err != nil || answered.Error == nil {
		return nil, fmt.Errorf("ctl: %s answers %s: is it a gameserverd?", c.path, resp.Status)
	}
	return nil, answered.Error
}
