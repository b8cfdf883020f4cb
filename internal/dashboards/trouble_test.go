package dashboards

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"gameserverd/client"
)

// trouble makes everything go wrong that boards and alerts are about, and waits for
// the alerts.
func (s *scene) trouble() {
	s.t.Helper()
	s.restarts()
	s.oddities()
	s.ages()
	s.reloads()
	for range 4 { // each as many as one session may call at once; much more than a twentieth of all
		s.many(s.b, 150, "test.fail")
	}
	s.many(s.a, 32, "test.slow", 500)
	s.many(s.b, 8, "test.hold", 300)
	s.fires("GameserverdPanics b", "GameserverdCertificateEnds a", "GameserverdCertificateEndsSoon a", "GameserverdErrors b", "GameserverdSlowCalls a",
		"GameserverdLoopLag b", "GameserverdQueueAge ")
	s.influx.Stall() // a push fails
	s.memory()
	s.influx.Resume()
	s.stores()
	s.drain()
}

// restarts ends c again and again, each time when Prometheus has seen it.
func (s *scene) restarts() {
	s.t.Helper()
	for i := range manyStarts + 1 {
		s.c.end()
		s.c.start()
		eventually(s.t, "Prometheus has seen the new process", func() bool {
			return s.ask(fmt.Sprintf("changes(process_start_time_seconds{instance=%q}[5m]) > %d", s.c.admin, i)).n > 0
		})
	}
	s.fires("GameserverdRestarts c")
}

// ages has a's only worker wait, and tells Redis that the tasks behind it have waited
// for longer than anybody wants to in a test.
func (s *scene) ages() {
	s.t.Helper()
	c := s.a.login(s.ctx, 53)
	for range 4 {
		if err := c.Call(s.ctx, "test.apply", nil, "test.wait"); err != nil {
			s.t.Error(err)
		}
	}
	options, err := redis.ParseURL(s.redis.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	const pending, task, since = "asynq:{default}:pending", "asynq:{default}:t:", "pending_since"
	eventually(s.t, "a task has waited for long", func() bool {
		for _, id := range client.LRange(s.ctx, pending, 0, -1).Val() {
			client.HSet(s.ctx, task+id, since, time.Now().Add(-2*oldQueue*time.Second).UnixNano())
		}
		return s.a.value("gameserverd_queue_oldest_seconds") > oldQueue
	})
}

// memory fills b's budget: first the alert, then a new client is refused, a stranger
// closed, and at last the one for whom it all waits.
func (s *scene) memory() {
	s.t.Helper()
	stranger, deaf := s.b.raw(), s.b.raw()
	stranger.request(1, "sys.ping")
	deaf.request(1, "auth.login", "dev:61")
	s.fills(61, 0.82)
	s.fires("GameserverdMemory b")
	s.b.raw().request(1, "sys.ping")
	s.flood(61, func() bool { return s.b.value(`gameserverd_shed_total{which="output"}`) > 0 })
	for _, which := range []string{"new", "stranger"} {
		if s.b.value(`gameserverd_shed_total{which="`+which+`"}`) == 0 {
			s.t.Errorf("nobody was shed: %s", which)
		}
	}
}

// stores takes Redis, then SQL, away from a: SQL hangs, so that changes wait, and dies.
func (s *scene) stores() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var players []*client.Client
	for i := range 18 {
		players = append(players, s.a.login(s.ctx, uint64(2000+i)))
	}
	s.redis.Kill()
	s.fires("GameserverdStoreDown a")
	s.fires("GameserverdNotReady a")
	s.redis.Start()
	s.sql.Stall()
	for _, c := range players {
		s.playing.Go(func() { _ = c.Call(ctx, "save.put", nil, "key", []byte("more")) })
	}
	s.fires("GameserverdCommitsWait a")
	s.sql.Kill() // its transaction is lost, and tried again
	s.sql.Start()
	eventually(s.t, "the stores are back", func() bool { ok, _ := s.a.Ready(); return ok })
}

// drain ends a while a call of it waits for what never comes.
func (s *scene) drain() {
	s.t.Helper()
	c := s.a.login(s.ctx, 70)
	never := c.Go(s.ctx, "test.never", nil)
	eventually(s.t, "the call is under way", func() bool {
		return s.ask(fmt.Sprintf("gameserverd_rpc_calls_underway{instance=%q} > 0", s.a.AdminAddr())).n > 0
	})
	s.a.Shutdown("the test")
	s.fires("GameserverdDrainStuck a")
	s.a.awaitEnd()
	if s.a.report.Clean {
		s.t.Error("the drain was not cut")
	}
	_ = never.Wait() // it was
	s.fires("GameserverdDown a")
	// One more second of the others, so that Prometheus and InfluxDB have their last.
	over := time.Now()
	eventually(s.t, "a second is over", func() bool { return time.Since(over) > time.Second })
}
