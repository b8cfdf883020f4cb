package tasks

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/vmihailenco/msgpack/v5"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// A queue that is not served here, with the weight 0, may have something for ever: that is
// no reason to ask for the others, and does not keep the net from finding what was not told.
func TestQueueThatIsNotServedDoesNotHoldTheGateOpen(t *testing.T) {
	t.Parallel()
	g := newGate(map[string]int{"default": 1, "critical": 0}, false)
	g.may("critical")
	if !g.enter("default") {
		t.Error("at first each queue may have something")
	}
	time.AfterFunc(50*time.Millisecond, g.stop)
	if g.enter("default") {
		t.Error("the gate is open, with nothing there")
	}
	select {
	case <-g.stopped:
	default:
		t.Error("somebody has passed the gate, with nothing there")
	}

	p := onServers(t, storetest.MariaDB(t), storetest.Redis(t))
	pr := p.begin(2, func(o *Options) { o.Queues = map[string]int{"default": 1, "low": 0} })
	pr.look() // it has asked for all that was there
	args, err := wire.AppendAny(nil, []any{"x"})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := msgpack.Marshal(&envelope{Name: "test.quick", Args: args, RunMS: 1, TimeoutMS: 1000})
	if err != nil {
		t.Fatal(err)
	}
	// As from a process whose message is lost.
	plain := asynq.NewClientFromRedisClient(pr.redis.Client())
	if _, err := plain.Enqueue(asynq.NewTask(ephemeralType, payload), asynq.TaskID("eX"), asynq.Queue("default")); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	eventually(t, "it is found", 10*time.Second, func() bool { return p.times("x") == 1 })
	t.Logf("found after %v", time.Since(begun))
}
