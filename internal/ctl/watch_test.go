package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"gameserverd/wire"
)

func ptr(f float64) *float64 { return &f }

func TestSessionsAreSorted(t *testing.T) {
	list := []Session{
		{UID: 1, Waiting: 5, AgeMS: 100, SilentMS: 7},
		{UID: 2, Waiting: 50, AgeMS: 300, SilentMS: 1},
		{UID: 3, Waiting: 0, AgeMS: 200, SilentMS: 90},
		{UID: 4, Waiting: 5, AgeMS: 100, SilentMS: 7},
	}
	for query, want := range map[string][]uint64{
		"":                      {2, 1, 4, 3},
		"?sort=age":             {2, 3, 1, 4},
		"?sort=silent":          {3, 1, 4, 2},
		"?sort=waiting&limit=1": {2},
	} {
		r := start(t)
		r.lists = [][]Session{append([]Session(nil), list...)}
		var got Sessions
		if err := r.Call(testContext(t), "GET", "/sessions"+query, nil, &got); err != nil || got.Total != 4 || len(got.Sessions) != len(want) {
			t.Errorf("%s: %v %v", query, got, err)
			continue
		}
		for i, uid := range want {
			if got.Sessions[i].UID != uid {
				t.Errorf("%s: %+v, want %v", query, got.Sessions, want)
				break
			}
		}
	}
	r := start(t)
	for _, bad := range []string{"?sort=luck", "?limit=0", "?limit=x", "?limit=1000000"} {
		if err := r.Call(testContext(t), "GET", "/sessions"+bad, nil, &Sessions{}); code(err) != invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := r.Call(testContext(t), "GET", "/sessions", nil, &Sessions{}); code(err) != unavailable {
		t.Error(err)
	}
}

func TestRates(t *testing.T) {
	before := []Session{
		{UID: 1, AgeMS: 100, Messages: 10},
		{UID: 2, AgeMS: 100, Messages: 1<<32 - 5},
		{Conn: 9, Loop: 1, AgeMS: 100, Messages: 3},
		{UID: 4, AgeMS: 100, Messages: 1000},
	}
	now := []Session{
		{UID: 1, Loop: 3, AgeMS: 2100, Messages: 30},  // has moved to another loop
		{UID: 2, AgeMS: 2100, Messages: 15},           // the count began anew
		{Conn: 9, Loop: 0, AgeMS: 2100, Messages: 90}, // another one with this number
		{Conn: 9, Loop: 1, AgeMS: 2100, Messages: 3},
		{UID: 4, AgeMS: 5, Messages: 1}, // has connected again
	}
	rates(before, now, 2*time.Second)
	for i, want := range []*float64{ptr(10), ptr(10), nil, ptr(0), nil} {
		if got := now[i].Rate; (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("session %d: %v, want %v", i, got, want)
		}
	}
}

func TestRateIsMeasured(t *testing.T) {
	r := start(t)
	r.lists = [][]Session{
		{{UID: 1, Messages: 100}, {UID: 2, Messages: 0}},
		{{UID: 1, Messages: 101}, {UID: 2, Messages: 500}},
	}
	began := time.Now()
	var got Sessions
	if err := r.Call(testContext(t), "GET", "/sessions?sort=rate&limit=1", nil, &got); err != nil || len(got.Sessions) != 1 || got.Sessions[0].UID != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	// 500 messages in a second or somewhat more.
	took := time.Since(began).Seconds()
	if rate := got.Sessions[0].rate(); rate > 500 || rate < 500/took*0.99 {
		t.Errorf("%v a second, in %v s", rate, took)
	}
}

func TestTraceUntilTheTimeIsOver(t *testing.T) {
	r := start(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	login := append(wire.AppendArray(nil, 1), wire.AppendString(nil, "hunter2")...)
	long := append(wire.AppendArray(nil, 1), wire.AppendString(nil, strings.Repeat("a", 5000))[:4000]...)
	var lines []Traced
	began := func() {
		r.sink(Message{At: at, In: true, Kind: wire.Request, ID: 1, Method: "auth.login", Size: 9})
		r.sink(Message{At: at, In: true, Kind: wire.Request, ID: 2, Method: "auth.other", Body: login, Size: len(login)})
		r.sink(Message{At: at, In: true, Kind: wire.Request, ID: 3, Method: "save.put", Body: long, Size: 5004})
		r.sink(Message{At: at, Kind: wire.Response, ID: 3, Method: "save.put", Body: []byte{0xc0}, Size: 1, Took: 1500 * time.Microsecond})
		r.sink(Message{At: at, Kind: wire.Notification, Method: "x", Body: []byte{0x90}, Size: 1})
	}
	err := r.Lines(testContext(t), "GET", "/trace?uid=7&for_ms=1000", nil, began, func(line []byte) error {
		var l Traced
		if strings.Contains(string(line), "hunter") {
			t.Errorf("shown: %s", line)
		}
		lines = append(lines, l)
		return json.Unmarshal(line, &lines[len(lines)-1])
	})
	if err != nil || len(lines) != 6 {
		t.Fatalf("%v, %+v", err, lines)
	}
	if l := lines[3]; l.Dir != "out" || l.Kind != "response" || l.ID != 3 || l.TookMS != 1.5 || string(l.Body) != "null" || !l.At.Equal(at) {
		t.Errorf("%+v", l)
	}
	for i, want := range []string{`"***"`, `"***"`, `["` + strings.Repeat("a", 64) + `… (5000 bytes)"]`, `null`, `[]`} {
		if string(lines[i].Body) != want {
			t.Errorf("line %d: %s, want %s", i, lines[i].Body, want)
		}
	}
	if l := lines[5]; l.End != "the time is over" || l.Messages != 5 || l.Dropped != 0 {
		t.Errorf("the end: %+v", l)
	}
	eventually(t, "untraced", func() bool { return r.heard("untraced") })
}

func TestTraceEnds(t *testing.T) {
	r := start(t)
	for query, want := range map[string]string{
		"uid=0&for_ms=1": invalid, "uid=x&for_ms=1": invalid, "uid=7": invalid, "uid=7&for_ms=0": invalid, "uid=7&for_ms=99999999": invalid,
		"uid=99&for_ms=1000": exhausted,
	} {
		if err := r.Lines(testContext(t), "GET", "/trace?"+query, nil, func() {}, func([]byte) error { return nil }); code(err) != want {
			t.Errorf("%s: %v", query, err)
		}
	}
	// With the daemon.
	last := ""
	err := r.Lines(testContext(t), "GET", "/trace?uid=7&for_ms=60000", nil, func() { go closeNow(r.Server) }, func(line []byte) error {
		last = string(line)
		return nil
	})
	if err != nil || !strings.Contains(last, `"end":"the daemon ends"`) {
		t.Errorf("%v %s", err, last)
	}
}

// What is sent faster than it is read is counted.
func TestTraceDrops(t *testing.T) {
	r := start(t)
	var last Traced
	began := func() {
		for range 50_000 {
			r.sink(Message{In: true, Kind: wire.Notification, Method: "x", Body: []byte{0x90}, Size: 1})
		}
	}
	err := r.Lines(testContext(t), "GET", "/trace?uid=7&for_ms=1500", nil, began, func(line []byte) error {
		return json.Unmarshal(line, &last)
	})
	if err != nil || last.End == "" || last.Dropped == 0 || last.Messages+last.Dropped > 50_000 || last.Messages < traceBuffer {
		t.Errorf("%v %+v", err, last)
	}
}

// Who asks for a trace and does not read it loses it, and holds nobody up.
func TestTraceThatNobodyReadsEnds(t *testing.T) {
	r := start(t, func(s *Server) { s.lineTime = 100 * time.Millisecond })
	c, err := net.Dial("unix", r.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /trace?uid=7&for_ms=3600000 HTTP/1.1\r\nHost: ctl\r\n\r\n")
	sink := func() func(Message) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.sink
	}
	eventually(t, "the trace", func() bool { return sink() != nil })
	body := append(wire.AppendArray(nil, 16), bytes.Repeat(wire.AppendString(nil, strings.Repeat("a", 64)), 16)...)
	eventually(t, "its end", func() bool {
		sink()(Message{In: true, Kind: wire.Notification, Method: "x", Body: body, Size: len(body)})
		return r.heard("untraced")
	})
}

func TestDrainIsWatchedToItsEnd(t *testing.T) {
	r := start(t)
	var states []string
	var last Status
	err := r.Lines(testContext(t), "POST", "/drain?wait=true", nil, func() {
		r.status.Store(&Status{State: "draining", Drain: &Drain{Connections: 5}})
	}, func(line []byte) error {
		last = Status{}
		if err := json.Unmarshal(line, &last); err != nil {
			return err
		}
		if states = append(states, last.State); len(states) == 2 {
			r.status.Store(&Status{State: "drained", Drain: &Drain{Ended: true, Clean: true}})
			go closeNow(r.Server)
		}
		return nil
	})
	if err != nil || len(states) < 3 || last.Drain == nil || !last.Drain.Clean {
		t.Errorf("%v, %v, %+v", err, states, last)
	}
	if !r.heard("drain: gameserverd ctl drain, by uid ") {
		t.Errorf("said %q", r.said)
	}
}
