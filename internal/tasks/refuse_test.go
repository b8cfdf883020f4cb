package tasks

import (
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// foreign is a message as another program could have put it into Redis.
func foreign(t testing.TB, fields map[protoreflect.Name]any) []byte {
	t.Helper()
	m := messageType.New()
	for name, v := range fields {
		m.Set(m.Descriptor().Fields().ByName(name), protoreflect.ValueOf(v))
	}
	encoded, err := proto.Marshal(m.Interface())
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// A message of which asynq can make nothing, or for which it never asks for a run, is in
// the archive after one look, and every slot is free again.
func TestMessageThatAsynqDoesNotRunIsKeptAsideAndKeepsNoSlot(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(1, nil)
		past := time.Now().Add(-time.Hour).Unix()
		bad := map[string][]byte{
			"no-protobuf": []byte("\xff\xfe no protobuf"),
			"no-utf8":     append(foreign(t, map[protoreflect.Name]any{"id": "no-utf8", "queue": "default"}), 0x0a, 1, 0xff), // type
			"cut-off":     foreign(t, map[protoreflect.Name]any{"queue": "default", "id": "cut-off"})[:9],
			"too-late":    foreign(t, map[protoreflect.Name]any{"id": "too-late", "queue": "default", "type": "x", "deadline": past}),
			"no-time":     foreign(t, map[protoreflect.Name]any{"id": "no-time", "queue": "default", "type": "x", "timeout": int64(-1)}),
			"overflow":    foreign(t, map[protoreflect.Name]any{"id": "overflow", "queue": "default", "type": "x", "timeout": int64(1) << 62}),
			"elsewhere":   foreign(t, map[protoreflect.Name]any{"id": "elsewhere", "queue": "low", "type": "x", "timeout": int64(60)}),
		}
		client := pr.redis.Client()
		for id, msg := range bad {
			client.HSet(limited(t), asynqKey("default", "t:"+id), "msg", msg, "state", "pending")
			client.LPush(limited(t), asynqKey("default", "pending"), id)
		}
		must(pr, of(pr, "test.double", "after them"))
		eventually(t, "a task after them has run", 10*time.Second, func() bool { return p.times("after them") == 1 })
		for id, msg := range bad {
			state := ""
			eventually(t, id+" is kept aside", 5*time.Second, func() bool {
				state = client.HGet(limited(t), asynqKey("default", "t:"+id), "state").Val()
				return state == "archived" && client.ZScore(limited(t), asynqKey("default", "archived"), id).Err() == nil
			})
			if kept := client.HGet(limited(t), asynqKey("default", "t:"+id), "msg").Val(); kept != string(msg) {
				t.Errorf("of %s %q is kept", id, kept)
			}
		}
		eventually(t, "nothing is left as if it ran", 5*time.Second, func() bool {
			return client.LLen(limited(t), asynqKey("default", "active")).Val()+client.ZCard(limited(t), asynqKey("default", "lease")).Val() == 0
		})
		eventually(t, "every slot is free", 5*time.Second, func() bool { return len(pr.slots) == 0 && len(pr.link.passes) == 0 })
		unknown := pr.Stats().Tasks[len(pr.Stats().Tasks)-1]
		if n := len(bad); pr.Counters().Archived != int64(n) || unknown.Archived != uint64(n) {
			t.Errorf("counted: %d and %d in the metrics, not %d", pr.Counters().Archived, unknown.Archived, n)
		}
	})
}

// The check refuses nothing that asynq's client makes for us.
func TestOwnMessagesAreNotRefused(t *testing.T) {
	p := onEmbedded(t)
	pr := p.begin(0, nil)
	for i, o := range [][]asynq.Option{
		{asynq.Timeout(carrierTimeout)}, ephemeralOptions("e", options{queue: "default"}), {},
	} {
		id := fmt.Sprint("own", i)
		if _, err := pr.client.Enqueue(asynq.NewTask("x", []byte{0xff}), append(o, asynq.TaskID(id), asynq.Queue("default"))...); err != nil {
			t.Fatal(err)
		}
		msg := pr.redis.Client().HGet(limited(t), asynqKey("default", "t:"+id), "msg").Val()
		if err := refusal("default", msg); msg == "" || err != nil {
			t.Errorf("%q: %v", msg, err)
		}
	}
}

// Whatever is not refused asynq can read.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte("\xff\xfe no protobuf"))
	f.Add([]byte("\x0a\x01x\x1a\x01i\x22\x07default\x40\x3c"))
	f.Add([]byte("\x0a\x01x\x1a\x01i\x22\x07default\x48\x01"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if refusal("default", string(msg)) != nil {
			return
		}
		m := messageType.New().Interface()
		if err := proto.Unmarshal(msg, m); err != nil {
			t.Errorf("asynq cannot read it: %v", err)
		}
	})
}
