package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"slices"
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
	scrapes chan struct{} // has one for each page that is made
	served  atomic.Int64
	refused atomic.Int64
	cut     atomic.Int64

	mu      sync.Mutex                 // guards what follows
	spare   []*gathering               // those that nobody uses
	sending []*http.ResponseController // those who are sent the page, the first first
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
	g.batch.Set(Scrapes, float64(r.cut.Load()), "cut")
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
	maxScrapes = 4                // made at once; one more is answered 503
	maxSending = 8                // sent at once; one more cuts the one that was begun first
	scrapeTime = 10 * time.Second // until the last byte is sent
)

// Handler is /metrics: Prometheus' text, or OpenMetrics with exemplars for who asks
// for it; compressed for who takes that.
func (r *Registry) Handler() http.Handler { return http.HandlerFunc(r.serve) }

func (r *Registry) serve(w http.ResponseWriter, request *http.Request) {
	select {
	case r.scrapes <- struct{}{}:
	default:
		r.refused.Add(1)
		http.Error(w, "too many ask for metrics at once", http.StatusServiceUnavailable)
		return
	}
	format, zip := expfmt.NegotiateAccept(request.Header, formats...), takesGzip(request)
	g, _ := r.take() // what it lacks is seen on the page
	defer r.give(g)
	page, err := g.page(format)
	if zip && err == nil {
		page = g.compress(page)
	}
	<-r.scrapes // who reads slowly has no place that others need
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer r.send(w)()
	h := w.Header()
	if zip {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", string(format))
	h.Set("Vary", "Accept, Accept-Encoding")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	if _, err := w.Write(page); err != nil { // too slow, or gone
		r.cut.Add(1)
		return
	}
	r.served.Add(1)
}

// send makes room for one more to whom the page is sent, by cutting the oldest where
// there are too many: Prometheus reads in no time, and whoever does not read would
// keep it out otherwise. Call sent when it is over.
func (r *Registry) send(w http.ResponseWriter) (sent func()) {
	// Not every writer has deadlines; that of the admin server has.
	one := http.NewResponseController(w)
	_ = one.SetWriteDeadline(time.Now().Add(scrapeTime))
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sending) >= maxSending {
		_ = r.sending[0].SetWriteDeadline(time.Now()) // under mu: it is not over
		r.sending = slices.Delete(r.sending, 0, 1)
	}
	r.sending = append(r.sending, one)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sending = slices.DeleteFunc(r.sending, func(other *http.ResponseController) bool { return other == one })
	}
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
