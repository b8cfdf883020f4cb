package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Registry is what there is to be known of this process: what a Collect finds, and
// beside it Go's runtime and the process as the kernel sees it, which client_golang
// knows how to find. Any goroutine.
type Registry struct {
	// immutable after NewRegistry
	collect Collect
	process *prometheus.Registry

	// any goroutine
	scrapes chan struct{} // has one for each that is under way
	served  atomic.Int64
	refused atomic.Int64
	mu      sync.Mutex
	spare   []*gathering // guarded by mu; those that nobody uses
}

// gathering is one look at everything, with the memory to write it down. Whoever has
// taken it has it for itself until it is given back.
type gathering struct {
	batch   Batch
	process []*dto.MetricFamily
	text    text
	other   bytes.Buffer // for what client_golang writes
	zip     *gzip.Writer
	zipped  bytes.Buffer
}

// NewRegistry returns the registry of what collect finds.
func NewRegistry(collect Collect) *Registry {
	r := &Registry{collect: collect, process: prometheus.NewRegistry(), scrapes: make(chan struct{}, maxScrapes)}
	r.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// take returns a gathering with what there is now. The error says what it lacks; the
// rest is right.
func (r *Registry) take() (*gathering, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	g := r.spareGathering()
	g.batch.Reset()
	r.collect(ctx, &g.batch)
	g.batch.Set(Scrapes, float64(r.served.Load()), "ok")
	g.batch.Set(Scrapes, float64(r.refused.Load()), "refused")
	var err error
	if g.process, err = r.process.Gather(); err == nil {
		err = g.batch.Problem()
	}
	return g, err
}

func (r *Registry) spareGathering() *gathering {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spare); n > 0 {
		g := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return g
	}
	return new(gathering)
}

// give ends the use of g. Its memory is kept for the next: one is enough for who asks
// every few seconds.
func (r *Registry) give(g *gathering) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spare) == 0 {
		r.spare = append(r.spare, g)
	}
}

// Bounds of the page.
const (
	maxScrapes = 4                // at once; one more is answered 503
	scrapeTime = 10 * time.Second // until the last byte is sent
)

// Handler is /metrics: Prometheus' text, or OpenMetrics with exemplars for who asks
// for it; compressed for who takes that.
func (r *Registry) Handler() http.Handler { return http.HandlerFunc(r.serve) }

func (r *Registry) serve(w http.ResponseWriter, request *http.Request) {
	select {
	case r.scrapes <- struct{}{}:
		defer func() { <-r.scrapes }()
	default:
		r.refused.Add(1)
		http.Error(w, "too many ask for metrics at once", http.StatusServiceUnavailable)
		return
	}
	// Not every writer has deadlines; that of the admin server has.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeTime))
	format := expfmt.NegotiateAccept(request.Header, formats...)
	g, _ := r.take() // what it lacks is seen on the page
	defer r.give(g)
	page, err := g.page(format)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	if takesGzip(request) {
		page = g.compress(page)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", string(format))
	h.Set("Vary", "Accept, Accept-Encoding")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	_, _ = w.Write(page) // who asked may be gone
	r.served.Add(1)
}

// formats are those that are written, the one with the most first.
var formats = []expfmt.Format{expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText}

// page is what g has in the format, valid until g is used again.
func (g *gathering) page(format expfmt.Format) ([]byte, error) {
	t := &g.text
	t.reset(format.FormatType() == expfmt.TypeOpenMetrics)
	t.batch(&g.batch)
	g.other.Reset()
	encoder := expfmt.NewEncoder(&g.other, format)
	for _, f := range g.process {
		if err := encoder.Encode(f); err != nil {
			return nil, err
		}
	}
	if last, ok := encoder.(expfmt.Closer); ok { // writes the end mark of OpenMetrics
		if err := last.Close(); err != nil {
			return nil, err
		}
	}
	t.buf = append(t.buf, g.other.Bytes()...)
	return t.buf, nil
}

// compress returns page compressed, valid until g is used again.
func (g *gathering) compress(page []byte) []byte {
	g.zipped.Reset()
	if g.zip == nil {
		g.zip, _ = gzip.NewWriterLevel(&g.zipped, gzip.BestSpeed) // that level there is
	} else {
		g.zip.Reset(&g.zipped)
	}
	_, _ = g.zip.Write(page) // a Buffer takes everything
	_ = g.zip.Close()
	return g.zipped.Bytes()
}

func takesGzip(request *http.Request) bool {
	for part := range strings.SplitSeq(request.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && !strings.Contains(q, "q=0") {
			return true
		}
	}
	return false
}
