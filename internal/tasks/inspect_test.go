package tasks

import (
	"testing"
	"time"
)

// Whoever is retried has all its lives again: it was archived by its own failures, and the
// runs of then are no workers that died.
func TestRetriedTaskOutlivesAWorkerThatDies(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(0, nil)
		r := must(pr, of(pr, "test.fail", "100"), Retries(9, time.Millisecond))
		archived := "UPDATE tasks SET state = 3, attempts = 10, failures = 10, ended_ms = 1, look_ms = ?"
		if _, err := pr.sql.ExecContext(limited(t), archived, time.Now().Add(keepArchived).UnixMilli()); err != nil {
			t.Fatal(err)
		}
		if err := pr.Retry(limited(t), r.ID); err != nil {
			t.Fatal(err)
		}
		// A worker takes it, as takeRows does, and is killed.
		taken := "UPDATE tasks SET state = 1, claim = 77, attempts = attempts + 1, look_ms = 1"
		if _, err := pr.sql.ExecContext(limited(t), taken); err != nil {
			t.Fatal(err)
		}
		info := pr.becomes(r.ID, Waiting, 30*time.Second)
		if info.Attempts != 1 || info.Failures != 0 || info.Problem != "" {
			t.Errorf("%+v", info)
		}
	})
}
