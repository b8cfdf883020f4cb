package dashboards

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/spantest"
	"gameserverd/internal/storetest"
	"gameserverd/internal/tlstest"
	"gameserverd/wire"
)

// scene is three daemons that are watched: a has TLS, MariaDB and Redis, b what is
// embedded and narrow limits, c is a process of its own, with TLS.
type scene struct {
	t          testing.TB
	ctx        context.Context
	began      time.Time
	prometheus *storetest.Server
	influx     *storetest.Server
	sql, redis *storetest.Server
	spans      *spantest.Receiver
	authority  *tlstest.Authority
	names      map[string]string // of the daemons, by their admin addresses
	a, b       *daemon
	c          *child
	sender     *client.Client // of b, who is there before it gets crowded
	lateness   func() time.Duration

	playing sync.WaitGroup
	stop    context.CancelFunc // ends those who play
}

func newScene(t testing.TB) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	s := &scene{t: t, ctx: ctx, began: time.Now(), spans: spantest.New(t), authority: tlstest.New(t), names: map[string]string{}}
	t.Cleanup(func() { s.at("all is taken down") })
	s.lateness = late()
	t.Cleanup(func() { s.lateness() })
	admin := s.reserve("a", "b", "c")
	s.prometheus = s.watch() // it takes five seconds until it looks for the first time
	s.influx, s.sql, s.redis = storetest.InfluxDB(t), storetest.MariaDBAlone(t), storetest.RedisAlone(t)
	if _, err := askInfluxDB(s.influx.URL, "CREATE DATABASE game"); err != nil {
		t.Fatal(err)
	}
	push := s.influx.URL + "/write?db=game"
	s.c = startChild(t, admin[2], push, s.authority)

	cfg := testConfig(t.TempDir(), "a", push)
	cfg.Listen.Admin = admin[0]
	cfg.Listen.TLS.CertFile, cfg.Listen.TLS.KeyFile = s.authority.CertFile, s.authority.KeyFile
	cfg.Store.SQL.Driver, cfg.Store.SQL.DSN, cfg.Store.Redis.URL = "mysql", s.sql.DSN, s.redis.URL
	cfg.Store.Queue = 20
	cfg.Worker.Concurrency = 1
	cfg.Game.BoardsIndex = "redis"
	s.a = startDaemon(t, cfg, &tls.Config{RootCAs: s.authority.Roots})

	cfg = testConfig(t.TempDir(), "b", push)
	cfg.Listen.Admin = admin[1]
	cfg.Tracing.Endpoint, cfg.Tracing.OneIn = s.spans.URL(), 1
	cfg.Loop.Workers, cfg.Loop.WorkerQueue = 4, 4
	cfg.Worker.Concurrency = 2
	cfg.Limits.RatePerSecond, cfg.Limits.RateBurst = 200, 200
	cfg.Limits.MaxMailbox = 16
	cfg.Limits.MaxWriteBufferBytes, cfg.Limits.MaxTotalWriteBufferBytes = 8<<20, 8<<20
	s.b = startDaemon(t, cfg, nil)
	s.sender = s.b.login(ctx, 60)
	s.at("all are started")
	return s
}

// reserve finds admin addresses that nobody listens on.
func (s *scene) reserve(names ...string) (all []string) {
	s.t.Helper()
	for _, name := range names {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		defer ln.Close()
		all = append(all, ln.Addr().String())
		s.names[ln.Addr().String()] = name
	}
	return all
}

// watch starts a Prometheus with the shipped rules, whose alerts have a second to last.
func (s *scene) watch() *storetest.Server {
	s.t.Helper()
	folder := s.t.TempDir()
	short := func(d time.Duration) time.Duration { return min(d, time.Second) }
	text := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: %s
    static_configs: [{targets: [%s]}]
`, job, strings.Join(slices.Sorted(maps.Keys(s.names)), ", "))
	for name, text := range map[string]string{"rules.yml": rulesFile(short), "prometheus.yml": text} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return storetest.Prometheus(s.t, filepath.Join(folder, "prometheus.yml"))
}

// at logs how long all has taken until something.
func (s *scene) at(what string) { s.t.Logf("%5.1fs %s", time.Since(s.began).Seconds(), what) }

// firing are the alerts that fire now, as name and instance.
func (s *scene) firing() (all []string) {
	s.t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	if err := fetch(s.prometheus.URL+"/api/v1/alerts", nil, &answer); err != nil {
		s.t.Fatal(err)
	}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			all = append(all, a.Labels["alertname"]+" "+s.names[a.Labels["instance"]])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fires waits until alerts fire.
func (s *scene) fires(alerts ...string) {
	s.t.Helper()
	for _, alert := range alerts {
		eventually(s.t, alert+" fires", func() bool { return slices.Contains(s.firing(), alert) })
		s.at(alert + " fires")
	}
}

// ask is a query of Prometheus at this moment.
func (s *scene) ask(query string) points {
	s.t.Helper()
	p, err := askPrometheus(s.prometheus.URL, query, &window{from: s.began, to: time.Now()}, false)
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return p
}

// play has players of a daemon call what players call, until they are stopped. It is
// no matter how the calls end.
func (s *scene) play(ctx context.Context, d *daemon, uids ...uint64) {
	s.t.Helper()
	for _, uid := range uids {
		c := d.login(ctx, uid)
		client.HandleFunc(c, "duel.offer", func(context.Context, struct{ From uint64 }) (bool, error) { return true, nil })
		s.playing.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				s.move(ctx, c, i, uids)
			}
		})
	}
}

// move is one thing that a player does.
func (s *scene) move(ctx context.Context, c *client.Client, i int, uids []uint64) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	switch i % 10 {
	case 0:
		_ = c.Call(ctx, "save.put", nil, "key", []byte(fmt.Sprint(i)))
	case 1:
		_ = c.Call(ctx, "rank.submit", nil, "arena", i)
	case 2:
		_ = c.Call(ctx, "duel.challenge", nil, uids[i/10%len(uids)])
	case 3:
		_ = c.Call(ctx, "rank.top", nil, "arena", 10)
	case 4:
		_ = c.Call(ctx, "test.apply", nil, "test.done")
	case 5:
		_ = c.Call(ctx, "shop.buy", nil, "no such thing", 1)
	default:
		_ = c.Call(ctx, "sum", nil, i, 1)
	}
}

// many has one player call a method n times at once, and waits.
func (s *scene) many(d *daemon, n int, method string, params ...any) {
	s.t.Helper()
	c := d.login(s.ctx, 52)
	defer c.Close()
	var all []*client.Pending
	for range n {
		all = append(all, c.Go(s.ctx, method, nil, params...))
	}
	for _, p := range all {
		_ = p.Wait() // some are meant to fail
	}
}

// oddities are what single clients do, once each.
func (s *scene) oddities() {
	s.t.Helper()
	b := s.b
	player := b.login(s.ctx, 50)
	for _, method := range []string{"no.such", "test.panic"} {
		_ = player.Call(s.ctx, method, nil)
	}
	_ = player.Notify(s.ctx, "no.such")
	_ = player.Call(s.ctx, "duel.challenge", nil, uint64(60)) // whose client knows no duels
	for _, task := range []string{"test.flaky", "test.broken", "test.wait", "test.wait", "test.wait"} {
		if err := player.Call(s.ctx, "test.apply", nil, task); err != nil {
			s.t.Error(err)
		}
	}
	b.raw().Write([]byte("GET / HTTP/1.0\r\n\r\n")) // refused, which is no error here
	stray := b.raw()
	stray.send(wire.AppendNil(wire.AppendNil(wire.AppendUint(wire.AppendUint(wire.AppendArray(wire.BeginFrame(nil), 4), 1), 99))))
	half := s.a.raw() // a handshake that does not go on
	half.Write([]byte{0x16, 3, 1, 2, 0})
	ping := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), 1, "sys.ping"), 0)
	wire.EndFrame(ping, 0)
	flood, patient := b.raw(), b.raw()
	flood.Write(bytes.Repeat(ping, 2000))
	patient.request(1, "auth.login", "dev:51")
	for i := range uint32(40) {
		patient.request(2+i, "test.inorder", 50)
	}
	s.openPage()
	for range 20 {
		player.Go(s.ctx, "test.slow", nil, 1500) // more than there are workers, and places to wait for one
	}
}

// openPage opens a page of the console, which stays open.
func (s *scene) openPage() {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{}
	browser := &http.Client{Jar: jar, Transport: transport}
	get := func(path string) *http.Response {
		request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://"+s.b.AdminAddr()+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		response, err := browser.Do(request)
		if err != nil {
			s.t.Fatal(err)
		}
		if response.StatusCode != http.StatusOK {
			s.t.Fatalf("%s: %s", path, response.Status)
		}
		return response
	}
	get("/console/hello").Body.Close()
	page := get("/console/live")
	s.t.Cleanup(func() {
		page.Body.Close()
		transport.CloseIdleConnections()
	})
}

// reloads changes a's certificate to one that has hours left, and tries what is
// refused.
func (s *scene) reloads() {
	s.t.Helper()
	cert, key, _ := s.authority.Issue(s.t, "soon", time.Now().Add(12*time.Hour), "127.0.0.1")
	if err := s.a.reload(func(c *config.Config) error {
		c.Listen.TLS.CertFile, c.Listen.TLS.KeyFile = cert, key
		return nil
	}); err != nil {
		s.t.Error(err)
	}
	if err := s.a.reload(func(*config.Config) error { return fmt.Errorf("it cannot be read") }); err == nil {
		s.t.Error("a reload that cannot be is none")
	}
}

// fills makes what waits for a client of b that does not read more than the share of
// its budget that is asked for.
func (s *scene) fills(deaf uint64, share float64) {
	s.t.Helper()
	limit := float64(s.b.cfg.Limits.MaxTotalWriteBufferBytes)
	s.flood(deaf, func() bool { return s.b.value("gameserverd_write_buffer_bytes") > share*limit })
}

// flood sends to a client of b that does not read until it is enough. What b says of
// itself may be a tenth of a second old, so it sends a twentieth of the budget at a
// time, and then waits for longer than that.
func (s *scene) flood(deaf uint64, enough func() bool) {
	s.t.Helper()
	tick := time.NewTicker(120 * time.Millisecond)
	defer tick.Stop()
	eventually(s.t, "the deaf client has enough", func() bool {
		for range 3 {
			_ = s.sender.Call(s.ctx, "test.flood", nil, deaf) // it may have been closed by now
		}
		<-tick.C
		return enough()
	})
}

// late measures how late timers of this process are at the worst, until it is told to
// end: on a machine that has no processor left loops are late as well.
func late() (end func() time.Duration) {
	var worst time.Duration
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			due := time.Now().Add(10 * time.Millisecond)
			select {
			case now := <-time.After(time.Until(due)):
				worst = max(worst, now.Sub(due))
			case <-stop:
				return
			}
		}
	}()
	return sync.OnceValue(func() time.Duration {
		close(stop)
		<-stopped
		return worst
	})
}
