package server

import (
	"context"
	"slices"
	"testing"
	"time"

	"gameserverd/internal/metrics"
)

// TestDepthThatIsNotKnownIsNoNumber: while Redis answers, but not what waits, there is
// no depth; above all it is not 0.
func TestDepthThatIsNotKnownIsNoNumber(t *testing.T) {
	s := start(t, measured(t), nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := s.stores.redis.Client()
	const spoiled = "asynq:{low}:retry" // of another kind: Redis refuses to count it
	eventually(t, "the key is there", func() bool { return client.Set(ctx, spoiled, "x", 0).Err() == nil })
	var p page
	eventually(t, "it serves", func() bool {
		p = s.scrape()
		return p.sum(metrics.Ready) == 1 && p.sum(metrics.StoreUp) == 2
	})
	if !slices.Contains(s.numbers.queues, "low") {
		t.Fatalf("no queue low: %q", s.numbers.queues)
	}
	for range 3 {
		p = s.scrape()
		for _, f := range []*metrics.Family{metrics.QueueDepth, metrics.QueueOldest} {
			if list := p[f.Name].GetMetric(); len(list) > 0 {
				t.Fatalf("%d numbers of %s, first %v", len(list), f.Name, list[0])
			}
		}
	}
	if n := client.Del(ctx, spoiled).Val(); n != 1 {
		t.Fatalf("%d keys deleted", n)
	}
	eventually(t, "it is known again", func() bool { return len(s.scrape()[metrics.QueueDepth.Name].GetMetric()) > 0 })
}
