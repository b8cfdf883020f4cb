package storetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
)

// Prometheus starts a Prometheus of the test's own with this configuration file, which its end ends. Its URL is
// http://127.0.0.1:port; a POST to /-/reload reads the file, and those it names, anew. The test is skipped and counted
// where there is no prometheus.
func Prometheus(t testing.TB, config string) *Server {
	t.Helper()
	p, err := launchPrometheus(program(t, "prometheus"), config)
	if err != nil {
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

func launchPrometheus(server, config string) (*process, error) {
	config, err := filepath.Abs(config)
	if err != nil {
		return nil, err
	}
	folder, err := Folder("prometheus")
	if err != nil {
		return nil, err
	}
	p := &process{name: "prometheus", folder: folder, log: filepath.Join(folder, "log")}
	p.args = func(addr string) []string {
		return []string{server, "--config.file=" + config, "--web.listen-address=" + addr, "--storage.tsdb.path=" + filepath.Join(folder, "data"),
			"--web.enable-lifecycle", "--enable-feature=exemplar-storage"}
	}
	// Called by start, which has the address.
	p.ready = func(ctx context.Context, _ string) error { return httpReady(ctx, "http://"+p.addr+"/-/ready") }
	return p, p.launch()
}

// httpReady asks for a status of 200 to 299.
func httpReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Close = true // no idle connection is left behind
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		b, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // the status says enough
		return fmt.Errorf("%s answered %s: %s", url, response.Status, b)
	}
	return nil
}
