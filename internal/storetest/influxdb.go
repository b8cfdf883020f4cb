package storetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// InfluxDB starts an InfluxDB 1 of the test's own, without a database, which its end ends. Its URL is
// http://127.0.0.1:port. The options are lines of the [http] section of its configuration, such as
// "auth-enabled = true". The test is skipped and counted where there is no influxd.
func InfluxDB(t testing.TB, options ...string) *Server {
	t.Helper()
	program := program(t, "influxd")
	return webServer(t, "influxdb", func(folder string) func(addr string) []string {
		file := filepath.Join(folder, "influxdb.conf")
		return func(addr string) []string {
			text := fmt.Sprintf(`bind-address = "127.0.0.1:0"
reporting-disabled = true
[meta]
dir = %[1]q
[data]
dir = %[2]q
wal-dir = %[3]q
[monitor]
store-enabled = false
[http]
bind-address = %[4]q
log-enabled = false
%[5]s
`, filepath.Join(folder, "meta"), filepath.Join(folder, "data"), filepath.Join(folder, "wal"), addr, strings.Join(options, "\n"))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Errorf("storetest: %v", err) // it does not start, and says so
			}
			return []string{program, "-config", file}
		}
	}, "/ping")
}

// VictoriaMetrics starts a VictoriaMetrics of the test's own, which takes the line protocol of InfluxDB 1 and 2 and
// answers queries of Prometheus, at once and of any time; the test's end ends it. Its URL is http://127.0.0.1:port. The
// options are flags. The test is skipped and counted where there is no victoria-metrics.
func VictoriaMetrics(t testing.TB, options ...string) *Server {
	t.Helper()
	program := program(t, "victoria-metrics")
	return webServer(t, "victoria-metrics", func(folder string) func(addr string) []string {
		return func(addr string) []string {
			args := []string{program, "-httpListenAddr=" + addr, "-storageDataPath=" + filepath.Join(folder, "data"),
				"-search.latencyOffset=0s", "-retentionPeriod=100y"}
			return append(args, options...)
		}
	}, "/health")
}

// webServer starts a server that speaks HTTP and keeps what it writes in folder; it is ready when a GET of ready is
// answered.
func webServer(t testing.TB, name string, args func(folder string) func(addr string) []string, ready string) *Server {
	t.Helper()
	folder, err := Folder(name)
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	p := &process{name: name, folder: folder, log: filepath.Join(folder, "log"), args: args(folder)}
	p.ready = func(ctx context.Context, _ string) error { return httpReady(ctx, "http://"+p.addr+ready) }
	if err := p.launch(); err != nil {
		t.Fatalf("storetest: %v", err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Errorf("storetest: %v", err)
		}
	})
	s := &Server{Addr: p.addr, t: t, process: p, alone: true}
	s.at = func(_, addr string) string { return "http://" + addr }
	s.URL = s.At(s.Addr)
	return s
}
