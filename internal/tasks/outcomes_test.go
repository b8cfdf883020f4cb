package tasks

import (
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

// taskStats are what the metrics say of one task.
func (pr *process) taskStats(name string) TaskStats {
	for _, s := range pr.Stats().Tasks {
		if s.Name == name {
			return s
		}
	}
	pr.place.t.Fatalf("no metrics of %s", name)
	return TaskStats{}
}

// What goes into asynq's archive without a run is in the metrics as in the counters.
func TestWhatCannotBeRunIsInTheMetrics(t *testing.T) {
	p := onEmbedded(t)
	pr := p.begin(1, nil)
	for i, task := range []*asynq.Task{
		asynq.NewTask("no type of ours", nil),
		asynq.NewTask(durableType, []byte("not eight")),
		asynq.NewTask(ephemeralType, []byte("no envelope")),
		asynq.NewTask(ephemeralType, envelopeOf(t, "test.nobody")),
		asynq.NewTask(ephemeralType, envelopeOf(t, "test.quick")),
	} {
		if _, err := pr.client.Enqueue(task, asynq.TaskID(fmt.Sprint("foreign", i)), asynq.Queue("default")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are archived", 10*time.Second, func() bool {
		return pr.redis.Client().ZCard(limited(t), asynqKey("default", "archived")).Val() == 5
	})
	if n := pr.Counters().Archived; n != 5 {
		t.Errorf("the counters have %d", n)
	}
	if n := pr.taskStats(unknownTask).Archived; n != 4 {
		t.Errorf("the metrics have %d of unknown tasks", n)
	}
	if n := pr.taskStats("test.quick").Archived; n != 1 {
		t.Errorf("the metrics have %d of test.quick", n)
	}
}

// What dead workers had is in the metrics under its name, whatever becomes of it.
func TestWhatDeadWorkersHadIsInTheMetrics(t *testing.T) {
	p := onEmbedded(t)
	pr := p.begin(0, nil)
	client := pr.redis.Client()
	id := wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[string](pr.define("test.quick"), "s")))
	dies := func(id string) {
		t.Helper()
		client.LRem(limited(t), asynqKey("default", "pending"), 0, id)
		client.LPush(limited(t), asynqKey("default", "active"), id)
		client.ZAdd(limited(t), asynqKey("default", "lease"), redis.Z{Score: 1, Member: id})
		if err := pr.recoverOne("default", id, time.Now().Unix()); err != nil {
			t.Fatal(err)
		}
	}
	for range maxLost + 1 {
		dies(string(id))
	}
	if s, c := pr.taskStats("test.quick"), pr.Counters(); s.Lost != maxLost || s.Archived != 1 || c.Lost != maxLost || c.Archived != 1 {
		t.Errorf("the metrics have %+v, the counters %+v", s, c)
	}
	client.HSet(limited(t), asynqKey("default", "t:strange"), "msg", "no message")
	dies("strange")
	if n := pr.taskStats(unknownTask).Lost; n != 1 {
		t.Errorf("the metrics have %d of unknown tasks", n)
	}
}

// envelopeOf is an ephemeral task with arguments that nothing can be made of.
func envelopeOf(t *testing.T, name string) []byte {
	t.Helper()
	payload, err := msgpack.Marshal(&envelope{Name: name, Args: []byte{0xc1}, RunMS: 1, TimeoutMS: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}
