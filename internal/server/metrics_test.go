package server

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/handlers"
	"gameserverd/internal/metrics"
	"gameserverd/internal/rpc"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// page is a scrape of /metrics.
type page map[string]*dto.MetricFamily

func measured(t testing.TB) *config.Config {
	cfg := testConfig(t.TempDir())
	cfg.Listen.Admin, cfg.Worker.Admin = "127.0.0.1:0", "127.0.0.1:0"
	return cfg
}

// fetch asks for /metrics as Prometheus' text, uncompressed.
func (s *testServer) fetch() string {
	s.t.Helper()
	request, err := http.NewRequestWithContext(testContext(s.t), http.MethodGet, "http://"+s.AdminAddr()+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("/metrics: %s %v: %s", response.Status, err, text)
	}
	return string(text)
}

func (s *testServer) scrape() page {
	s.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(s.fetch()))
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// sum adds up the series of a family that have these values among their labels': of a
// histogram how many values it has. -1: there is no such series.
func (p page) sum(f *metrics.Family, labels ...string) float64 {
	total, found := 0.0, false
	for _, m := range p[f.Name].GetMetric() {
		var values []string
		for _, l := range m.GetLabel() {
			values = append(values, l.GetValue())
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(values, l) }) {
			continue
		}
		found = true
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	if !found {
		return -1
	}
	return total
}

// series are all that there are of the daemon's own, with their labels.
func (p page) series() (names []string) {
	for name, f := range p {
		if !strings.HasPrefix(name, "gameserverd_") {
			continue
		}
		for _, m := range f.GetMetric() {
			names = append(names, fmt.Sprint(name, m.GetLabel()))
		}
	}
	slices.Sort(names)
	return names
}

// counted is a connection whose bytes are counted.
type counted struct {
	net.Conn
	in, out int
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out += n
	return n, err
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in += n
	return n, err
}

// TestMetricsAreWhatWasDone: calls over real sockets, and sums that match them to the
// last byte.
func TestMetricsAreWhatWasDone(t *testing.T) {
	s := start(t, measured(t), only(
		plain("t.ok", func(*rpc.Call) error { return nil }),
		plain("t.wrong", func(*rpc.Call) error { return rpc.Errorf(rpc.InvalidArgument, "no") }),
		plain("t.odd", func(*rpc.Call) error { return rpc.Errorf("a_code_of_its_own", "no") }),
		blocking("t.later", func(*rpc.Call) error { return nil }),
	))
	sent, received := 0, 0
	const clients, ok, wrong, odd, later, unknown, notes = 5, 100, 30, 2, 7, 11, 4
	for i := range clients {
		c := s.raw("127.0.0.1")
		bytes := &counted{Conn: c.Conn}
		c.Conn = bytes
		c.r.Reset(bytes)
		c.login(uint64(i + 1))
		id := uint32(10)
		for _, of := range []struct {
			method string
			n      int
		}{{"t.ok", ok}, {"t.wrong", wrong}, {"t.odd", odd}, {"t.later", later}, {"t.none", unknown}} {
			for range of.n {
				id++
				c.request(id, of.method)
				if m := c.next(); m.Kind != wire.Response || m.ID != id {
					t.Fatalf("%s: %+v", of.method, m)
				}
			}
		}
		for range notes {
			b := wire.AppendArray(wire.AppendNotification(wire.BeginFrame(nil), "t.wrong"), 0)
			wire.EndFrame(b, 0)
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		c.request(9, "t.ok") // the notifications are through
		c.next()
		sent, received = sent+bytes.out, received+bytes.in
	}
	var p page
	eventually(t, "everything is counted", func() bool {
		p = s.scrape()
		return p.sum(metrics.Calls, "t.ok") == clients*(ok+1)
	})
	for _, want := range []struct {
		f      *metrics.Family
		n      int
		labels []string
	}{
		{metrics.Calls, clients * (wrong + notes), []string{"t.wrong"}},
		{metrics.Calls, clients * later, []string{"t.later"}},
		{metrics.Calls, clients, []string{"auth.login"}},
		{metrics.Calls, 0, []string{"player.get"}},
		{metrics.Calls, clients * (wrong + notes), []string{"t.wrong", "invalid_argument"}},
		{metrics.Calls, clients * odd, []string{"t.odd", "other"}},
		{metrics.Calls, 0, []string{"t.ok", "internal"}},
		{metrics.Calls, clients * (ok + 1), []string{"t.ok", "ok"}},
		{metrics.Calls, 0, []string{"t.wrong", "ok"}},
		{metrics.Calls, clients * (ok + 1 + wrong + notes + odd + later + unknown + 1), nil},
		{metrics.CallRun, clients * (ok + 1), []string{"t.ok"}},
		{metrics.CallQueue, clients * (ok + 1), []string{"t.ok"}},
		{metrics.CallRun, clients * later, []string{"t.later"}},
		{metrics.Calls, clients * unknown, []string{"unknown", "unimplemented"}},
		{metrics.FailedNotes, clients * notes, nil},
		{metrics.Received, sent, nil},
		{metrics.Sent, received, nil},
		{metrics.Connections, clients, []string{"tcp", "frames"}},
		{metrics.LoopConns, clients, nil},
		{metrics.Online, clients, nil},
		{metrics.Accepted, clients, nil},
		{metrics.Underway, 0, nil},
		{metrics.BuildInfo, 1, nil},
		{metrics.Ready, 1, nil},
		{metrics.Draining, 0, nil},
	} {
		if got := p.sum(want.f, want.labels...); got != float64(want.n) {
			t.Errorf("%s%v = %v, want %d", want.f.Name, want.labels, got, want.n)
		}
	}
	for _, f := range []*metrics.Family{metrics.LoopTurns, metrics.LoopTurn, metrics.StoreTime, metrics.CommitRows, metrics.LogLines} {
		if got := p.sum(f); got <= 0 {
			t.Errorf("%s = %v, want more than 0", f.Name, got)
		}
	}
}

// TestEveryFamilyIsCollected: what the catalogue has is there from the start, but for
// what needs somebody to send to, or a code or method that has come up.
func TestEveryFamilyIsCollected(t *testing.T) {
	later := []*metrics.Family{metrics.LoopSlow, metrics.StoreErrors, metrics.PushBuffered, metrics.PushSent, metrics.Spans, metrics.Connections}
	s := start(t, measured(t), nil)
	var p page
	eventually(t, "it serves, and redis has told its queues", func() bool {
		p = s.scrape()
		return p.sum(metrics.Ready) == 1 && p.sum(metrics.QueueDepth) == 0
	})
	for _, f := range metrics.Families() {
		if len(p[f.Name].GetMetric()) == 0 && !slices.Contains(later, f) {
			t.Errorf("there is no %s", f.Name)
		}
	}
	series := p.series()
	if same := slices.Compact(slices.Clone(series)); len(same) != len(series) {
		t.Errorf("%d series are there more than once", len(series)-len(same))
	}
	s.raw("127.0.0.1").login(1)
	eventually(t, "a player is counted", func() bool {
		p := s.scrape()
		return p.sum(metrics.Players) == 1 && p.sum(metrics.Connections, "tcp") == 1
	})
}

// TestAnEndIsInOneFamily: whoever comes is refused, or is closed, or is still there; and
// a call that an operator tries is nobody who came.
func TestAnEndIsInOneFamily(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1, month)
	cfg := tlsConfig(t, dir)
	cfg.Listen.Admin = "127.0.0.1:0"
	cfg.Limits.HandshakeTimeout = 100 * time.Millisecond
	cfg.Limits.MaxConnectionsPerIP = 1
	s := start(t, cfg, nil)
	s.raw("127.0.0.1").login(1)

	over := s.raw("127.0.0.1")
	over.request(1, "sys.ping")
	over.closing()
	half := s.raw("127.0.0.2")
	_, _ = half.Write([]byte{0x16, 3, 1, 2, 0})
	half.closing() // an end
	kicked := s.raw("127.0.0.3").login(3)
	s.peers.Kick(3, wire.Closing{Code: wire.Kicked, Message: "x"})
	kicked.closing()
	left := s.raw("127.0.0.4").login(4)
	for _, c := range []*raw{over, kicked, left} {
		c.Close()
	}
	console := s.openConsole(t)
	for range 5 {
		var answer map[string]any
		console.post("/console/call", `{"uid":"0","method":"sum","params":[1,2]}`, &answer)
	}

	var p page
	eventually(t, "each who came is counted once", func() bool {
		p = s.scrape()
		return p.sum(metrics.LoopConns) == 1 && p.sum(metrics.Closed)+p.sum(metrics.Refused)+1 == p.sum(metrics.Accepted)
	})
	for _, want := range []struct {
		f     *metrics.Family
		n     float64
		label []string
	}{
		{metrics.Accepted, 5, nil},
		{metrics.Refused, 2, nil},
		{metrics.Refused, 1, []string{"address"}},
		{metrics.Refused, 1, []string{"handshake_timeout"}},
		{metrics.Closed, 2, nil},
		{metrics.Closed, 1, []string{"kicked"}},
		{metrics.Closed, 1, []string{"gone"}},
	} {
		if got := p.sum(want.f, want.label...); got != want.n {
			t.Errorf("%s%v = %v, want %v", want.f.Name, want.label, got, want.n)
		}
	}
}

// TestAStoreThatWasNotAskedIsNotAway: while the daemon waits for its database it has not
// asked Redis, and says nothing of it.
func TestAStoreThatWasNotAskedIsNotAway(t *testing.T) {
	cfg := measured(t)
	cfg.Store.SQL.Driver, cfg.Store.SQL.DSN = "mysql", "root@tcp(127.0.0.1:1)/x"
	s := start(t, cfg, nil, "waiting for a store", "store is unreachable")
	var p page
	eventually(t, "the database is missed", func() bool { p = s.scrape(); return p.sum(metrics.StoreUp, "sql") == 0 })
	if up := p.sum(metrics.StoreUp, "redis"); up != -1 {
		t.Errorf("store_up of redis is %v, which nobody knows", up)
	}
}

// TestMetricsOfStrangers: ten thousand names of methods that there are not add no
// series, and are one number.
func TestMetricsOfStrangers(t *testing.T) {
	s := start(t, measured(t), nil)
	c := s.raw("127.0.0.1").login(1)
	c.request(2, "t.none")
	c.next()
	before := s.scrape().series()
	const names = 10_000
	var ended sync.WaitGroup
	ended.Go(func() {
		for range names {
			c.next()
		}
	})
	for i := range names {
		c.request(uint32(i+3), fmt.Sprintf("t.%d{\"x\"}\n%s", i, strings.Repeat("y", i%100)))
	}
	ended.Wait()
	var p page
	eventually(t, "all are one number", func() bool { // a scrape may be that of a moment ago
		p = s.scrape()
		return p.sum(metrics.Calls, "unknown", "unimplemented") == names+1
	})
	if after := p.series(); !slices.Equal(before, after) {
		t.Errorf("%d series before, %d after", len(before), len(after))
	}
}

// TestMetricsOfAHeldLoop: a loop that does not turn costs who scrapes a second, and
// is shown as it was; the others are shown as they are.
func TestMetricsOfAHeldLoop(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{})
	s := start(t, measured(t), only(
		plain("t.ok", func(*rpc.Call) error { return nil }),
		plain("t.hold", func(*rpc.Call) error { close(held); <-hold; return nil }),
	))
	// Two players on different loops.
	one, other := uint64(1), uint64(2)
	for s.peers.HomeOf(other) == s.peers.HomeOf(one) {
		other++
	}
	a, b := s.raw("127.0.0.1").login(one), s.raw("127.0.0.1").login(other)
	call := func(c *raw) {
		c.request(2, "t.ok")
		c.next()
	}
	call(a)
	eventually(t, "one call is counted", func() bool { return s.scrape().sum(metrics.Calls, "t.ok") == 1 })
	a.request(3, "t.hold")
	<-held
	call(b)
	began := time.Now()
	eventually(t, "the other's call is counted", func() bool { return s.scrape().sum(metrics.Calls, "t.ok") == 2 })
	if took := time.Since(began); took < collectTime || took > collectTime+5*time.Second {
		t.Errorf("it took %v, want about %v", took, collectTime)
	}
	call(b) // the held loop was asked already, and is not asked twice
	eventually(t, "and its next", func() bool { return s.scrape().sum(metrics.Calls, "t.ok") == 3 })
	close(hold)
	eventually(t, "the held one answers", func() bool { return s.scrape().sum(metrics.Calls, "t.hold") == 1 })
}

// TestMetricsBeforeAndAfter: /metrics answers while the daemon waits for its
// database, and while it drains.
func TestMetricsBeforeAndAfter(t *testing.T) {
	db := storetest.MariaDBAlone(t)
	db.Stall()
	cfg := measured(t)
	cfg.Store.SQL.Driver, cfg.Store.SQL.DSN = "mysql", db.DSN
	hold := make(chan struct{})
	s := start(t, cfg, only(blocking("t.hold", func(*rpc.Call) error { <-hold; return nil })), "waiting for a store", "store is unreachable")
	eventually(t, "the database is missed", func() bool { p := s.scrape(); return p.sum(metrics.Ready) == 0 && p.sum(metrics.StoreUp, "sql") == 0 })
	db.Resume()
	eventually(t, "it is ready", func() bool { return s.scrape().sum(metrics.Ready) == 1 })
	c := s.raw("127.0.0.1").login(1)
	c.request(2, "t.hold")
	eventually(t, "the call is under way", func() bool { return s.scrape().sum(metrics.Underway) == 1 })
	s.Shutdown("a test")
	eventually(t, "it drains", func() bool {
		p := s.scrape()
		return p.sum(metrics.Draining) == 1 && p.sum(metrics.Ready) == 0 && p.sum(metrics.DrainSeconds) > 0
	})
	close(hold)
	if report := s.drain(); !report.Clean {
		t.Errorf("%+v", report)
	}
}

// TestMetricsOfEnds: a session that ends has one reason, whether its client said FIN or
// RST, or was told to go and went.
func TestMetricsOfEnds(t *testing.T) {
	s := start(t, measured(t), nil)
	conns := make([]*raw, 5)
	for i := range conns {
		conns[i] = s.raw("127.0.0.1")
		conns[i].login(uint64(i + 1))
	}
	for _, c := range conns[:3] {
		_ = c.Close()
	}
	_ = conns[3].Conn.(*net.TCPConn).SetLinger(0)
	_ = conns[3].Close()
	if _, err := s.peers.Kick(5, wire.Closing{Code: wire.Kicked, Message: "go"}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	conns[4].next()
	_ = conns[4].Close()
	var p page
	eventually(t, "all have ended", func() bool { // the loops are not copied at the same moment
		p = s.scrape()
		return p.sum(metrics.LoopConns) == 0 && p.sum(metrics.Closed) >= 5
	})
	if gone, kicked := p.sum(metrics.Closed, "gone"), p.sum(metrics.Closed, "kicked"); gone != 4 || kicked != 1 || p.sum(metrics.Closed) != 5 {
		t.Errorf("gone %v, kicked %v, of all %v; want 4, 1, 5", gone, kicked, p.sum(metrics.Closed))
	}
}

// TestMetricsWhileItStarts: the admin listener is there since New, so a request may
// wait for the loops.
func TestMetricsWhileItStarts(t *testing.T) {
	for range 10 {
		s, err := New(measured(t), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		var asked, ended sync.WaitGroup
		for range 4 {
			asked.Go(func() {
				if r, err := http.Get("http://" + s.AdminAddr() + "/metrics"); err == nil {
					_ = r.Body.Close()
				}
			})
		}
		ended.Go(func() { _, _ = s.Run() })
		asked.Wait()
		s.Shutdown("over")
		ended.Wait()
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestMetricsOfAWorker: it has no clients, and all the rest.
func TestMetricsOfAWorker(t *testing.T) {
	cfg := measured(t)
	cfg.Metrics.Instance = "game-1"
	s := startWith(t, cfg, Options{Worker: true, Name: "mails"})
	if name := s.instance(); name != "game-1-worker-mails" {
		t.Errorf("it sends as %q, as others may", name)
	}
	var p page
	eventually(t, "it is ready", func() bool {
		p = s.scrape()
		return p.sum(metrics.Ready) == 1 && p.sum(metrics.QueueDepth) == 0
	})
	for f, want := range map[*metrics.Family]float64{metrics.Online: 0, metrics.Accepted: 0, metrics.StoreUp: 2, metrics.Calls: 0} {
		if got := p.sum(f); got != want {
			t.Errorf("%s = %v, want %v", f.Name, got, want)
		}
	}
}

// TestMetricsOfReloads: what came of them, and the lines of the log.
func TestMetricsOfReloads(t *testing.T) {
	cfg := measured(t)
	next := cfg
	o := Options{Load: func() (*config.Config, error) { return next, nil }}
	s := startWith(t, cfg, o, "reload refused: everything stays as it was")
	eventually(t, "it serves", func() bool { ok, _ := s.Ready(); return ok })
	for range 3 {
		if _, _, err := s.Reread("a test"); err != nil {
			t.Fatal(err)
		}
	}
	next = with(cfg, func(c *config.Config) { c.Game.Shop = []string{"nonsense"} })
	if _, _, err := s.Reread("a test"); err == nil {
		t.Fatal("nonsense was taken over")
	}
	eventually(t, "they are counted", func() bool {
		p := s.scrape()
		return p.sum(metrics.Reloads, "ok") == 3 && p.sum(metrics.Reloads, "refused") == 1
	})
	eventually(t, "so are the lines", func() bool {
		p := s.scrape() // may be that of a moment ago
		infos, errors := s.logs.FilterLevelExact(zap.InfoLevel).Len(), s.logs.FilterLevelExact(zap.ErrorLevel).Len()
		return infos > 7 && errors == 1 && p.sum(metrics.LogLines, "info") == float64(infos) && p.sum(metrics.LogLines, "error") == float64(errors)
	})
}

// TestMetricsArePushed: to where metrics.influx.url says, and the last time when the
// drain is over.
func TestMetricsArePushed(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		zip, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		b, err := io.ReadAll(zip)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, string(b))
		w.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	cfg := measured(t)
	cfg.Metrics.Influx.URL, cfg.Metrics.Influx.Interval, cfg.Metrics.Instance = sink.URL+"/write?db=game", time.Hour, "game-1"
	s := start(t, cfg, nil)
	eventually(t, "a push", func() bool { return s.scrape().sum(metrics.PushSent, "ok") > 0 })
	s.raw("127.0.0.1").login(1)
	s.drain()
	mu.Lock()
	defer mu.Unlock()
	last := bodies[len(bodies)-1]
	for _, want := range []string{
		"gameserverd_draining,instance=game-1 value=1.0 ", `gameserverd_rpc_calls_total,method=auth.login,code=ok,instance=game-1 value=1.0 `,
		"gameserverd_connections_closed_total,reason=server_shutdown,instance=game-1 value=1.0 ", "go_goroutines,instance=game-1 value=",
	} {
		if !strings.Contains(last, want) {
			t.Errorf("the last push has no %s", want)
		}
	}
}

// TestCheckFindsAWrongToken: gameserverd check reads the file that a start would.
func TestCheckFindsAWrongToken(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Metrics.Influx.URL, cfg.Metrics.Influx.TokenFile = "http://127.0.0.1:1/write", "/does/not/exist"
	if err := Check(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "metrics.influx.token_file") {
		t.Errorf("check says %v", err)
	}
	if _, err := New(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "metrics.influx.token_file") {
		t.Errorf("the start says %v", err)
	}
}

// with500 is a daemon that runs, with 500 methods that were all called.
func with500(b *testing.B) *testServer {
	s := start(b, measured(b), func(*handlers.Parts) (all []rpc.Method) {
		for i := range 500 {
			all = append(all, plain(fmt.Sprintf("area%d.method_%d", i%20, i), func(*rpc.Call) error { return nil }))
		}
		return all
	})
	c := s.raw("127.0.0.1").login(1)
	for i := range 500 {
		c.request(uint32(i+2), fmt.Sprintf("area%d.method_%d", i%20, i))
		c.next()
	}
	return s
}

// BenchmarkCopyOfALoop is what a collection costs a loop.
func BenchmarkCopyOfALoop(b *testing.B) {
	s := with500(b)
	done := make(chan struct{})
	s.loops[0].AddCallback(func() {
		defer close(done)
		into := new(loopNumbers)
		for b.Loop() {
			s.copyLoop(0, into)
		}
	})
	<-done
}

// BenchmarkCollect is a collection of all loops, without writing it down.
func BenchmarkCollect(b *testing.B) {
	s := with500(b)
	batch := new(metrics.Batch)
	for b.Loop() {
		batch.Reset()
		s.collectAll(context.Background(), batch)
	}
}

// cpuTime is what this process has had of the processors, daemon and reader together.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkScrapeOfADaemon is one scrape of it.
func BenchmarkScrapeOfADaemon(b *testing.B) {
	s := with500(b)
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			size := int64(0)
			before := cpuTime(b)
			for b.Loop() {
				b.StopTimer()
				<-time.After(collectEvery + time.Millisecond) // each collects anew, as Prometheus' do
				b.StartTimer()
				request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+s.AdminAddr()+"/metrics", nil)
				if err != nil {
					b.Fatal(err)
				}
				request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
				request.Header.Set("Accept-Encoding", encoding)
				response, err := transport.RoundTrip(request)
				if err != nil {
					b.Fatal(err)
				}
				if size, err = io.Copy(io.Discard, response.Body); err != nil {
					b.Fatal(err)
				}
				response.Body.Close()
			}
			b.ReportMetric(float64(size), "B/scrape")
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}
