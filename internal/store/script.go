package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"

	"gameserverd/internal/future"
)

// Script is a Lua program that the server runs as one step: nobody's commands run between its own. Its text is the program's constant;
// what varies comes as keys and arguments.
type Script struct {
	// immutable after NewScript
	text string
	sha  string // as servers name it, once they know it
}

// NewScript makes a Script of its text, at package init. Any goroutine.
func NewScript(text string) *Script {
	sum := sha1.Sum([]byte(text))
	return &Script{text: text, sha: hex.EncodeToString(sum[:])}
}

// Script runs s with KEYS and ARGV, and returns what it returns. It sends the text only when the server does not know it, at first and
// after it was started again. In a cluster all keys must be on one node, as those with a common {tag} are. Any goroutine.
func (r *Redis) Script(s *Script, keys []string, args ...any) *future.Future[Reply] {
	return r.script(context.Background(), s, keys, args)
}

// ScriptContext is Script for code that may block; ctx bounds it too. Any goroutine but a loop's.
func (r *Redis) ScriptContext(ctx context.Context, s *Script, keys []string, args ...any) (Reply, error) {
	return r.script(ctx, s, keys, args).Wait(context.Background()) // ctx is in the call: it is answered when ctx ends
}

func (r *Redis) script(ctx context.Context, s *Script, keys []string, args []any) *future.Future[Reply] {
	named := s.call("EVALSHA", s.sha, keys, args)
	size := len(s.text)
	if err := checkCommand(named, &size); err != nil {
		return future.Failed[Reply](err)
	}
	return submit(r.lane, ctx, r.timeout, r.late, func(c *call) (Reply, error) {
		c.begin()
		reply, err := r.run(c.ctx, named)
		var refused *ReplyError
		if errors.As(err, &refused) && strings.HasPrefix(refused.Message, "NOSCRIPT") {
			return r.run(c.ctx, s.call("EVAL", s.text, keys, args)) // the server has run nothing, so this is the first time
		}
		return reply, err
	})
}

func (s *Script) call(verb, what string, keys []string, args []any) Command {
	cmd := make(Command, 0, 3+len(keys)+len(args))
	cmd = append(cmd, verb, what, len(keys))
	for _, key := range keys {
		cmd = append(cmd, key)
	}
	return append(cmd, args...)
}
