package cli

import (
	"strings"
	"testing"
	"time"

	"gameserverd/internal/ctl"
)

func TestStatusForPeople(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	st := &ctl.Status{
		State: "draining", Reason: "shutting down", Version: "v1", PID: 12, Started: began, Listen: []string{"a:1", "b:2"},
		LogLevel: "info", Loops: 2, Connections: 3, MaxConnections: 100, Online: 2, Underway: 1, Goroutines: 9,
		HeapBytes: 5 << 20, ResidentBytes: 3 << 30,
		Stores:   []ctl.Store{{Name: "sql", Up: true, Since: began}, {Name: "redis", Why: "refused", Since: began}},
		Counters: map[string]int64{"panics": 2, "closed_kicked": 1},
		Tasks: ctl.TasksStatus{Running: 2, Most: 16, Queues: []ctl.TaskQueue{
			{Name: "default", Waits: 3, Active: 2, Later: 1, OldestMS: 4500}, {Name: "low", Later: 7},
		}},
		Drain: &ctl.Drain{Why: "terminated", TookMS: 1234, DeadlineMS: 5000},
	}
	var b strings.Builder
	if err := writeStatus(&b, st, began.Add(3723*time.Second)); err != nil {
		t.Fatal(err)
	}
	want := `daemon         gameserverd v1, process 12, for 1h2m3s since 2026-01-02 03:04:05
state          draining, not ready: shutting down
drain          terminated; for 1.2s of 5s
listen         a:1, b:2
admin          off
connections    3 of 100 at most, 2 logged in
calls          1 under way
tasks          2 running here, 16 at most
queue default  3 wait, 2 active, 1 later, the oldest since 4.5s
queue low      0 wait, 0 active, 7 later
store sql      up since 2026-01-02 03:04:05
store redis    AWAY since 2026-01-02 03:04:05: refused
memory         3.0 GiB resident, 5.0 MiB of it live objects and garbage; 9 goroutines, 2 loops
log level      info
closed_kicked  1
panics         2
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestStatusOfAWorkerForPeople(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	st := &ctl.Status{
		Role: "worker", State: "serving", Ready: true, Version: "v1", PID: 12, Started: began, Admin: "a:1", LogLevel: "info", Loops: 2,
		Tasks: ctl.TasksStatus{Most: 4}, Counters: map[string]int64{"tasks_done": 2},
	}
	var b strings.Builder
	if err := writeStatus(&b, st, began.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	want := `daemon      gameserverd worker v1, process 12, for 1s since 2026-01-02 03:04:05
state       serving
admin       a:1
tasks       0 running here, 4 at most
queues      not known: redis does not answer
memory      0 B resident, 0 B of it live objects and garbage; 0 goroutines, 2 loops
log level   info
tasks_done  2
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestSessionsForPeople(t *testing.T) {
	rate := 12.345
	var b strings.Builder
	err := writeSessions(&b, []ctl.Session{
		{UID: 7, Conn: 12, Peer: "[2001:db8::1]:5000", Transport: "tls", Framing: "frames", AgeMS: 3_723_000, SilentMS: 45, Waiting: 2048, Mailbox: 1, Underway: 2, Rooms: 3, Messages: 99, Rate: &rate},
		{Conn: 4711, Peer: "unix", Transport: "tcp", Framing: "unknown"},
	}, true)
	want := `UID  CONN  PEER                VIA          AGE     SILENT  WAITING  MAILBOX  CALLS  ROOMS  MESSAGES  PER SECOND
7    12    [2001:db8::1]:5000  tls frames   1h2m3s  45ms    2.0 KiB  1        2      3      99        12.3
-    4711  unix                tcp unknown  0s      0s      0 B      0        0      0      0         -
`
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestTraceForPeople(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.Local)
	for want, l := range map[string]ctl.Traced{
		`03:04:05.678  in   request 5       save.put ["a"]  9 B`:               {At: at, Dir: "in", Kind: "request", ID: 5, Method: "save.put", Body: []byte(`["a"]`), Size: 9},
		`03:04:05.678  out  error 5         save.put {"code":"x"}  9 B, 1.5ms`: {At: at, Dir: "out", Kind: "response", ID: 5, Method: "save.put", Body: []byte(`{"code":"x"}`), Size: 9, TookMS: 1.5, Failed: true},
		`03:04:05.678  out  notification    a?b []  9 B`:                       {At: at, Dir: "out", Kind: "notification", Method: "a\x1bb", Body: []byte(`[]`), Size: 9},
		`03:04:05.678  out  response 0      ? null  9 B`:                       {At: at, Dir: "out", Kind: "response", Body: []byte(`null`), Size: 9},
	} {
		if got := traceLine(&l); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
