package tasks

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Anybody may write into Redis. A message that asynq cannot decode, or whose time is over
// when asynq gets it, never comes to process: its slot would be taken for ever. So each
// is looked at before asynq has it, as asynq decodes it: with its own type.
var messageType, errMessageType = findMessageType("type", "payload", "id", "queue", "timeout", "deadline", "retried", "error_msg", "last_failed_at")

func findMessageType(fields ...protoreflect.Name) (protoreflect.MessageType, error) {
	m, err := protoregistry.GlobalTypes.FindMessageByName("asynq.TaskMessage")
	if err != nil {
		return nil, fmt.Errorf("tasks: asynq's messages: %w", err)
	}
	for _, name := range fields {
		if m.Descriptor().Fields().ByName(name) == nil {
			return nil, fmt.Errorf("tasks: asynq's messages have no field %q", name)
		}
	}
	return m, nil
}

// maxMessageTime bounds a message's own timeout, in seconds: asynq makes nanoseconds of it.
const maxMessageTime = 1 << 31

// nameIn is the name of the ephemeral task in a message; "" if it is none.
func nameIn(message string) string {
	m := messageType.New()
	if err := proto.Unmarshal([]byte(message), m.Interface()); err != nil || messageField(m, "type").String() != ephemeralType {
		return ""
	}
	e, err := readEnvelope(messageField(m, "payload").Bytes())
	if err != nil {
		return ""
	}
	return e.Name
}

func messageField(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(name))
}

// refusal is why asynq is not given a message of a queue; nil: it is.
func refusal(queue, message string) error {
	m := messageType.New()
	if err := proto.Unmarshal([]byte(message), m.Interface()); err != nil {
		return fmt.Errorf("asynq cannot read it: %w", err)
	}
	timeout := messageField(m, "timeout").Int()
	switch {
	case messageField(m, "queue").String() != queue || messageField(m, "id").String() == "":
		return errors.New("it is not of this queue, or has no id: asynq could not put it away")
	case messageField(m, "deadline").Int() != 0: // over now, or by when asynq looks
		return errors.New("it has a deadline of asynq's, which no task of ours has")
	case timeout < 0 || timeout > maxMessageTime:
		return fmt.Errorf("its timeout is %d s", timeout)
	}
	return nil
}

// maxAside is how many asynq's archive of a queue keeps; asynq's own bound.
const maxAside = 10_000

// setAside moves what runs with a message to asynq's archive. The message may have no
// readable id, so it is found by what it is.
//
//	KEYS: asynq:{QUEUE}: active, lease, archived
//	ARGV: the prefix of asynq's tasks, the message, now in seconds, how many the archive keeps
//	returns the ids
var setAside = redis.NewScript(`
local ids = {}
for _, id in ipairs(redis.call("LRANGE", KEYS[1], 0, -1)) do
	if redis.pcall("HGET", ARGV[1] .. id, "msg") == ARGV[2] then
		redis.call("LREM", KEYS[1], 0, id)
		redis.call("ZREM", KEYS[2], id)
		redis.call("ZADD", KEYS[3], ARGV[3], id)
		redis.call("HSET", ARGV[1] .. id, "state", "archived")
		table.insert(ids, id)
	end
end
for _, id in ipairs(redis.call("ZRANGE", KEYS[3], 0, -1 - tonumber(ARGV[4]))) do
	redis.call("DEL", ARGV[1] .. id)
	redis.call("ZREM", KEYS[3], id)
end
return ids`)

// keepAside puts away a message that was taken from a queue, and that asynq is not given.
func (t *Tasks) keepAside(queue, message string, why error) {
	keys := []string{asynqKey(queue, "active"), asynqKey(queue, "lease"), asynqKey(queue, "archived")}
	ids, err := setAside.Run(t.ctx, t.link, keys, asynqKey(queue, "t:"), message, time.Now().Unix(), maxAside).StringSlice()
	if err != nil { // Redis is away: whoever looks after dead workers brings it again
		t.o.Log.Debug("what is no task of ours could not be kept aside", zap.String("queue", queue), zap.Error(errors.Join(why, err)))
		return
	}
	for _, id := range ids {
		t.countArchived(unknownTask)
		t.o.Log.Error("redis has a message that cannot be run: it is kept in the archive there", zap.String("queue", queue), zap.String("task", id), zap.Error(why))
	}
}
