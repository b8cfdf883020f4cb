package tasks

import (
	"context"
	"testing"
	"time"
)

func TestDrainHandsBackWhatDoesNotEnd(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		first := p.begin(4, nil)
		long := must(first, of(first, "test.wait", "long"), Retries(0, 0))
		eventually(t, "it runs", 10*time.Second, func() bool { return p.times("long") == 1 })
		second := p.begin(0, nil)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		back := first.Drain(ctx)
		if took := time.Since(begun); len(back) != 1 || took > 2*time.Second {
			t.Errorf("handed back %q after %v", back, took)
		}
		info, err := second.Show(limited(t), long.ID)
		if err != nil || info.state != Waiting || info.Attempts != 0 || info.Failures != 0 {
			t.Errorf("%+v: %v", info, err)
		}
		first.end()
		begun = time.Now()
		third := p.begin(4, nil)
		eventually(t, "another process runs it", 10*time.Second, func() bool { return p.times("long") == 2 })
		t.Logf("begun again after %v", time.Since(begun))
		if _, err := third.Revoke(limited(t), long.ID); err != nil {
			t.Error(err)
		}
		third.becomes(long.ID, Revoked, 10*time.Second)
	})
}
