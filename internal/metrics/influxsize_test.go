package metrics

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/histogram"
)

// How long the default buffer lasts while InfluxDB is away, for 500 methods that are all
// called between two pushes, is what docs/metrics.md says.
func TestHowLongTheBufferLasts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var calls [500]float64
	var times [500][2]histogram.Histogram
	r := NewRegistry(func(_ context.Context, b *Batch) {
		for i := range calls {
			name := fmt.Sprintf("area%d.method%d", i/20, i)
			for range 20 + random.IntN(200) {
				calls[i]++
				histogram.Durations.Observe(&times[i][0], int64(random.ExpFloat64()*50_000))
				histogram.Durations.Observe(&times[i][1], int64(random.ExpFloat64()*3_000_000))
			}
			b.Set(Calls, calls[i], name, OK)
			b.Set(Calls, 0, name, "internal")
			b.Histogram(CallQueue, &times[i][0], nil, name)
			b.Histogram(CallRun, &times[i][1], nil, name, "")
		}
	})
	const interval, buffer = 10 * time.Second, 8 << 20
	x, err := NewInflux(r, InfluxOptions{URL: "http://127.0.0.1:1/write?db=x", Instance: "game-1", Interval: interval, MaxBuffer: buffer, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	x.gather()
	before := x.queue.size()
	x.gathered = x.gathered.Add(-interval)
	x.gather()
	one := x.queue.size() - before
	lasts := time.Duration(buffer/one) * interval
	t.Logf("a push is %d bytes: 8 MiB last %v", one, lasts)
	page, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if said := "(8 MiB are 20 minutes and more of 500 methods every 10 s)"; !bytes.Contains(page, []byte(said)) || lasts < 20*time.Minute || lasts > 40*time.Minute {
		t.Errorf("it lasts %v; docs/metrics.md has to say %s", lasts, said)
	}
}
