package dashboards

import (
	"context"
	"testing"
	"time"
)

// Real daemons live, fail and end, and a real Prometheus and InfluxDB watch them. In
// the healthy part no alert fires; then each fires for its cause. At last every query
// of every panel, mark, variable and rule is asked: none may fail or be empty.
func TestBoardsAndAlertsOfRealDaemons(t *testing.T) {
	s := newScene(t)
	ctx, cancel := context.WithCancel(s.ctx)
	s.stop = cancel
	defer s.playing.Wait()
	defer cancel()
	s.play(ctx, s.a, 1, 2, 3)
	s.play(ctx, s.b, 4, 5, 6)
	eventually(t, "all are scraped", func() bool { return s.ask("count(up == 1) == 3").n == 1 })
	s.at("all are scraped")
	s.staysSilent()
	s.at("healthy")
	s.trouble()
	t.Run("queries", func(t *testing.T) {
		t.Run("Prometheus", func(t *testing.T) { t.Parallel(); everyPromQL(t, s) })
		t.Run("families", func(t *testing.T) { t.Parallel(); everyFamily(t, s) })
		t.Run("InfluxDB", func(t *testing.T) { t.Parallel(); everyInfluxQL(t, s) })
	})
	s.at("all is asked")
	cancel()
	s.playing.Wait()
	s.at("nobody plays")
}

// staysSilent lets the daemons be healthy for five seconds, in which no alert fires.
// Where the machine is so busy that this very process is late, the alerts about lateness
// are right; then only promtool's trials say that rules are silent.
func (s *scene) staysSilent() {
	s.t.Helper()
	begin := time.Now()
	eventually(s.t, "five seconds", func() bool { return time.Since(begin) > 5*time.Second })
	if worst := s.lateness(); worst > time.Duration(lateLoop*float64(time.Second)/2) {
		s.t.Logf("timers here are late by up to %v: the machine is too busy to tell who is healthy", worst)
		return
	}
	p, err := askPrometheus(s.prometheus.URL, `ALERTS{alertstate="firing"}`, &window{from: begin, to: time.Now()}, true)
	if err != nil || p.n > 0 {
		s.t.Errorf("of healthy daemons %q, %v", s.firing(), err)
	}
}
