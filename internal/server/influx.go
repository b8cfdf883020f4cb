package server

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"

	"gameserverd/internal/auth"
	"gameserverd/internal/config"
	"gameserverd/internal/metrics"
)

// newInflux makes what pushes metrics of r to InfluxDB, as those of instance; nil: that is not configured.
// It reads the token's file. Its error is config.Problems.
func newInflux(cfg *config.Config, instance string, r *metrics.Registry, log *zap.Logger) (*metrics.Influx, error) {
	c := cfg.Metrics.Influx
	if c.URL == "" {
		return nil, nil
	}
	o := metrics.InfluxOptions{URL: c.URL, Instance: instance, Interval: c.Interval, MaxBuffer: c.MaxBufferBytes, Log: log}
	if c.TokenFile != "" {
		o.TokenFile = auth.Locate(c.TokenFile)
	}
	x, err := metrics.NewInflux(r, o)
	var token *metrics.TokenError
	switch {
	case errors.As(err, &token):
		return nil, config.Problems{cfg.Wrong("metrics.influx.token_file", err.Error())}
	case err != nil:
		return nil, config.Problems{cfg.Wrong("metrics.influx.url", err.Error())}
	}
	return x, nil
}

// pushMetrics begins to push metrics, where that is configured, until the function
// that it returns is called, which pushes them once more.
func (s *Server) pushMetrics() (end func()) {
	if s.numbers.influx == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.numbers.influx.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// addPush adds what has become of what is sent to others: spans, and metrics.
func (s *Server) addPush(b *metrics.Batch) {
	if s.tracer != nil {
		n := s.tracer.Stats()
		b.Set(metrics.Spans, float64(n.Sent), "sent")
		b.Set(metrics.Spans, float64(n.Failed), "failed")
		b.Set(metrics.Spans, float64(n.Dropped), "dropped")
		b.Set(metrics.Spans, float64(n.Limited), "limited")
	}
	if s.numbers.influx == nil {
		return
	}
	n := s.numbers.influx.Stats()
	b.Set(metrics.PushBuffered, float64(n.Buffered))
	b.Set(metrics.PushSent, float64(n.Sent), "ok")
	b.Set(metrics.PushSent, float64(n.Failed), "failed")
	b.Set(metrics.PushSent, float64(n.Dropped), "dropped")
}
