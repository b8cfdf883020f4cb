package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func newHealth(t *testing.T) (*Health, *fakeClock, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	clock := &fakeClock{now: time.UnixMilli(1000)}
	return NewHealth("sql", zap.New(core), clock.Now), clock, logs
}

func TestHealthLogsChangesOnly(t *testing.T) {
	h, clock, logs := newHealth(t)
	h.Ok()
	if up, why, since := h.State(); !up || why != "" || !since.Equal(time.UnixMilli(1000)) {
		t.Errorf("new: %v %q %v", up, why, since)
	}
	clock.advance(time.Second)
	h.Failed(errors.New("first"))
	clock.advance(time.Second)
	h.Failed(errors.New("second"))
	if up, why, since := h.State(); up || why != "first" || !since.Equal(time.UnixMilli(2000)) {
		t.Errorf("down: %v %q %v", up, why, since)
	}
	clock.advance(settle)
	h.Ok()
	h.Ok()
	if up, why, since := h.State(); !up || why != "" || !since.Equal(time.UnixMilli(3000).Add(settle)) {
		t.Errorf("back: %v %q %v", up, why, since)
	}
	want := []string{
		"store is unreachable map[error:first store:sql]",
		"store is back map[away:2s failures:2 store:sql]",
	}
	if got := lines(logs); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("log: %q", got)
	}
}

func TestHealthStaysDownWhileSomeCallsFail(t *testing.T) {
	h, clock, logs := newHealth(t)
	for range 100 {
		h.Failed(errors.New("no"))
		clock.advance(settle - 1)
		h.Ok()
	}
	if up, _, _ := h.State(); up || logs.Len() != 1 {
		t.Errorf("up: %v, log: %v", up, lines(logs))
	}
	clock.advance(1)
	h.Ok()
	if up, _, _ := h.State(); !up || logs.Len() != 2 {
		t.Errorf("up: %v, log: %v", up, lines(logs))
	}
}

func TestWatchNoticesBothChangesWithoutTraffic(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	h := NewHealth("redis", zap.New(core), nil)
	var away atomic.Bool
	var pings atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Watch(ctx, 5*time.Millisecond, func(context.Context) error {
			pings.Add(1)
			if away.Load() {
				return errors.New("away")
			}
			return nil
		})
	}()
	isUp := func(want bool) func() bool {
		return func() bool { up, _, _ := h.State(); return up == want }
	}
	until(t, "it has looked", func() bool { return pings.Load() > 2 })
	away.Store(true)
	until(t, "it is down", isUp(false))
	away.Store(false)
	until(t, "it is up", isUp(true))
	cancel()
	receive(t, ended, "the end of Watch")
	if logs.Len() != 2 {
		t.Errorf("log: %v", lines(logs))
	}
}

func TestWatchEndsInsideAPing(t *testing.T) {
	h, _, logs := newHealth(t)
	ctx, cancel := context.WithCancel(context.Background())
	h.Watch(ctx, time.Hour, func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if up, _, _ := h.State(); !up || logs.Len() > 0 {
		t.Errorf("the end of Watch is no failure: %v", lines(logs))
	}
}
