package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a browser sends, whatever it is, is answered in words of ours and breaks nothing.
func FuzzOrders(f *testing.F) {
	paths := []string{"/console/kick", "/console/message", "/console/call", "/console/tasks/run", "/console/tasks/act", "/console/signin"}
	for i, path := range paths {
		f.Add(i, acts[path])
	}
	f.Add(2, `{"uid":"18446744073709551615","method":"sum","params":[{"$bin":"AA=="},1e999,[[[]]],"\ud800"]}`)
	f.Add(0, `{"uid":"7"}{}`)
	r := start(f)
	r.hello()
	f.Fuzz(func(t *testing.T, i int, body string) {
		if strings.Contains(body, "hold") { // a method of the rig that waits
			return
		}
		path := paths[uint(i)%uint(len(paths))]
		req := httptest.NewRequest(http.MethodPost, "http://localhost"+path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-CSRF-Token", r.csrf)
		w := httptest.NewRecorder()
		r.Console.ServeHTTP(w, req)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable && w.Code != http.StatusInternalServerError || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s of %q: %d %s", path, body, w.Code, w.Body)
		}
		r.done()
	})
}
