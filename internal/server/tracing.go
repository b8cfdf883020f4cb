package server

import (
	"context"
	"os"
	"time"

	"gameserverd/internal/config"
	"gameserverd/internal/rpc"
	"gameserverd/internal/tasks"
	"gameserverd/internal/tracing"
)

// makeTracer makes what traces calls and tasks, if tracing.endpoint says where to.
// It is closed by closeTracer.
func (s *Server) makeTracer() (err error) {
	c := s.cfg.Tracing
	if c.Endpoint == "" {
		return nil
	}
	s.tracer, err = tracing.New(tracing.Options{
		Endpoint: c.Endpoint, Rates: rates(c), Instance: s.instance(), Version: s.o.Version, Log: s.log,
	})
	return err
}

func rates(c config.Tracing) tracing.Rates {
	return tracing.Rates{OneIn: c.OneIn, MaxPerSecond: c.MaxPerSecond}
}

// instance is this process's name in what it sends to others. A worker has one of its
// own: it may share the configuration, and the machine, with those who serve.
func (s *Server) instance() string {
	name := s.cfg.Metrics.Instance
	if name == "" {
		name, _ = os.Hostname()
	}
	if s.o.Worker {
		name += "-worker-" + s.o.Name
	}
	return name
}

// callTracer is what sessions are given: nil when tracing is off, so that calls do
// not even ask.
func (s *Server) callTracer() rpc.Tracer {
	if s.tracer == nil {
		return nil
	}
	return s.tracer
}

// traceRun is what tasks are given; nil when tracing is off.
func (s *Server) traceRun() func(context.Context, *tasks.Call, string, time.Time) (context.Context, func(error)) {
	if s.tracer == nil {
		return nil
	}
	return func(ctx context.Context, c *tasks.Call, queue string, due time.Time) (context.Context, func(error)) {
		return s.tracer.BeginRun(ctx, tracing.Run{Task: c.Name, ID: string(c.ID), Queue: queue, Attempt: c.Attempt, Due: due})
	}
}

// flushTime is how long spans may hold the end of a drain up.
const flushTime = 500 * time.Millisecond

// closeTracer sends the spans that wait. It may be called again.
func (s *Server) closeTracer() {
	if s.tracer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	_ = s.tracer.Close(ctx) // what was lost it has logged
}
