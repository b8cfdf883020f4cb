package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

const (
	maxQueue  = 4096             // spans that wait
	maxBatch  = 512              // spans of one request
	sendEvery = time.Second / 4  // a batch that is not full waits so long at most
	sendTime  = 10 * time.Second // for one request
	firstWait = time.Second / 4  // after a failure; each further wait is twice as long
	maxWait   = 30 * time.Second
)

// sender takes spans that have ended and sends them. It is an sdk.SpanProcessor of
// our own since the library's does not count what it drops, and gives a batch up
// whose endpoint is away for a while.
type sender struct {
	// immutable after newSender
	log      *zap.Logger
	exporter sdk.SpanExporter
	post     *post
	queue    chan sdk.ReadOnlySpan
	closing  chan struct{} // closed by Shutdown
	ended    chan struct{} // closed when run has ended

	limited func() uint64 // what was not traced at all

	// run only
	batch   []sdk.ReadOnlySpan
	told    told
	away    time.Time // since when sending fails; zero: it does not
	said    bool      // the log was told of that
	wait    time.Duration
	failing seldom // lines that sending fails
	partly  seldom // lines that the endpoint has refused some, or has something to say

	// any goroutine
	once    sync.Once
	over    atomic.Bool
	ctx     context.Context
	cancel  context.CancelFunc // ends the request under way
	sent    atomic.Uint64
	failed  atomic.Uint64
	dropped atomic.Uint64
}

func newSender(endpoint string, limited func() uint64, log *zap.Logger) (*sender, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errors.New("the endpoint is no URL") // which may hold a password
	}
	p := &post{to: u, transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}}
	s := &sender{log: log, limited: limited, post: p, queue: make(chan sdk.ReadOnlySpan, maxQueue), closing: make(chan struct{}), ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.exporter, err = otlptracehttp.New(s.ctx,
		otlptracehttp.WithEndpointURL(u.Scheme+"://"+u.Host+u.EscapedPath()),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}), // run tries again
		otlptracehttp.WithHTTPClient(&http.Client{Transport: p, Timeout: sendTime}),
	)
	return s, err
}

// OnStart does nothing.
func (s *sender) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd queues a span, or drops it. Any goroutine.
func (s *sender) OnEnd(span sdk.ReadOnlySpan) {
	if s.over.Load() {
		s.dropped.Add(1)
		return
	}
	select {
	case s.queue <- span:
	default:
		s.dropped.Add(1)
	}
}

// ForceFlush does nothing: Shutdown is what flushes.
func (s *sender) ForceFlush(context.Context) error { return nil }

// Shutdown sends what waits until ctx ends. Any goroutine.
func (s *sender) Shutdown(ctx context.Context) error {
	s.once.Do(func() {
		s.over.Store(true)
		close(s.closing)
	})
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		s.cancel() // whatever hangs
		<-s.ended
		return fmt.Errorf("tracing: spans could not be sent in time: %w", ctx.Err())
	}
}

func (s *sender) stats() Stats {
	return Stats{Sent: s.sent.Load(), Failed: s.failed.Load(), Dropped: s.dropped.Load(), Waiting: len(s.queue)}
}

// run sends batches until Shutdown.
func (s *sender) run() {
	defer close(s.ended)
	defer s.post.transport.CloseIdleConnections()
	defer s.cancel()
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			s.flush()
			return
		case span := <-s.queue:
			if s.batch = append(s.batch, span); len(s.batch) < maxBatch {
				continue
			}
		case now := <-tick.C:
			s.tell(now)
		}
		for len(s.batch) > 0 && !s.send() {
			if !s.pause() {
				s.flush()
				return
			}
		}
	}
}

// told is what the log was told of spans that there are not, and when.
type told struct {
	at               time.Time
	dropped, limited uint64
}

// tellEvery is how often the log is told of that.
const tellEvery = time.Minute

// tell logs that spans are missing, if more are than at the last time.
func (s *sender) tell(now time.Time) {
	dropped, limited := s.dropped.Load(), s.limited()
	if now.Sub(s.told.at) < tellEvery || dropped == s.told.dropped && limited == s.told.limited {
		return
	}
	s.log.Info("not all is traced: the queue was full, or tracing.max_per_second reached",
		zap.Uint64("dropped", dropped-s.told.dropped), zap.Uint64("limited", limited-s.told.limited))
	s.told = told{now, dropped, limited}
}

// flush sends what waits, and gives up at the first failure: the process is about
// to end.
func (s *sender) flush() {
	for {
		for more := true; more && len(s.batch) < maxBatch; {
			select {
			case span := <-s.queue:
				s.batch = append(s.batch, span)
			default:
				more = false
			}
		}
		if len(s.batch) == 0 {
			return
		}
		if !s.send() {
			break
		}
	}
	lost := len(s.batch) + len(s.queue)
	s.dropped.Add(uint64(lost))
	s.log.Warn("spans were lost at the end", zap.Int("spans", lost))
}

// send sends the batch. It returns false when it is to be tried again.
func (s *sender) send() (done bool) {
	err := s.exporter.ExportSpans(s.ctx, s.batch)
	n, got := uint64(len(s.batch)), s.post.got
	switch {
	case err != nil && s.post.later():
		s.left(s.reason(err))
		return false
	case err != nil:
		s.failed.Add(n)
		s.left(s.reason(err))
	case got.wrong != nil:
		s.failed.Add(n)
		s.left(got.wrong)
	default:
		refused := min(got.refused, n)
		s.failed.Add(refused)
		s.sent.Add(n - refused)
		s.back()
		s.partial(refused, got.says)
	}
	clear(s.batch) // spans are large
	s.batch = s.batch[:0]
	return true
}

// Lines of one kind in the log: an endpoint that answers now so and now so is not
// worth more.
const (
	failingEvery = time.Minute
	partlyEvery  = time.Hour
)

// seldom is for log lines that would be the same again and again.
type seldom struct{ last time.Time }

// now reports whether it is time for a line: there is none within every of the last.
func (s *seldom) now(now time.Time, every time.Duration) bool {
	if !s.last.IsZero() && now.Sub(s.last) < every {
		return false
	}
	s.last = now
	return true
}

// left notes that sending has failed.
func (s *sender) left(why error) {
	if s.ctx.Err() != nil {
		return // flush tells of it
	}
	now := time.Now()
	if s.away.IsZero() {
		s.away, s.wait = now, firstWait
	}
	if !s.said && s.failing.now(now, failingEvery) {
		s.said = true
		s.log.Warn("spans cannot be sent", zap.Error(why))
	}
}

// back notes that it works.
func (s *sender) back() {
	if s.said {
		s.log.Info("spans are sent again", zap.Duration("away", time.Since(s.away).Round(time.Millisecond)), zap.Uint64("dropped", s.dropped.Load()), zap.Uint64("failed", s.failed.Load()))
	}
	s.away, s.said = time.Time{}, false
}

// partial notes what the endpoint has said of a batch that it took.
func (s *sender) partial(refused uint64, says string) {
	if refused == 0 && says == "" || !s.partly.now(time.Now(), partlyEvery) {
		return
	}
	if refused == 0 {
		s.log.Info("the endpoint of spans has a remark", zap.String("why", says))
		return
	}
	s.log.Warn("some spans were refused", zap.Uint64("failed", s.failed.Load()), zap.String("why", says))
}

// pause waits before the next try; false: it is time to end.
func (s *sender) pause() bool {
	wait := time.NewTimer(s.wait)
	defer wait.Stop()
	s.wait = min(2*s.wait, maxWait)
	select {
	case <-wait.C:
		return true
	case <-s.closing:
		return false
	}
}

// reason is why a request failed, without the URL, which may hold secrets.
func (s *sender) reason(err error) error {
	if s.post.status != 0 {
		return fmt.Errorf("the endpoint answers %d %s", s.post.status, http.StatusText(s.post.status))
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
