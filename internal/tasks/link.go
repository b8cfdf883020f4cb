package tasks

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// link is Redis as asynq has it here. Its questions for work wait at the gate, and the
// scripts that many goroutines run at once go out as one pipeline: that is where the
// time of small tasks goes. Which script it is, its keys say: those of asynq are
// asynq:{QUEUE}:PART. Any goroutine.
type link struct {
	redis.UniversalClient // for what is not below

	// immutable after newLink
	gate   *gate
	slots  slots         // nil: nothing runs here
	passes chan struct{} // one for each task that asynq has got: it has a slot
	tell   func(queue string)
	aside  func(queue, message string, why error) // puts away what asynq is not given

	ahead map[string]int // how many more than one are taken from a queue; asynq's goroutine only

	mu      sync.Mutex // guards what follows
	queued  []joined
	flying  int // pipelines under way
	ready   map[string][]*redis.Cmd
	readies int // of all queues
}

// joined is a command that goes with others.
type joined struct {
	cmd  redis.Cmder
	done chan struct{}
}

const (
	maxFlying = 2
	maxJoined = 128 // commands of one pipeline
)

// newLink makes a link; tell says to other processes that a queue has something, and
// aside puts away a message that was taken from a queue and is refused.
func newLink(client redis.UniversalClient, g *gate, s slots, tell func(queue string), aside func(queue, message string, why error)) *link {
	return &link{
		UniversalClient: client, gate: g, slots: s, passes: make(chan struct{}, cap(s)), tell: tell, aside: aside,
		ahead: make(map[string]int), ready: make(map[string][]*redis.Cmd),
	}
}

// EvalSha implements redis.Scripter.
func (l *link) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	list := make([]any, 0, 3+len(keys)+len(args))
	list = append(list, "evalsha", sha, len(keys))
	for _, key := range keys {
		list = append(list, key)
	}
	list = append(list, args...)
	command := func() *redis.Cmd {
		cmd := redis.NewCmd(ctx, list...)
		cmd.SetFirstKeyPos(3)
		return cmd
	}
	if queue, ok := dequeues(keys); ok {
		return l.dequeue(ctx, queue, command)
	}
	return l.script(ctx, keys, func() *redis.Cmd {
		cmd := command()
		l.join(cmd)
		return cmd
	})
}

// Eval implements redis.Scripter: what asynq does when Redis does not know a script yet.
// The script for dequeuing is only made known: asynq asks again at once.
func (l *link) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	if _, ok := dequeues(keys); ok {
		nothing := redis.NewCmd(ctx)
		if err := l.ScriptLoad(ctx, script).Err(); err != nil {
			nothing.SetErr(err)
		} else {
			nothing.SetErr(redis.Nil)
		}
		return nothing
	}
	return l.script(ctx, keys, func() *redis.Cmd { return l.UniversalClient.Eval(ctx, script, keys, args...) })
}

// dequeues reports whether a script with these keys takes from a queue.
func dequeues(keys []string) (queue string, ok bool) {
	if len(keys) != 4 {
		return "", false
	}
	queue, part := partOf(keys[0])
	return queue, part == "pending"
}

// script runs one of asynq's scripts by ask.
func (l *link) script(ctx context.Context, keys []string, ask func() *redis.Cmd) *redis.Cmd {
	if len(keys) == 0 {
		return ask()
	}
	queue, part := partOf(keys[0])
	if len(keys) == 2 && (part == "scheduled" || part == "retry") {
		return l.forward(ctx, queue, keys[0], ask)
	}
	cmd := ask()
	for _, key := range keys { // also after an error: it may have been done
		switch queue, part := partOf(key); part {
		case "pending":
			l.filled(queue)
		case "scheduled", "retry":
			l.gate.changed(key)
		}
	}
	return cmd
}

// filled says that a queue may have something, here and elsewhere.
func (l *link) filled(queue string) {
	l.gate.may(queue)
	l.tell(queue)
}

// partOf takes a key of asynq's apart.
func partOf(key string) (queue, part string) {
	rest, ok := strings.CutPrefix(key, "asynq:{")
	if !ok {
		return "", ""
	}
	queue, part, _ = strings.Cut(rest, "}:")
	return queue, part
}

// maxAhead is how many tasks are taken from a queue at once, if there are slots for them:
// asynq takes one after the other, and each would be a round trip.
const maxAhead = 8

// dequeue gives asynq the next task of a queue, when there is a slot for it.
func (l *link) dequeue(ctx context.Context, queue string, command func() *redis.Cmd) *redis.Cmd {
	nothing := redis.NewCmd(ctx)
	nothing.SetErr(redis.Nil)
	if next, some := l.nextReady(queue); next != nil {
		return next
	} else if some {
		return nothing // another queue's turn, at once
	}
	if !l.gate.enter(queue) || !l.slots.one(l.gate.stopped) {
		return nothing
	}
	slots := 1 + l.slots.more(l.ahead[queue])
	cmds := make([]*redis.Cmd, slots)
	pipe := l.Pipeline()
	for i := range cmds {
		cmds[i] = command()
		_ = pipe.Process(ctx, cmds[i]) // queues it
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	got := l.admit(queue, cmds)
	l.slots.free(slots - len(got))
	last := cmds[slots-1]
	switch err := last.Err(); {
	case err == nil:
		l.ahead[queue] = min(2*l.ahead[queue]+1, maxAhead-1)
		l.gate.may(queue)
	case err == redis.Nil:
		l.ahead[queue] = 0
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		l.gate.may(queue) // it is asked again at once
	default:
		l.gate.failed(queue)
	}
	switch {
	case len(got) == 0 && last.Err() == nil:
		return nothing // it was refused
	case len(got) == 0:
		return last
	}
	l.mu.Lock()
	l.ready[queue] = append(l.ready[queue], got[1:]...)
	l.readies += len(got) - 1
	l.mu.Unlock()
	return got[0]
}

// admit makes a pass for each message that was taken, as process expects it, and keeps
// those aside for which asynq would not call it.
func (l *link) admit(queue string, cmds []*redis.Cmd) (got []*redis.Cmd) {
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			continue
		}
		message, err := cmd.Text()
		if err == nil {
			err = refusal(queue, message)
		}
		if err != nil {
			l.aside(queue, message, err)
			continue
		}
		l.passes <- struct{}{} // with the slot
		got = append(got, cmd)
	}
	return got
}

// nextReady is the next task of a queue that was taken from it already; some tells
// whether any queue has one.
func (l *link) nextReady(queue string) (next *redis.Cmd, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.ready[queue]
	if len(list) == 0 {
		return nil, l.readies > 0
	}
	l.ready[queue] = list[1:]
	l.readies--
	return list[0], true
}

// awaitTaken waits until asynq has all that was taken for it. They have their slots, so
// it does not take long.
func (l *link) awaitTaken(ctx context.Context) {
	awaitNone(ctx, func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.readies
	})
}

// forward lets asynq move what is due from key to its queue.
func (l *link) forward(ctx context.Context, queue, key string, ask func() *redis.Cmd) *redis.Cmd {
	if l.gate.nothingDue(key, time.Now()) {
		none := redis.NewCmd(ctx)
		none.SetVal(int64(0))
		return none
	}
	l.gate.nextDue(key, time.Now().Add(laterNet)) // before: what is put there meanwhile is seen next time
	cmd := ask()
	moved, err := cmd.Int64()
	switch {
	case err != nil:
		l.gate.changed(key)
	case moved > 0:
		l.gate.changed(key) // there may be more
		l.filled(queue)
	case l.gate.alone:
		first, err := l.ZRangeWithScores(ctx, key, 0, 0).Result()
		if err != nil {
			l.gate.changed(key)
		} else if len(first) == 1 {
			l.gate.dueSooner(key, time.Unix(int64(first[0].Score), 0))
		}
	}
	return cmd
}

// join runs cmd, in one pipeline with those that others have at this time.
func (l *link) join(cmd redis.Cmder) {
	mine := joined{cmd, make(chan struct{})}
	l.mu.Lock()
	l.queued = append(l.queued, mine)
	lead := l.flying < maxFlying
	if lead {
		l.flying++
	}
	l.mu.Unlock()
	if lead {
		l.fly()
	}
	<-mine.done
}

// fly sends what is queued, and leaves what comes meanwhile to another goroutine.
func (l *link) fly() {
	l.mu.Lock()
	n := min(len(l.queued), maxJoined)
	some := l.queued[:n:n]
	l.queued = l.queued[n:]
	if n == 0 {
		l.queued = nil
		l.flying--
	}
	l.mu.Unlock()
	if n == 0 {
		return
	}
	// Bounded by the client's own times: whoever waits for one of them has another ctx.
	if ctx := context.Background(); n == 1 {
		_ = l.Process(ctx, some[0].cmd) // the command has its error
	} else {
		pipe := l.Pipeline()
		for _, j := range some {
			_ = pipe.Process(ctx, j.cmd) // queues it
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
	for _, j := range some {
		close(j.done)
	}
	l.mu.Lock()
	more := len(l.queued) > 0
	if !more {
		l.flying--
	}
	l.mu.Unlock()
	if more {
		go l.fly()
	}
}
