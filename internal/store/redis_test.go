package store

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

func TestRedisExecute(t *testing.T) {
	eachRedis(t, nil, func(t *testing.T, r *redisRig) {
		if got := str(t, r.do(t, "SET", "k", "v")); got != "OK" {
			t.Errorf("SET: %q", got)
		}
		if got := str(t, r.do(t, "get", "k")); got != "v" {
			t.Errorf("GET: %q", got)
		}
		if reply := r.do(t, "GET", "none"); !reply.Nil() {
			t.Errorf("GET of nothing: %+v", reply)
		}
		if got := num(t, r.do(t, "INCRBY", "n", 5)); got != 5 {
			t.Errorf("INCRBY: %d", got)
		}
		if got := num(t, r.do(t, "GET", "n")); got != 5 {
			t.Errorf("the digits of an integer: %d", got)
		}
		r.do(t, "ZADD", "z", 1.5, "a", int64(1)<<53-1, "b", -2, "c")
		if got, err := r.do(t, "ZSCORE", "z", "a").Float(); got != 1.5 || err != nil {
			t.Errorf("ZSCORE: %v, %v", got, err)
		}
		if got, err := r.do(t, "ZRANGE", "z", 0, -1, "WITHSCORES").Strings(); !slices.Equal(got, []string{"c", "-2", "a", "1.5", "b", "9007199254740991"}) || err != nil {
			t.Errorf("ZRANGE: %q, %v", got, err)
		}
		r.do(t, "HSET", "h", "f", true, "g", false)
		if got, err := r.do(t, "HGETALL", "h").Strings(); len(got) != 4 || err != nil {
			t.Errorf("HGETALL: %q, %v", got, err)
		}
		if got := r.do(t, "MGET", "k", "none", "n").Value(); !reflect.DeepEqual(got, []any{"v", nil, "5"}) {
			t.Errorf("MGET: %#v", got)
		}
		var refused *ReplyError
		_, err := wait(t, r.Execute("INCR", "k"))
		if !errors.As(err, &refused) || !strings.HasPrefix(refused.Message, "ERR value is not an integer") {
			t.Errorf("INCR of a word: %v", err)
		}
		_, err = r.ExecuteContext(context.Background(), "LPUSH", "k", "x")
		if !errors.As(err, &refused) || !strings.HasPrefix(refused.Message, "WRONGTYPE") {
			t.Errorf("LPUSH to a string: %v", err)
		}
		if reply, err := r.ExecuteContext(context.Background(), "STRLEN", "k"); num(t, reply) != 1 || err != nil {
			t.Errorf("STRLEN: %v", err)
		}
		if err := r.Ping(context.Background()); err != nil {
			t.Errorf("Ping: %v", err)
		}
		r.quiet(t)
	})
}

func TestRedisBatch(t *testing.T) {
	eachRedis(t, nil, func(t *testing.T, r *redisRig) {
		replies, err := wait(t, r.Batch(Command{"SET", "k", "v"}, Command{"INCR", "k"}, Command{"GET", "none"}, Command{"RPUSH", "l", 1, 2}, Command{"LRANGE", "l", 0, -1}))
		if err != nil || len(replies) != 5 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		var refused *ReplyError
		if !errors.As(replies[1].Err, &refused) || replies[1].Nil() {
			t.Errorf("INCR of a word: %+v", replies[1])
		}
		if all, err := replies[4].Strings(); str(t, replies[0]) != "OK" || !replies[2].Nil() || num(t, replies[3]) != 2 || !slices.Equal(all, []string{"1", "2"}) {
			t.Errorf("%+v, %v", replies, err)
		}
		// All of them refused is still all of them answered.
		replies, err = r.BatchContext(context.Background(), Command{"INCR", "k"}, Command{"INCR", "k"})
		if err != nil || replies[0].Err == nil || replies[1].Err == nil {
			t.Errorf("%+v, %v", replies, err)
		}
		if replies, err, done := r.Batch().Result(); len(replies) != 0 || err != nil || !done {
			t.Errorf("of nothing: %v, %v, %v", replies, err, done)
		}
		r.quiet(t)
	})
}

// TestRedisBatchOfTenThousand has 10 MB each way, which a connection without buffers cannot carry.
func TestRedisBatchOfTenThousand(t *testing.T) {
	eachRedis(t, nil, func(t *testing.T, r *redisRig) {
		value := strings.Repeat("v", 1000)
		var cmds []Command
		for range 5000 {
			cmds = append(cmds, Command{"GETSET", "k", value}, Command{"INCR", "n"})
		}
		for round := range 2 {
			replies, err := wait(t, r.Batch(cmds...))
			if err != nil || len(replies) != len(cmds) {
				t.Fatalf("%d replies, %v", len(replies), err)
			}
			for i := 0; i < len(replies); i += 2 {
				if round+i > 0 && str(t, replies[i]) != value || num(t, replies[i+1]) != int64(5000*round+i/2+1) {
					t.Fatalf("round %d, replies %d: %.30v, %v", round, i, replies[i].Value(), replies[i+1].Value())
				}
			}
		}
		r.quiet(t)
	})
}

var counting = NewScript(`
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[2] == 'fail' then return redis.error_reply('ERR as asked') end
return {n, ARGV[2], false}`)

func TestRedisScript(t *testing.T) {
	eachRedis(t, nil, func(t *testing.T, r *redisRig) {
		for i := range 3 {
			reply, err := wait(t, r.Script(counting, []string{"n"}, 2, "x"))
			all, _ := reply.Array()
			if err != nil || len(all) != 3 || num(t, all[0]) != int64(2*i+2) || str(t, all[1]) != "x" || !all[2].Nil() {
				t.Errorf("run %d: %+v, %v", i, reply, err)
			}
		}
		var refused *ReplyError
		_, err := r.ScriptContext(context.Background(), counting, []string{"n"}, 10, "fail")
		if !errors.As(err, &refused) || !strings.Contains(refused.Message, "as asked") {
			t.Errorf("a script that fails: %v", err)
		}
		if got := num(t, r.do(t, "GET", "n")); got != 16 {
			t.Errorf("counted to %d", got)
		}
		_, err = wait(t, r.Script(NewScript("this is no Lua"), nil))
		if !errors.As(err, &refused) {
			t.Errorf("no script: %v", err)
		}
		r.quiet(t)
	})
}

// TestRedisScriptAfterTheServerForgotIt runs it, and once.
func TestRedisScriptAfterTheServerForgotIt(t *testing.T) {
	r, server := openEmbedded(t, nil)
	real := openRedisRig(t, storetest.RedisAlone(t).URL, nil)
	for name, c := range map[string]struct {
		r      *redisRig
		forget func()
	}{"embedded": {r, server.Flush}, "real": {real, func() { real.do(t, "FLUSHALL"); real.do(t, "SCRIPT", "FLUSH") }}} {
		for range 3 {
			reply, err := wait(t, c.r.Script(counting, []string{"n"}, 1, ""))
			all, _ := reply.Array()
			if err != nil || num(t, all[0]) != 1 {
				t.Errorf("%s: %+v, %v", name, reply, err)
			}
			c.forget()
		}
		c.r.quiet(t)
	}
}

type marshals struct{}

func (marshals) MarshalBinary() ([]byte, error) { panic("not called") }

var _ encoding.BinaryMarshaler = marshals{}

func TestRedisHostileArguments(t *testing.T) {
	eachRedis(t, nil, func(t *testing.T, r *redisRig) {
		for i, hostile := range []string{"", "\r\n", "\r\n*1\r\n$8\r\nFLUSHALL\r\n", "$-1\r\n", "\x00\xff\xfe", "é\u2028", "'; DROP TABLE players; --", "%s%n", "{x}", "nil", "-1",
			strings.Repeat("x", 300_000)} {
			key := fmt.Sprint(i, hostile)
			r.do(t, "SET", key, hostile)
			if got := str(t, r.do(t, "GET", key)); got != hostile {
				t.Errorf("%.30q came back as %.30q", hostile, got)
			}
			r.do(t, "HSET", "h", hostile, []byte(hostile))
			if got := str(t, r.do(t, "HGET", "h", []byte(hostile))); got != hostile {
				t.Errorf("bytes %.30q came back as %.30q", hostile, got)
			}
			reply, err := wait(t, r.Script(NewScript("return {KEYS[1], ARGV[1]}"), []string{hostile}, hostile))
			if all, _ := reply.Strings(); err != nil || len(all) != 2 || all[0] != hostile || all[1] != hostile {
				t.Errorf("a script got %.30q, %v", all, err)
			}
		}
		if got := num(t, r.do(t, "DBSIZE")); got != 13 {
			t.Errorf("%d keys, want 13", got)
		}
		for _, number := range []any{int8(-8), uint8(8), int16(-16), uint16(16), int32(-32), uint32(32), int64(math.MinInt64), uint64(math.MaxInt64), uint(7), float32(0.5), -0.25} {
			r.do(t, "SET", "number", number)
			if got := str(t, r.do(t, "GET", "number")); got != fmt.Sprint(number) {
				t.Errorf("%T %v came back as %q", number, number, got)
			}
		}
		r.quiet(t)
	})
}

// TestRedisRefusesWhatIsNoCommand without asking the server.
func TestRedisRefusesWhatIsNoCommand(t *testing.T) {
	r := openRedisRig(t, "redis://127.0.0.1:1", nil) // nobody is there
	word := "x"
	for _, cmd := range []Command{
		{}, {""}, {7, "x"}, {[]byte("GET"), "x"}, {nil},
		{"SET", "k", nil}, {"SET", "k", time.Second}, {"SET", "k", time.Now()}, {"SET", "k", &word}, {"SET", "k", []string{"a"}}, {"SET", "k", marshals{}}, {"SET", "k", errors.New("x")},
		{"SET", "k", struct{}{}}, {"SET", "k", map[string]int{}}, {"ZADD", "z", math.NaN(), "m"}, {"ZADD", "z", float32(math.NaN()), "m"}, {"SET", "k", strings.Repeat("x", maxCallBytes)},
		{"SELECT", 1}, {"multi"}, {"Exec"}, {"WATCH", "k"}, {"SUBSCRIBE", "c"}, {"psubscribe", "c"}, {"MONITOR"}, {"QUIT"}, {"AUTH", "secret"}, {"HELLO", 3}, {"CLIENT", "REPLY", "OFF"}, {"RESET"},
	} {
		_, err, done := r.Batch(Command{"GET", "k"}, cmd).Result()
		if err == nil || !done || wire.CodeOf(err) != wire.Internal || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.50v: %v, at once: %v", cmd, err, done)
		}
		if name, is := append(cmd, nil)[0].(string); is {
			if _, err, done := r.Execute(name, append(cmd, nil)[1:len(cmd)]...).Result(); err == nil || !done {
				t.Errorf("%.50v: %v, at once: %v", cmd, err, done)
			}
		}
	}
	if _, err, done := r.Batch(slices.Repeat([]Command{{"GET", "k"}}, MaxBatch+1)...).Result(); err == nil || !done {
		t.Errorf("a batch that is too large: %v", err)
	}
	half := strings.Repeat("x", maxCallBytes/2)
	if _, err, done := r.Batch(Command{"SET", "k", half}, Command{"SET", "l", half}).Result(); err == nil || !done {
		t.Errorf("a batch with too many bytes: %v", err)
	}
	if _, err, done := r.Script(counting, []string{"k"}, half, []byte(half)).Result(); err == nil || !done {
		t.Errorf("a script with too many bytes: %v", err)
	}
	r.quiet(t)
}

// TestRedisFromManyGoroutines shares connections, and mixes up no replies.
func TestRedisFromManyGoroutines(t *testing.T) {
	eachRedis(t, func(o *RedisOptions) { o.PoolSize = 8 }, func(t *testing.T, r *redisRig) {
		var all sync.WaitGroup
		for g := range 20 {
			all.Go(func() {
				for i := range 50 {
					key := fmt.Sprintf("key-%d-%d", g, i)
					switch i % 3 {
					case 0:
						if got := str(t, r.do(t, "ECHO", key)); got != key {
							t.Errorf("ECHO %s: %s", key, got)
						}
					case 1:
						replies, err := r.BatchContext(context.Background(), Command{"SET", key, key}, Command{"GET", key}, Command{"INCR", "n"})
						if err != nil || str(t, replies[1]) != key {
							t.Errorf("%s: %+v, %v", key, replies, err)
						}
					case 2:
						reply, err := r.ScriptContext(context.Background(), NewScript("return KEYS[1]"), []string{key})
						if err != nil || str(t, reply) != key {
							t.Errorf("%s: %+v, %v", key, reply, err)
						}
					}
				}
			})
		}
		all.Wait()
		if got := num(t, r.do(t, "GET", "n")); got != 20*17 {
			t.Errorf("counted to %d", got)
		}
		r.quiet(t)
	})
}

// TestRedisExpiry is by real time in both.
func TestRedisExpiry(t *testing.T) {
	t.Parallel()
	eachRedis(t, nil, func(t *testing.T, r *redisRig) {
		r.do(t, "SET", "soon", "v", "PX", 150)
		r.do(t, "SET", "later", "v", "EX", 1000)
		if left := num(t, r.do(t, "PTTL", "soon")); left < 1 || left > 150 {
			t.Errorf("%d ms are left", left)
		}
		until(t, "the key has expired", func() bool { return r.do(t, "GET", "soon").Nil() })
		if r.do(t, "GET", "later").Nil() {
			t.Error("the other has expired too")
		}
	})
}
