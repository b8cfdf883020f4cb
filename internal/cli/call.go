package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"gameserverd/client"
	"gameserverd/internal/msgjson"
	"gameserverd/wire"
)

// DefaultAddr is where the daemon listens unless it is told otherwise.
const DefaultAddr = "127.0.0.1:5700"

// Call is one use of `gameserverd call`. It belongs to the goroutine that calls
// Run.
type Call struct {
	Addr    string        // host:port or unix:/path
	Method  string        // what to call
	Args    []string      // its params, see ParseArg
	TLS     *tls.Config   // nil: plain
	Login   string        // token for auth.login first; "": no login
	Notify  bool          // send a notification, which has no result
	Answer  string        // with Wait or Stdin: the result for every call of the server, as Args; "": they are answered unimplemented
	Wait    time.Duration // stay connected for so long after the last call and print what the server sends
	Stdin   io.Reader     // further calls, one a line: METHOD JSON-ARG...; what the server sends is printed meanwhile; nil: none
	Timeout time.Duration // for connecting, login and call together
	JSON    bool          // errors as JSON, results without white space
	Pretty  bool          // results with line breaks, unless JSON
	Program string        // how the user called us, for hints
	Out     io.Writer     // results
	Err     io.Writer     // everything else

	answer   any        // Answer, read
	printing sync.Mutex // Out is written by the caller and by the client's handlers
}

// Run makes the call, and those of Stdin, and prints their outcome. The error is
// an *ExitError: ExitUsage for arguments that cannot be sent, ExitFailed for
// every other failure, which has been explained on Err. The end of ctx is an
// interrupt: it ends Wait and Stdin without an error.
func (c *Call) Run(ctx context.Context) error {
	params, err := parseArgs(c.Args)
	if err != nil {
		return Usage("%w", err)
	}
	if c.Answer != "" {
		if c.answer, err = ParseArg(c.Answer); err != nil {
			return Usage("--answer: %w", err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	options := []client.Option{
		client.WithoutReconnect(), client.WithLogger(slog.New(slog.DiscardHandler)),
		client.WithMaxFrame(wire.MaxFrame), client.WithMaxElements(wire.MaxFrame),
	}
	if c.TLS != nil {
		options = append(options, client.WithTLS(c.TLS))
	}
	conn, err := client.Dial(limited, c.Addr, options...)
	if err != nil {
		return c.fail(ctx, failure{step: connecting, err: err})
	}
	defer conn.Close()
	if c.Wait > 0 || c.Stdin != nil {
		conn.Handle("", c.received)
	}
	if c.Login != "" {
		if _, err := conn.Login(limited, c.Login); err != nil {
			return c.fail(ctx, failure{step: loggingIn, err: err, conn: conn})
		}
	}
	if err := c.one(ctx, limited, conn, c.Method, params); err != nil {
		return err
	}
	return c.stay(ctx, conn)
}

// one makes one call or notification within limited.
func (c *Call) one(ctx, limited context.Context, conn *client.Client, method string, params []any) error {
	var err error
	if c.Notify {
		err = conn.Notify(limited, method, params...)
	} else {
		var result client.Raw
		if err = conn.Call(limited, method, &result, params...); err == nil {
			c.printResult(result)
		}
	}
	if err != nil {
		return c.fail(ctx, failure{step: calling, err: err, conn: conn, method: method})
	}
	return nil
}

func parseArgs(args []string) (params []any, err error) {
	for i, arg := range args {
		v, err := ParseArg(arg)
		if err == nil {
			_, err = wire.AppendAny(nil, v) // what is nested too deep
		}
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		params = append(params, v)
	}
	return params, nil
}

// wide is how many bytes a result may have before it gets line breaks.
const wide = 80

// printResult writes the one result of a call.
func (c *Call) printResult(v wire.Raw) {
	line := AppendJSON(nil, v)
	if c.Pretty && !c.JSON && len(line) > wide {
		var b bytes.Buffer
		if json.Indent(&b, line, "", "  ") == nil {
			line = b.Bytes()
		}
	}
	c.printLine(line)
}

// received prints a notification or a call of the server as one line:
//
//	{"notification":"room.said","params":["lobby",7,"hi",1700000000000]}
//	{"call":"duel.offer","params":[7]}
func (c *Call) received(r *client.Request) (any, error) {
	what := "call"
	if r.Notification() {
		what = "notification"
	}
	line := fmt.Appendf(nil, `{%q:`, what)
	line = msgjson.AppendText(line, r.Method())
	line = append(line, `,"params":`...)
	c.printLine(append(AppendJSON(line, r.Params()), '}'))
	if c.Answer == "" {
		return nil, client.Errorf(client.Unimplemented, "%s: the command line answers no calls without --answer", r.Method())
	}
	return c.answer, nil
}

func (c *Call) printLine(line []byte) {
	c.printing.Lock()
	defer c.printing.Unlock()
	_, _ = c.Out.Write(append(line, '\n')) // a reader that has gone has seen enough
}

// fail explains f and ends the call.
func (c *Call) fail(ctx context.Context, f failure) error {
	if ctx.Err() != nil && errors.Is(f.err, context.Canceled) {
		return &ExitError{Code: ExitInterrupted}
	}
	e := c.explain(f)
	if c.JSON {
		line, err := json.Marshal(e)
		if err != nil {
			return Failed(err)
		}
		fmt.Fprintf(c.Err, "%s\n", line)
	} else {
		fmt.Fprintf(c.Err, "error: %s: %s\n", e.Code, e.Message)
		if e.Data != nil {
			fmt.Fprintf(c.Err, "data: %s\n", e.Data)
		}
		fmt.Fprintf(c.Err, "hint: %s\n", e.Hint)
	}
	return &ExitError{Code: ExitFailed}
}
