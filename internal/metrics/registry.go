package metrics

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Registry is what is gathered of this process: what Collect finds, Go's runtime
// and the process as the kernel sees it. It is not client_golang's, which would
// take each series through a channel and check it anew, but gives its encoders
// what they need. Any goroutine.
type Registry struct {
	// immutable after NewRegistry
	collect Collect
	process *prometheus.Registry

	// any goroutine
	mu    sync.Mutex
	spare []*gathering // guarded by mu; those that nobody uses
}

// gathering is the memory of one Gather. Whoever gathers has it until it is done.
type gathering struct {
	batch Batch
	page  *page
	all   []*dto.MetricFamily
}

// NewRegistry returns the registry of what collect finds.
func NewRegistry(collect Collect) *Registry {
	r := &Registry{collect: collect, process: prometheus.NewRegistry()}
	r.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Bounds of the page.
const (
	maxScrapes = 4                // at once; one more is answered 503
	scrapeTime = 10 * time.Second // until the last byte is sent
)

// Handler is /metrics: Prometheus' text, or OpenMetrics with exemplars where it is
// asked for.
func (r *Registry) Handler() http.Handler {
	page := promhttp.HandlerForTransactional(transaction{r}, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		// Not every writer has deadlines; that of the admin server has.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeTime))
		page.ServeHTTP(w, request)
	})
}

// Gather collects once, and returns the families by name; they are the caller's.
// With an error that of the families which is there is still right.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) {
	return r.gather(&gathering{page: newPage()})
}

// transaction lends what it has gathered: the next Gather after done has its memory.
type transaction struct{ *Registry }

func (t transaction) Gather() (_ []*dto.MetricFamily, done func(), err error) {
	r := t.Registry
	g := r.take()
	all, err := r.gather(g)
	return all, func() { r.give(g) }, err
}

func (r *Registry) take() *gathering {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spare); n > 0 {
		g := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return g
	}
	return &gathering{page: newPage()}
}

// give keeps g for the next; one is enough for who scrapes every few seconds.
func (r *Registry) give(g *gathering) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spare) == 0 {
		r.spare = append(r.spare, g)
	}
}

func (r *Registry) gather(g *gathering) ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	g.batch.Reset()
	r.collect(ctx, &g.batch)
	process, err := r.process.Gather()
	// Ours first: "gameserverd" comes before "go_" and "process_".
	g.all = append(append(g.all[:0], g.page.fill(&g.batch)...), process...)
	return g.all, errors.Join(g.batch.Problem(), err)
}
