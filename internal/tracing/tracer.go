package tracing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"gameserverd/internal/rpc"
)

// Options are what a Tracer is made from.
type Options struct {
	Endpoint string // a URL as tracing.endpoint; user:password in it is sent as basic authentication
	Rates    Rates
	Instance string // this process's name in what it sends
	Version  string // the binary's
	Log      *zap.Logger
}

// Rates say which calls are traced.
type Rates struct {
	OneIn        int // of so many without a traceparent one is; 0: none
	MaxPerSecond int // calls and runs of tasks, whoever asks
}

// Tracer makes spans and sends them. Any goroutine.
type Tracer struct {
	// immutable after New
	provider *sdk.TracerProvider
	spans    trace.Tracer
	sender   *sender

	// any goroutine
	limits limits
}

// Stats count spans since the start.
type Stats struct {
	Sent    uint64 // taken by the endpoint
	Failed  uint64 // refused by the endpoint, or answered by what is none
	Dropped uint64 // lost since the queue was full, or at the end
	Limited uint64 // calls and runs not traced since MaxPerSecond were
	Waiting int    // in the queue now
}

// maxText bounds each text of a span, in bytes.
const maxText = 1 << 10

// New begins to send, on a goroutine that Close ends. Its error says that the
// endpoint is no URL; whether anybody answers there, only the log will tell. It
// makes OpenTelemetry's errors lines of the log, for the whole process.
func New(o Options) (*Tracer, error) {
	t := &Tracer{}
	s, err := newSender(o.Endpoint, t.limits.limited.Load, o.Log)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		o.Log.Warn("opentelemetry", zap.Error(err))
	}))
	t.sender = s
	t.limits.set(o.Rates)
	t.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // Begin has decided already
		sdk.WithSpanProcessor(s),
		sdk.WithRawSpanLimits(sdk.SpanLimits{
			AttributeValueLengthLimit: maxText, AttributeCountLimit: 32, EventCountLimit: 32, LinkCountLimit: 4,
			AttributePerEventCountLimit: 4, AttributePerLinkCountLimit: 4,
		}),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "gameserverd"), attribute.String("service.version", o.Version), attribute.String("service.instance.id", o.Instance),
		)),
	)
	t.spans = t.provider.Tracer("gameserverd")
	go s.run()
	return t, nil
}

// SetRates changes which calls are traced from now on. Any goroutine.
func (t *Tracer) SetRates(r Rates) { t.limits.set(r) }

// Stats are the counts so far. Any goroutine.
func (t *Tracer) Stats() Stats {
	s := t.sender.stats()
	s.Limited = t.limits.limited.Load()
	return s
}

// Close sends what waits, as long as ctx lasts, and ends; a span that ends later is
// dropped. It may be called again. Any goroutine.
func (t *Tracer) Close(ctx context.Context) error { return t.sender.Shutdown(ctx) }

// Begin decides about a call and begins its span; see rpc.Tracer. Any goroutine.
func (t *Tracer) Begin(b rpc.Beginning) rpc.Span {
	if !t.limits.wanted(b.Parent) {
		return nil
	}
	now := time.Now()
	if !t.limits.allowed(now) {
		return nil
	}
	ctx := context.Background()
	if !b.Parent.None() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: b.Parent.Trace, SpanID: b.Parent.Parent, TraceFlags: trace.FlagsSampled, Remote: true,
		}))
	}
	service, method := split(b.Method)
	// The arrival comes from the loop's clock, once a turn: it may be a little late, never early.
	arrived := b.Arrived
	if arrived.After(now) {
		arrived = now
	}
	ctx, own := t.spans.Start(ctx, b.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(arrived), trace.WithAttributes(
		attribute.String("rpc.system", "msgpack-rpc"), attribute.String("rpc.service", service), attribute.String("rpc.method", method),
		attribute.Float64("rpc.queue_seconds", now.Sub(arrived).Seconds()),
	))
	own.AddEvent("begun", trace.WithTimestamp(now))
	s := &span{tracer: t, ctx: ctx, own: own}
	s.UID(b.UID)
	return s
}

// split takes a method's name apart: "area.name".
func split(name string) (service, method string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// Run is a run of a task.
type Run struct {
	Task, ID, Queue string
	Attempt         int       // from 1
	Due             time.Time // when it was to begin; before 1971: at once
}

// BeginRun decides about a run of a task as about a call without a traceparent.
// end, never nil, is to be called with what came of it. The context has the span,
// for libraries that look for one there. Any goroutine.
func (t *Tracer) BeginRun(ctx context.Context, r Run) (_ context.Context, end func(error)) {
	now := time.Now()
	if !t.limits.wanted(rpc.Traceparent{}) || !t.limits.allowed(now) {
		return ctx, func(error) {}
	}
	attributes := []attribute.KeyValue{
		attribute.String("task.name", r.Task), attribute.String("task.id", r.ID), attribute.String("task.queue", r.Queue), attribute.Int("task.attempt", r.Attempt),
	}
	if r.Due.Year() > 1970 {
		attributes = append(attributes, attribute.Float64("task.queue_seconds", max(0, now.Sub(r.Due).Seconds())))
	}
	ctx, own := t.spans.Start(ctx, r.Task, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(now), trace.WithAttributes(attributes...))
	s := &span{tracer: t, ctx: ctx, own: own}
	return ctx, func(err error) { s.endTask(err) }
}
