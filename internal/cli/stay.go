package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"gameserverd/client"
)

// stay keeps the connection: first for the calls of Stdin until its end, then
// for Wait. received prints meanwhile. A call that fails is explained and the
// next one made; the error is then the last one's.
func (c *Call) stay(ctx context.Context, conn *client.Client) error {
	over, cancel := context.WithCancel(ctx)
	defer cancel()
	var lines <-chan string
	var end <-chan time.Time
	switch {
	case c.Stdin != nil:
		lines = readLines(over, c.Stdin)
	case c.Wait == 0:
		return nil
	default:
		end = time.After(c.Wait)
	}
	var failed error
	for {
		select {
		case line, more := <-lines:
			if !more {
				lines, end = nil, time.After(c.Wait)
			} else if err := c.line(ctx, conn, line); err != nil {
				failed = err
			}
		case <-end:
			return failed
		case <-ctx.Done():
			return failed
		case <-conn.Done():
			return c.fail(ctx, failure{step: waiting, err: conn.Err()})
		}
	}
}

// line makes the call of one line: METHOD JSON-ARG...
func (c *Call) line(ctx context.Context, conn *client.Client, line string) error {
	words, err := splitLine(line)
	if err == nil && len(words) == 0 {
		return nil
	}
	var params []any
	if err == nil {
		params, err = parseArgs(words[1:])
	}
	if err != nil {
		fmt.Fprintf(c.Err, "error: %v\n", err)
		return &ExitError{Code: ExitUsage}
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.one(ctx, limited, conn, words[0], params)
}

// splitLine splits at white space, but not inside of an object, a list or a
// quoted string.
func splitLine(line string) (words []string, err error) {
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" {
			return words, nil
		}
		end := strings.IndexAny(line, " \t\r")
		if strings.Contains(`{["`, line[:1]) {
			dec := json.NewDecoder(strings.NewReader(line))
			var v json.RawMessage
			if err := dec.Decode(&v); err != nil {
				return nil, fmt.Errorf("%s is not JSON: %w", line, err)
			}
			end = int(dec.InputOffset())
		}
		if end < 0 {
			end = len(line)
		}
		words = append(words, line[:end])
		line = line[end:]
	}
}

// maxLine bounds a line of Stdin: no message is longer.
const maxLine = 32 << 20

// readLines sends the lines of r, and closes the channel at its end. It stops
// with ctx, once the Read under way has returned.
func readLines(ctx context.Context, r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scan := bufio.NewScanner(r)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			select {
			case lines <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}
