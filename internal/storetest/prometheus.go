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
	program := program(t, "prometheus")
	file, err := filepath.Abs(config)
	if err != nil {
		t.Fatal(err)
	}
	return webServer(t, "prometheus", func(folder string) func(addr string) []string {
		return func(addr string) []string {
			return []string{program, "--config.file=" + file, "--web.listen-address=" + addr, "--storage.tsdb.path=" + filepath.Join(folder, "data"),
				"--web.enable-lifecycle", "--enable-feature=exemplar-storage"}
		}
	}, "/-/ready")
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
