package tasks

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// What asynq has brought to a worker that has died is brought again by asynq after 80 to
// 120 seconds, for a retry. Here it is sooner, and costs none: as long as the worker
// lived, asynq has renewed its lease every five seconds, to this from then.
const (
	asynqLease   = 30 * time.Second
	recoverEvery = 5 * time.Second

	recoverStep = 100
)

// bringAgain puts back what a dead worker had, to be the next; after too many dead
// workers it goes into asynq's archive.
//
//	KEYS: asynq:{QUEUE}: active, lease, pending, archived, t:ID
//	ARGV: ID, the lease's latest end, how many workers may die, now in seconds, now in nanoseconds
//	returns 1 put back, 2 archived, 0 somebody else was faster or its worker lives; and the message
var bringAgain = redis.NewScript(`
local till = redis.call("ZSCORE", KEYS[2], ARGV[1])
if not till or tonumber(till) > tonumber(ARGV[2]) or redis.call("LREM", KEYS[1], 0, ARGV[1]) == 0 then
	return {0, ""}
end
redis.call("ZREM", KEYS[2], ARGV[1])
if redis.call("EXISTS", KEYS[5]) == 0 then
	return {0, ""}
end
local message = redis.call("HGET", KEYS[5], "msg") or ""
if redis.call("HINCRBY", KEYS[5], "lost", 1) > tonumber(ARGV[3]) then
	redis.call("ZADD", KEYS[4], ARGV[4], ARGV[1])
	redis.call("HSET", KEYS[5], "state", "archived")
	return {2, message}
end
redis.call("RPUSH", KEYS[3], ARGV[1])
redis.call("HSET", KEYS[5], "state", "pending", "pending_since", ARGV[5])
return {1, message}`)

// recoverLost brings what dead workers had. In the Redis of this process it is nobody's
// but its own.
func (t *Tasks) recoverLost(s *reconciler, now time.Time) error {
	if t.o.Concurrency == 0 || t.gate.alone || now.Sub(s.recovered) < min(recoverEvery, t.o.Lost/4) && now.After(s.recovered) {
		return nil
	}
	s.recovered = now
	// asynq's leases go by the clock of the machine.
	latest := time.Now().Add(asynqLease - t.o.Lost - t.o.Lost/6).Unix() // the rest is for clocks that differ, and a slow Redis
	for queue := range t.o.Queues {
		ids, err := t.link.ZRangeByScore(t.ctx, asynqKey(queue, "lease"), &redis.ZRangeBy{Min: "-inf", Max: fmt.Sprint(latest), Count: recoverStep}).Result()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := t.recoverOne(queue, id, latest); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tasks) recoverOne(queue, id string, latest int64) error {
	now := time.Now()
	keys := []string{asynqKey(queue, "active"), asynqKey(queue, "lease"), asynqKey(queue, "pending"), asynqKey(queue, "archived"), asynqKey(queue, "t:"+id)}
	answer, err := bringAgain.Run(t.ctx, t.link, keys, id, latest, maxLost, now.Unix(), now.UnixNano()).Slice()
	if err != nil {
		return err
	}
	message, _ := answer[1].(string)
	name := nameIn(message)
	switch answer[0] {
	case int64(2):
		t.countArchived(name)
		t.o.Log.Error("task given up: it is kept in redis' archive", zap.String("task", id), zap.String("name", name), zap.String("error", fmt.Sprintf("more than %d workers died while they ran it", maxLost)))
	case int64(1):
		t.counts.lost.Add(1)
		t.statsOf(name).lost.Add(1)
		t.o.Log.Warn("a task's worker is gone: the task is begun again", zap.String("task", id), zap.String("name", name))
	}
	return nil
}

// asynqKey is a key of asynq's.
func asynqKey(queue, part string) string { return "asynq:{" + queue + "}:" + part }
