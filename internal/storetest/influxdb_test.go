package storetest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// answerOf is what a request is answered with; the status must be 2xx.
func answerOf(t *testing.T, method, url, body string) string {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %v: %s", method, url, response.Status, err, b)
	}
	return string(b)
}

// It takes points, answers queries, and comes back with what it knew.
func TestInfluxDB(t *testing.T) {
	s := InfluxDB(t)
	answerOf(t, http.MethodPost, s.URL+"/query?q="+url.QueryEscape("CREATE DATABASE game"), "")
	answerOf(t, http.MethodPost, s.URL+"/write?db=game&precision=ms", "calls,method=a value=3.5 1700000000000\n")
	ask := func() {
		t.Helper()
		if got := answerOf(t, http.MethodGet, s.URL+"/query?db=game&q="+url.QueryEscape("SELECT value FROM calls"), ""); !strings.Contains(got, "3.5]") {
			t.Errorf("it answers %s", got)
		}
	}
	ask()
	s.Kill()
	s.Start()
	ask()
}

// It takes points in the form of InfluxDB 2.
func TestVictoriaMetrics(t *testing.T) {
	s := VictoriaMetrics(t)
	answerOf(t, http.MethodPost, s.URL+"/api/v2/write?precision=ms", "calls,method=a value=3.5 1700000000000\n")
	var got string
	err := until(func(context.Context) (bool, error) { // a new name is found after a second
		answerOf(t, http.MethodGet, s.URL+"/internal/force_flush", "")
		got = answerOf(t, http.MethodGet, s.URL+"/api/v1/export?match="+url.QueryEscape(`calls_value{method="a"}`), "")
		return got != "", nil
	})
	if err != nil || !strings.Contains(got, `"values":[3.5]`) {
		t.Errorf("%v; it answers %q", err, got)
	}
}
