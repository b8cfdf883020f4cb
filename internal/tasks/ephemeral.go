package tasks

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gameserverd/wire"
)

// carried is what Redis has of a task: an ephemeral one, or, in asynq's archive, anything
// that was kept aside there.
type carried struct {
	Info
	message string // as asynq has it
	refused error  // why asynq is not given it; nil: it is a task of ours
}

// asynqStates are asynq's words for states.
var asynqStates = map[string]State{
	"pending": Waiting, "scheduled": Waiting, "retry": Waiting, "active": Running, "completed": Done, "archived": Archived,
}

// asRedisHas reads what HMGET of msg, state and lost has answered; ok: there is a task for
// people to see.
func asRedisHas(queue, id string, answer []any) (c carried, ok bool) {
	text := func(i int) string { s, _ := answer[i].(string); return s }
	state, known := asynqStates[text(1)]
	if c.message = text(0); c.message == "" || !known {
		return c, false
	}
	c.ID, c.Queue, c.state, c.State = ID(id), queue, state, state.String()
	c.refused = refusal(queue, c.message)
	m := messageType.New()
	if proto.Unmarshal([]byte(c.message), m.Interface()) == nil {
		c.Problem, c.Failures = strings.TrimSuffix(messageField(m, "error_msg").String(), ": "+asynq.SkipRetry.Error()), messageField(m, "retried").Int()
		e, err := readEnvelope(messageField(m, "payload").Bytes())
		switch {
		case messageField(m, "type").String() != ephemeralType:
			c.refused = orFirst(c.refused, fmt.Errorf("it is of type %q", messageField(m, "type").String()))
		case err != nil:
			c.refused = orFirst(c.refused, err)
		default:
			c.Name, c.RunMS, c.Retries, c.Args = e.Name, e.RunMS, int64(e.Retries), e.Args
		}
	}
	switch {
	case c.refused != nil && c.Problem == "":
		c.Problem = c.refused.Error()
	case text(2) != "" && c.Problem == "":
		c.Problem = text(2) + " workers died while they ran it"
	}
	c.Problem = strings.ToValidUTF8(c.Problem, "\uFFFD")
	return c, c.refused == nil || state == Archived
}

func orFirst(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// errRedis is what is said of Redis when it does not answer.
func errRedis(err error) error {
	return &wire.Error{Code: wire.Unavailable, Message: fmt.Sprintf("redis does not answer: %v", err), RetryAfter: time.Second}
}

// findCarried finds a task in Redis by its id.
func (t *Tasks) findCarried(ctx context.Context, id ID) (carried, error) {
	asked := make(map[string]*redis.SliceCmd)
	_, err := t.o.Redis.Client().Pipelined(ctx, func(p redis.Pipeliner) error {
		for queue := range t.o.Queues {
			asked[queue] = p.HMGet(ctx, asynqKey(queue, "t:"+string(id)), "msg", "state", "lost")
		}
		return nil
	})
	if err != nil {
		return carried{}, errRedis(err)
	}
	for queue, cmd := range asked {
		if c, ok := asRedisHas(queue, string(id), cmd.Val()); ok {
			return c, nil
		}
	}
	return carried{}, errNoTask(id)
}

// asideStep is how many messages are read from Redis at once: each may have maxArgs.
const asideStep = 50

// listAside lists what is in asynq's archive, the newest first, limit at most, without
// arguments.
func (t *Tasks) listAside(ctx context.Context, limit int) (list []Info, err error) {
	client := t.o.Redis.Client()
	for queue := range t.o.Queues {
		if len(list) == limit { // asked for none, Redis would give all
			break
		}
		ids, err := client.ZRevRangeWithScores(ctx, asynqKey(queue, "archived"), 0, int64(limit-len(list))-1).Result()
		if err != nil {
			return nil, errRedis(err)
		}
		for len(ids) > 0 && len(list) < limit {
			step := ids[:min(asideStep, len(ids))]
			ids = ids[len(step):]
			asked := make([]*redis.SliceCmd, len(step))
			if _, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
				for i, z := range step {
					asked[i] = p.HMGet(ctx, asynqKey(queue, "t:"+fmt.Sprint(z.Member)), "msg", "state", "lost")
				}
				return nil
			}); err != nil {
				return nil, errRedis(err)
			}
			for i, z := range step {
				if c, ok := asRedisHas(queue, fmt.Sprint(z.Member), asked[i].Val()); ok {
					c.EndedMS, c.Args = int64(z.Score)*1000, nil
					c.Problem = strings.ToValidUTF8(c.Problem[:min(len(c.Problem), maxListed)], "")
					list = append(list, c.Info)
				}
			}
		}
	}
	return list, nil
}

// forgetWaiting deletes what waits in Redis, and nothing else.
//
//	KEYS: asynq:{QUEUE}: t:ID, pending, scheduled, retry
//	ARGV: ID
//	returns "" when it has, else asynq's word for the state, or "gone"
var forgetWaiting = redis.NewScript(`
local state = redis.call("HGET", KEYS[1], "state") or "gone"
if state == "pending" then
	redis.call("LREM", KEYS[2], 0, ARGV[1])
elseif state == "scheduled" then
	redis.call("ZREM", KEYS[3], ARGV[1])
elseif state == "retry" then
	redis.call("ZREM", KEYS[4], ARGV[1])
else
	return state
end
redis.call("DEL", KEYS[1])
return ""`)

// revokedKey says in Redis that an ephemeral task was revoked.
func revokedKey(id ID) string { return "gameserverd:tasks:revoked:" + string(id) }

const revokedFor = 24 * time.Hour

func (t *Tasks) revokedEphemeral(ctx context.Context, id ID) (bool, error) {
	cmd := redis.NewIntCmd(ctx, "exists", revokedKey(id))
	t.link.join(cmd)
	return cmd.Val() == 1, cmd.Err()
}

func (t *Tasks) revokeEphemeral(ctx context.Context, id ID) (waiting bool, err error) {
	c, err := t.findCarried(ctx, id)
	switch {
	case err != nil:
		return false, err
	case c.state != Waiting && c.state != Running:
		return false, errEnded(id, c.state)
	}
	client := t.o.Redis.Client()
	first, err := client.SetNX(ctx, revokedKey(id), 1, revokedFor).Result()
	switch {
	case err != nil:
		return false, errRedis(err)
	case !first:
		return false, wire.Errorf(wire.FailedPrecondition, "task %s was revoked already", id)
	}
	keys := []string{asynqKey(c.Queue, "t:"+string(id)), asynqKey(c.Queue, "pending"), asynqKey(c.Queue, "scheduled"), asynqKey(c.Queue, "retry")}
	state, err := forgetWaiting.Run(ctx, client, keys, string(id)).Text()
	switch {
	case err != nil:
		return false, errRedis(err)
	case state == "":
		t.counts.revoked.Add(1)
		return true, nil
	case state == "active":
		t.stopRun(id)
		t.bus.publish(message{Kind: kindRevoke, Task: string(id)})
		return false, nil
	}
	client.Del(ctx, revokedKey(id)) // it has just ended; else the key goes by itself
	if state == "archived" {
		return false, errEnded(id, Archived)
	}
	return false, errNoTask(id)
}

func errEnded(id ID, state State) error {
	return wire.Errorf(wire.FailedPrecondition, "task %s has ended: it is %v", id, state)
}

// bringBack makes wait again what is in asynq's archive, as another message.
//
//	KEYS: asynq:{QUEUE}: t:ID, archived, pending
//	ARGV: ID, the message there is, the message there shall be, now in nanoseconds
//	returns 1 when it has, 0 when it is not there as it was
var bringBack = redis.NewScript(`
if redis.call("HGET", KEYS[1], "msg") ~= ARGV[2] or redis.call("ZREM", KEYS[2], ARGV[1]) == 0 then
	return 0
end
redis.call("HSET", KEYS[1], "msg", ARGV[3], "state", "pending", "pending_since", ARGV[4])
redis.call("HDEL", KEYS[1], "lost")
redis.call("LPUSH", KEYS[3], ARGV[1])
return 1`)

// retryEphemeral is Retry for an ephemeral task that Redis keeps in asynq's archive.
func (t *Tasks) retryEphemeral(ctx context.Context, id ID) error {
	c, err := t.findCarried(ctx, id)
	switch {
	case err != nil:
		return err
	case c.state != Archived:
		return wire.Errorf(wire.FailedPrecondition, "task %s is %v, not archived", id, c.state)
	case c.refused != nil:
		return wire.Errorf(wire.FailedPrecondition, "task %s cannot be run: %v", id, c.refused)
	}
	m := messageType.New()
	if err := proto.Unmarshal([]byte(c.message), m.Interface()); err != nil {
		return err
	}
	for _, name := range []protoreflect.Name{"retried", "error_msg", "last_failed_at"} {
		m.Clear(m.Descriptor().Fields().ByName(name))
	}
	anew, err := proto.Marshal(m.Interface())
	if err != nil {
		return err
	}
	keys := []string{asynqKey(c.Queue, "t:"+string(id)), asynqKey(c.Queue, "archived"), asynqKey(c.Queue, "pending")}
	n, err := bringBack.Run(ctx, t.o.Redis.Client(), keys, string(id), c.message, anew, time.Now().UnixNano()).Int()
	switch {
	case err != nil:
		return errRedis(err)
	case n == 0:
		return wire.Errorf(wire.Aborted, "task %s has just changed: try again", id)
	}
	t.link.filled(c.Queue)
	return nil
}
