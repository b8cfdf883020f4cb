package storetest

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// It answers a query, and comes back with what it knew.
func TestPrometheus(t *testing.T) {
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 1s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Prometheus(t, config)
	ask := func() string {
		response, err := http.Get(s.URL + "/api/v1/query?query=1%2B1")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		var answer struct{ Status string }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Status
	}
	if got := ask(); got != "success" {
		t.Errorf("it answers with status %q", got)
	}
	s.Kill()
	if _, err := http.Get(s.URL + "/-/ready"); err == nil {
		t.Error("it answers after it was killed")
	}
	s.Start()
	if got := ask(); got != "success" {
		t.Errorf("back again it answers with status %q", got)
	}
}
