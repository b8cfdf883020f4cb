package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"gameserverd/wire"
)

// said is an answer of a server's.
type said string

func (s said) Error() string { return string(s) }
func (said) RedisError()     {}

// TestRedisOutcomes is what callers and the health get of what go-redis says.
func TestRedisOutcomes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code wire.Code
		up   bool
		text string
	}{
		{nil, "", true, ""},
		{redis.Nil, "", true, ""},
		{said("WRONGTYPE Operation"), wire.Internal, true, "redis: WRONGTYPE Operation"},
		{said("OOM command not allowed"), wire.Internal, true, "redis: OOM"},
		{said("MOVED 1 127.0.0.1:1"), wire.Unavailable, true, "nothing was changed"},
		{said("TRYAGAIN Multiple keys"), wire.Unavailable, true, "nothing was changed"},
		{said("LOADING Redis is loading"), wire.Unavailable, false, "nothing was changed"},
		{said("READONLY You can't write"), wire.Unavailable, false, "nothing was changed"},
		{said("CLUSTERDOWN Hash slot"), wire.Unavailable, false, "nothing was changed"},
		{said("ERR max number of clients reached"), wire.Unavailable, false, "nothing was changed"},
		{&connectError{errors.New("refused")}, wire.Unavailable, false, "nothing was changed"},
		{fmt.Errorf("around: %w", &connectError{redis.Nil}), wire.Unavailable, false, "nothing was changed"},
		{fmt.Errorf("sentinels: %w", redis.Nil), wire.Unavailable, false, "outcome is not known"},
		{io.EOF, wire.Unavailable, false, "was lost; the outcome is not known"},
		{os.ErrDeadlineExceeded, wire.Unavailable, false, "in time; the outcome is not known"},
		{redis.ErrPoolTimeout, wire.Unavailable, false, "in time; the outcome is not known"},
		{redis.ErrClosed, wire.Unavailable, true, "shutting down; nothing was changed"},
	} {
		r := &Redis{health: NewHealth("redis", nil, nil)}
		err := r.outcome(within(t, deadline), c.err)
		up, _, _ := r.health.State()
		if wire.CodeOf(err) != c.code || up != c.up || c.text != "" && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v: %v, up: %v", c.err, err, up)
		}
	}
	// What comes of the caller's own end says nothing of the store.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := &Redis{health: NewHealth("redis", nil, nil)}
	err := r.outcome(ctx, io.EOF)
	if up, _, _ := r.health.State(); !errors.Is(err, context.Canceled) || !up {
		t.Errorf("%v, up: %v", err, up)
	}
}
