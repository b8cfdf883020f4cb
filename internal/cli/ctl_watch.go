package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"gameserverd/internal/ctl"
)

// Drain begins the daemon's drain. With wait it shows the progress and says how
// it ended: ExitCut when the deadline cut it.
func (c *Ctl) Drain(ctx context.Context, wait bool) error {
	if !wait {
		var st ctl.Status
		if err := c.call(ctx, "POST", "/drain", nil, &st); err != nil {
			return err
		}
		if c.JSON {
			return c.print(st)
		}
		_, err := fmt.Fprintf(c.Out, "the daemon drains: %d connections, %d calls under way; --wait would show its end\n", st.Connections, st.Underway)
		return Failed(err)
	}
	var last ctl.Status
	began := time.Now()
	err := ctl.NewClient(c.Socket).Lines(ctx, "POST", "/drain?wait=true", nil, func() {}, func(line []byte) error {
		last = ctl.Status{}
		if err := json.Unmarshal(line, &last); err != nil {
			return err
		}
		if c.JSON {
			_, err := fmt.Fprintf(c.Out, "%s\n", line)
			return err
		}
		if d := last.Drain; d != nil && !d.Ended {
			c.progress(fmt.Sprintf("draining for %v of %v: %d connections, %d calls under way",
				shortly(d.TookMS), shortly(d.DeadlineMS), d.Connections, d.Underway))
		}
		return nil
	})
	c.progress("")
	if last.Drain == nil || !last.Drain.Ended {
		if err == nil || time.Since(began) > ctlTimeout {
			err = errors.New("the daemon ended without saying how the drain went; its exit code and its log do")
		}
		return c.failed(ctx, err)
	}
	return c.drained(last.Drain)
}

func (c *Ctl) drained(d *ctl.Drain) error {
	if !d.Clean {
		return &ExitError{Code: ExitCut, Err: fmt.Errorf("the drain was cut by shutdown.deadline (%v); calls not answered: %d, and the log names them",
			shortly(d.DeadlineMS), d.Abandoned)}
	}
	if c.JSON {
		return nil
	}
	_, err := fmt.Fprintf(c.Out, "drained in %v: everything was answered\n", shortly(d.TookMS))
	return Failed(err)
}

// progress shows a line that the next one replaces; "" ends it.
func (c *Ctl) progress(line string) {
	switch {
	case c.JSON:
	case c.Terminal:
		fmt.Fprintf(c.Err, "\r\x1b[K%s", line)
	case line != "":
		fmt.Fprintln(c.Err, line)
	}
}

// Trace prints every message from and to a player for as long as it is given.
// The end of ctx ends it without an error.
func (c *Ctl) Trace(ctx context.Context, uid uint64, d time.Duration) error {
	q := url.Values{"uid": {strconv.FormatUint(uid, 10)}, "for_ms": {strconv.FormatInt(d.Milliseconds(), 10)}}
	began := func() {
		if !c.JSON {
			fmt.Fprintf(c.Err, "the messages of player %d for %v, on this connection and those that follow\n", uid, d)
		}
	}
	var last ctl.Traced
	err := ctl.NewClient(c.Socket).Lines(ctx, "GET", "/trace?"+q.Encode(), nil, began, func(line []byte) error {
		last = ctl.Traced{}
		if err := json.Unmarshal(line, &last); err != nil {
			return err
		}
		if c.JSON {
			_, err := fmt.Fprintf(c.Out, "%s\n", line)
			return err
		}
		if last.End != "" {
			return nil
		}
		_, err := fmt.Fprintln(c.Out, traceLine(&last))
		return err
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return c.failed(ctx, err)
	case last.End == "":
		return c.failed(ctx, errors.New("the daemon ended in the middle of the trace"))
	case !c.JSON && last.Dropped > 0:
		fmt.Fprintf(c.Err, "%s: %d messages, and %d that came too fast to be shown\n", last.End, last.Messages, last.Dropped)
	case !c.JSON:
		fmt.Fprintf(c.Err, "%s: %d messages\n", last.End, last.Messages)
	}
	return nil
}
