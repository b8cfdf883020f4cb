package wire

import "testing"

func TestNothingIsAllocated(t *testing.T) {
	withMeta := []byte("\x95\x00\x01\xa3sum\x92\x01\x02\x82\xaatimeout_ms\x05\xabtraceparent\xa200")
	params := Raw("\x97\x01\xff\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xc3\xa4text\xc4\x02ab\x81\xa1k\x01")
	list := any([]any{int64(1), "text", nil, 1.5})
	object := any(map[string]any{"b": int64(1), "a": "text"})
	failure := &Error{Code: NotFound, Message: "no such thing", Data: Raw("\x05"), RetryAfter: 1}
	large, text := any(uint64(1<<40)), any("text")
	out := make([]byte, 0, 4096)
	var m Message
	var w Walker
	var meta Meta
	for name, f := range map[string]func(){
		"Parse":      func() { _ = m.Parse(sumRequest, 100) },
		"Parse meta": func() { _ = m.Parse(withMeta, 100); meta = ParseMeta(m.Meta) },
		"Check":      func() { _ = Check(withMeta, 100) },
		"Walker":     func() { w.Reset(100); _, _ = w.Walk(withMeta[:5]); _, _ = w.Walk(withMeta) },
		"Skip":       func() { Skip(withMeta) },
		"Reader": func() {
			r := NewReader(params)
			_, err1 := r.Array()
			_, err2 := r.Int64()
			_ = r.Nil()
			_, err3 := r.Float64()
			_, err4 := r.Float64()
			_, err5 := r.Bool()
			_, err6 := r.Str()
			_, err7 := r.Bytes()
			rest := r.Raw()
			if err1 != nil || err2 != nil || err3 != nil || err4 != nil || err5 != nil || err6 != nil || err7 != nil || len(rest) != 4 || TypeName(rest) != "map" {
				t.Fatal("not as written")
			}
		},
		"request":      func() { out = AppendInt(AppendArray(AppendRequest(out[:0], 1, "sum"), 1), -5) },
		"request meta": func() { out = AppendMeta(AppendArray(AppendRequestMeta(out[:0], 1, "sum"), 0), meta) },
		"notification": func() { out = AppendArray(AppendNotification(out[:0], "sum"), 0) },
		"response": func() {
			out = BeginFrame(out[:0])
			out = AppendString(AppendResult(out, 70000), "text")
			EndFrame(out, 0)
		},
		"error":          func() { out = AppendErrorResponse(out[:0], 1, failure) },
		"closing":        func() { out = AppendClosing(out[:0], Closing{Code: Kicked, RetryAfter: 5}) },
		"AppendAny uint": func() { out, _ = AppendAny(out[:0], large) },
		"AppendAny text": func() { out, _ = AppendAny(out[:0], text) },
		"AppendAny list": func() { out, _ = AppendAny(out[:0], list) },
		"AppendAny map":  func() { out, _ = AppendAny(out[:0], object) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if !meta.HasTimeout || string(meta.Traceparent) != "00" || len(out) == 0 {
		t.Errorf("nothing was measured: %+v", meta)
	}
}
