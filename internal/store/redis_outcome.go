package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ReplyError is a server's refusal of one command. Nothing was changed, except by the commands that a failing script has run.
type ReplyError struct {
	Message string // as the server wrote it: "WRONGTYPE Operation against a key ..."; it may quote arguments
}

// Error is the server's text behind "store: redis: ".
func (e *ReplyError) Error() string { return "store: redis: " + e.Message }

// awayReplies begin the answers of a server that serves nobody at present: it is starting, is not the master any more, is out of
// connections, is held by a script, or does not know us.
var awayReplies = []string{
	"LOADING ", "MASTERDOWN ", "READONLY ", "CLUSTERDOWN ", "BUSY ", "NOAUTH ", "WRONGPASS ", "ERR max number of clients reached",
	"ERR AUTH ", "ERR Client sent AUTH", "ERR invalid password", "ERR DB index is out of range",
}

// movingReplies begin the answers of a cluster whose keys are moving from node to node.
var movingReplies = []string{"MOVED ", "ASK ", "TRYAGAIN "}

// isReply tells whether err is what a server has said to the command. Around other errors it is not: sentinels who do not know the
// master say nil, which is no reply of his.
func isReply(err error) bool {
	_, said := err.(redis.Error)
	return said
}

// outcome makes of what go-redis said the error that callers get, and tells the health.
func (r *Redis) outcome(ctx context.Context, err error) error {
	switch {
	case err == nil, err == redis.Nil:
		r.health.Ok()
		return nil
	case isReply(err):
		return r.replied(err)
	case errors.Is(err, redis.ErrClosed):
		return unavailable("the server is shutting down; nothing was changed", errClosed)
	}
	awaitEnd(ctx, err)
	if cause := context.Cause(ctx); cause != nil && cause != errTimeout {
		return &callerGone{cause, nil}
	}
	err = plainly(ctx, err)
	r.lost(err)
	var connecting *connectError
	switch {
	case errors.As(err, &connecting):
		return unavailable("the store cannot be reached; nothing was changed", err)
	case err == errTimeout:
		return unavailable("the store did not answer in time; the outcome is not known", err)
	}
	return unavailable("the connection to the store was lost; the outcome is not known", err)
}

// replied is the outcome of a command that the server has refused.
func (r *Redis) replied(err error) error {
	refusal := &ReplyError{Message: err.Error()}
	begins := func(prefix string) bool { return strings.HasPrefix(refusal.Message, prefix) }
	if slices.ContainsFunc(awayReplies, begins) {
		r.lost(refusal)
		return unavailable("the store is not ready; nothing was changed", refusal)
	}
	r.health.Ok() // it has answered
	if slices.ContainsFunc(movingReplies, begins) {
		return unavailable("the store is moving data; nothing was changed", refusal)
	}
	return refusal
}

// awaitEnd waits until ctx says whose deadline is over, the caller's or the call's own. A connection has the same deadline as ctx, and
// its error may be a moment earlier than ctx's.
func awaitEnd(ctx context.Context, err error) {
	if end, has := ctx.Deadline(); has && errors.Is(err, os.ErrDeadlineExceeded) && time.Until(end) < 50*time.Millisecond {
		<-ctx.Done()
	}
}

// plainly says in one way what go-redis says in several: that the time was over, that there is no connection, or that it was lost.
func plainly(ctx context.Context, err error) error {
	var connecting *connectError
	switch {
	case errors.As(err, &connecting):
		return err
	case context.Cause(ctx) == errTimeout, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, redis.ErrPoolTimeout):
		return errTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the server closed the connection: %w", err)
	}
	return err
}
