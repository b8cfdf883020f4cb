package attack

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// calm is what a scenario looks like on a daemon that does well.
func calm() observed {
	return observed{
		ended:  []Ended{{"bad", "sys.closing protocol_error", time.Millisecond}, {"slow", stayedOpen, time.Second}},
		good:   Good{Calls: 400, P99: 2 * time.Millisecond},
		idle:   Good{Calls: 200, P99: time.Millisecond},
		memory: &Memory{Before: 30 << 20, Peak: 31 << 20, After: 31 << 20},
	}
}

var calmExpected = map[string]expect{
	"bad":  {ends: []string{"sys.closing protocol_error", "tls alert*"}, must: quick},
	"slow": {},
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(o *observed, b *Bounds)
		broken string // the rule; "": none
		why    string
	}{
		{"a daemon that does well", func(*observed, *Bounds) {}, "", ""},
		{"an ending by a pattern", func(o *observed, _ *Bounds) { o.ended[0].How = "tls alert 50" }, "", ""},
		{"closed without a word", func(o *observed, _ *Bounds) { o.ended[0].How = hungUp }, "", ""},
		{"shed", func(o *observed, _ *Bounds) { o.ended[0].How = "sys.closing too_many_connections" }, "", ""},
		{"another ending", func(o *observed, _ *Bounds) { o.ended[0].How = "sys.closing kicked" }, "endings", "bad: sys.closing kicked after 1ms"},
		{"a reset that has no reason", func(o *observed, _ *Bounds) { o.ended[0].How = wasReset }, "endings", "reset"},
		{"no connection", func(o *observed, _ *Bounds) { o.ended[1].How = noAnswer }, "endings", noAnswer},
		{"nothing attacked", func(o *observed, _ *Bounds) { o.ended = nil }, "endings", "no connections"},
		{"closed too late", func(o *observed, _ *Bounds) { o.ended[0].After = quick + time.Millisecond }, "in time", "within 2s"},
		{"open for too long", func(o *observed, _ *Bounds) { o.ended[0].How, o.ended[0].After = stayedOpen, 3*time.Second }, "in time", "bad: open after 3s"},
		{"open for a while", func(o *observed, _ *Bounds) { o.ended[0].How, o.ended[0].After = stayedOpen, time.Second }, "", ""},
		{"a bad token that is taken", func(o *observed, _ *Bounds) { o.answers = map[string]int{"ok": 1, "unauthenticated": 9} }, "logins", "1 logins"},
		{"bad tokens that are refused", func(o *observed, _ *Bounds) { o.answers = map[string]int{"unauthenticated": 9} }, "", ""},
		{"a call that failed", func(o *observed, _ *Bounds) { o.good.Errors, o.good.First = 1, "unavailable" }, "good client", "unavailable"},
		{"no calls", func(o *observed, _ *Bounds) { o.good = Good{} }, "good client", "no call"},
		{"slow, but within the floor", func(o *observed, _ *Bounds) { o.good.P99 = p99Floor }, "", ""},
		{"slow", func(o *observed, _ *Bounds) { o.good.P99 = p99Floor + 1 }, "latency", "idle 1ms, at most 50ms"},
		{"slow where idle is slow", func(o *observed, _ *Bounds) { o.idle.P99, o.good.P99 = 100*time.Millisecond, time.Second }, "", ""},
		{"slow for what was asked", func(o *observed, b *Bounds) { b.P99 = time.Millisecond }, "latency", "at most 1ms"},
		{"large", func(o *observed, _ *Bounds) { o.memory.Peak = o.memory.Before + memoryFloor + 2*memoryOfConn + 1 }, "memory", "grew by 128.1 MiB"},
		{"large for what was asked", func(o *observed, b *Bounds) { b.Memory = 1 << 19 }, "memory", "at most 0.5 MiB"},
		{"gone", func(o *observed, _ *Bounds) { o.memory.After = 0 }, "memory", "has ended"},
		{"a process that is not known", func(o *observed, _ *Bounds) { o.memory = nil }, "", ""},
		{"nobody new gets in", func(o *observed, _ *Bounds) { o.newcomer = errors.New("refused") }, "newcomer", "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, b := calm(), Bounds{}
			tt.change(&o, &b)
			var out Outcome
			out.fill(o, judge(calmExpected, o, b))
			var broken []string
			for _, r := range out.Rules {
				if !r.OK {
					broken = append(broken, r.Name)
					if !strings.Contains(r.Why, tt.why) {
						t.Errorf("%s: %q, want %q", r.Name, r.Why, tt.why)
					}
				}
			}
			if strings.Join(broken, " ") != tt.broken || out.OK != (tt.broken == "") {
				t.Errorf("broken: %v, want %q", broken, tt.broken)
			}
		})
	}
}

func TestWhatIsNotKnownIsNotJudged(t *testing.T) {
	o := calm()
	o.memory = nil
	o.ended[0] = Ended{"bad", stayedOpen, time.Millisecond}
	for _, r := range judge(calmExpected, o, Bounds{}) {
		if unknown := r.Name == "memory" || r.Name == "in time"; r.Judged == unknown || !r.OK {
			t.Errorf("%+v", r)
		}
	}
}

func TestSummary(t *testing.T) {
	var latencies []time.Duration
	for i := 100; i > 0; i-- {
		latencies = append(latencies, time.Duration(i))
	}
	if g := summary(latencies, 2, "why"); g != (Good{Calls: 102, Errors: 2, First: "why", P50: 51, P99: 99, Max: 100}) {
		t.Errorf("%+v", g)
	}
	if g := summary(nil, 0, ""); g != (Good{}) {
		t.Errorf("%+v", g)
	}
}

func TestReportText(t *testing.T) {
	r := Report{Addr: "127.0.0.1:1", Seconds: 4, Idle: Good{Calls: 200, P99: time.Millisecond}}
	good, bad := Outcome{Name: "malformed"}, Outcome{Name: "slow"}
	o := calm()
	good.fill(o, judge(calmExpected, o, Bounds{}))
	o.newcomer, o.answers = errors.New("refused"), map[string]int{"unauthenticated": 3}
	bad.fill(o, judge(calmExpected, o, Bounds{}))
	r.add(good)
	r.add(bad)
	r.add(Outcome{Name: "websocket", Skipped: "none here", OK: true})
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"malformed  pass     open (1s)", "sys.closing protocol_error (1ms)", "slow       FAIL", "answers: unauthenticated 3",
		"newcomer: behind it a new client could not call: refused", "websocket  skipped  none here", "FAILED: 3 scenarios on 127.0.0.1:1 in 4 s",
		"30.0 MiB, 31.0 MiB at most, 31.0 MiB", "400 calls, p99 2ms, 0 errors",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if r.OK {
		t.Error("the report is good")
	}
}
