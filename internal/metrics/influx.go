package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
)

// InfluxOptions say where metrics are pushed to.
type InfluxOptions struct {
	// URL takes line protocol: /write?db=game of InfluxDB 1, /api/v2/write?org=..
	// &bucket=.. of InfluxDB 2, or what speaks one of these.
	URL string
	// TokenFile holds user:password or, for a path with /api/v2/ in it, a token; "":
	// neither is sent. It is read again when the server does not let us in.
	TokenFile string
	Instance  string        // the tag "instance" of every line; "": none
	Interval  time.Duration // between two pushes
	MaxBuffer int           // bytes that may wait, compressed
	Log       *zap.Logger
}

// Times and sizes of a push.
const (
	pushTime   = 10 * time.Second // of one request
	lastTime   = time.Second      // of all that Run sends after its end
	retryFirst = time.Second      // after the first failure, about; each next one waits twice as long
	retryMost  = time.Minute      // up to this
	obeyMost   = 5 * time.Minute  // of what a server says with Retry-After
	bodyBytes  = 256 << 10        // of one request, not compressed, about
	maxAnswer  = 1 << 10          // bytes of the server's words that are logged
)

// Influx sends what a Registry gathers to InfluxDB, or to what speaks its line
// protocol. A line is a series: its measurement is the family's name, its tags the
// labels. What cannot be sent now is kept, up to MaxBuffer bytes, and tried again; of
// that the oldest is dropped first. Any goroutine.
type Influx struct {
	// immutable after NewInflux
	o        InfluxOptions
	registry *Registry
	url      string
	shown    string // url without what is secret
	client   *http.Client
	queue    *pushQueue
	pushTime time.Duration // pushTime; tests have less patience
	retry    time.Duration // retryFirst, likewise
	last     time.Duration // lastTime; tests have more

	// any goroutine
	authorization atomic.Pointer[string]
	sent          atomic.Int64
	failed        atomic.Int64
	dropped       atomic.Int64

	// gatherer only
	intervals intervals
	gathered  time.Time // the last time
	lines     lines
	zip       *gzip.Writer
	full, odd hourly

	// sender only
	away    time.Time // since when nothing gets through; zero: it does
	lost    int64     // what dropped was then
	refused hourly
}

// hourly is for log lines that would be the same again and again. One goroutine at a
// time.
type hourly struct{ last time.Time }

// now tells whether it is time for a line, which there is at most once an hour.
func (h *hourly) now() bool {
	now := time.Now()
	if !h.last.IsZero() && now.Sub(h.last) < time.Hour {
		return false
	}
	h.last = now
	return true
}

// NewInflux reads the token's file; its error says what is wrong with that or with the
// URL. Nothing is connected before Run.
func NewInflux(r *Registry, o InfluxOptions) (*Influx, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", withoutURL(err))
	}
	query := u.Query()
	query.Set("precision", "ms")
	u.RawQuery = query.Encode()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.DisableCompression = 1, true
	x := &Influx{
		o: o, registry: r, url: u.String(), shown: u.Scheme + "://" + u.Host + u.Path, queue: newPushQueue(o.MaxBuffer),
		pushTime: pushTime, retry: retryFirst, last: lastTime,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the token is for that server alone
		}},
	}
	x.zip, err = gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := x.readToken(); err != nil {
		return nil, err
	}
	return x, nil
}

// InfluxStats is what a push has come to since NewInflux.
type InfluxStats struct {
	Buffered int   // bytes that wait, compressed
	Sent     int64 // batches that the server took
	Failed   int64 // tries that came to nothing, and were tried again
	Dropped  int64 // batches that the server refused, or for which there was no room
}

// Stats returns the counts. They are not all of one moment. Any goroutine.
func (x *Influx) Stats() InfluxStats {
	return InfluxStats{Buffered: x.queue.size(), Sent: x.sent.Load(), Failed: x.failed.Load(), Dropped: x.dropped.Load()}
}

// Run pushes now and every Interval until ctx ends, and then once more, which takes
// lastTime at most. Once.
func (x *Influx) Run(ctx context.Context) {
	defer x.client.CloseIdleConnections()
	// Requests outlast ctx: one that is under way would have to be sent again.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(x.last, cut) })()
	var sender sync.WaitGroup
	sender.Go(func() { x.send(ctx, requests) })
	tick := time.NewTicker(x.o.Interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		x.gather()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	sender.Wait()
	x.gather()
	for x.sendFirst(requests) {
	}
}

// gather puts what is measured now into the queue.
func (x *Influx) gather() {
	at := time.Now()
	g, err := x.registry.take()
	defer x.registry.give(g)
	if err != nil && x.odd.now() {
		x.o.Log.Error("some metrics cannot be gathered", zap.Error(err))
	}
	since := at.Sub(x.gathered)
	x.gathered = at
	x.intervals.next()
	x.lines.reset()
	for i := range g.batch.Len() {
		s := g.batch.At(i)
		x.encode(&s, at, since)
	}
	for _, f := range g.process {
		for _, m := range f.GetMetric() {
			x.encodeOther(f, m, at)
		}
	}
	x.enqueue()
}

// enqueue puts the lines that there are into the queue, compressed.
func (x *Influx) enqueue() {
	if x.lines.count == 0 {
		return
	}
	var body bytes.Buffer
	x.zip.Reset(&body)
	_, _ = x.zip.Write(x.lines.buf) // a Buffer takes everything
	_ = x.zip.Close()
	x.lines.reset()
	dropped := x.queue.add(bytes.Clone(body.Bytes()))
	if dropped > 0 {
		x.dropped.Add(int64(dropped))
		if x.full.now() {
			x.o.Log.Warn("metrics for InfluxDB are dropped, the oldest first: metrics.influx.max_buffer_bytes are waiting",
				zap.String("url", x.shown), zap.Int("max_buffer_bytes", x.o.MaxBuffer))
		}
	}
}

// encode writes the line of a sample.
func (x *Influx) encode(s *Sample, at time.Time, since time.Duration) {
	f, l := s.Family, &x.lines
	l.begin(f.Name)
	for i, name := range f.Labels {
		l.tag(name, s.Labels[i])
	}
	l.tag("instance", x.o.Instance)
	if h := s.Histogram; h == nil {
		l.field("value", s.Value)
	} else {
		l.field("count", float64(h.Count()))
		l.field("sum", f.Shown(float64(h.Sum)))
		if now := x.intervals.since(s); now.Count() > 0 && since > 0 {
			l.field("p50", f.Shown(f.Scale().Quantile(&now, 0.5)))
			l.field("p90", f.Shown(f.Scale().Quantile(&now, 0.9)))
			l.field("p99", f.Shown(f.Scale().Quantile(&now, 0.99)))
			l.field("rate", float64(now.Count())/since.Seconds())
		}
	}
	x.end(at)
}

// encodeOther writes the line of what client_golang has gathered.
func (x *Influx) encodeOther(f *dto.MetricFamily, m *dto.Metric, at time.Time) {
	l := &x.lines
	l.begin(f.GetName())
	for _, p := range m.GetLabel() {
		l.tag(p.GetName(), p.GetValue())
	}
	l.tag("instance", x.o.Instance)
	switch {
	case m.Histogram != nil:
		l.field("count", float64(m.GetHistogram().GetSampleCount()))
		l.field("sum", m.GetHistogram().GetSampleSum())
	case m.Summary != nil:
		l.field("count", float64(m.GetSummary().GetSampleCount()))
		l.field("sum", m.GetSummary().GetSampleSum())
		for _, q := range m.GetSummary().GetQuantile() {
			l.field(fmt.Sprintf("p%g", q.GetQuantile()*100), q.GetValue())
		}
	default:
		l.field("value", m.GetCounter().GetValue()+m.GetGauge().GetValue()+m.GetUntyped().GetValue()) // the others are 0
	}
	x.end(at)
}

// end ends a line, and the body that has become long enough with it.
func (x *Influx) end(at time.Time) {
	x.lines.end(at.UnixMilli())
	if len(x.lines.buf) >= bodyBytes {
		x.enqueue()
	}
}

// backOff is how long to wait after so many failures in a row: with jitter, so that
// the daemons of a server that comes back do not all come at once.
func (x *Influx) backOff(failures int) time.Duration {
	most := min(retryMost, x.retry<<min(failures-1, 10))
	return most/2 + rand.N(most/2)
}
