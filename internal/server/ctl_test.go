package server

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/client"
	"gameserverd/internal/ctl"
	"gameserverd/internal/rpc"
)

// ctl talks to the daemon by its socket.
func (s *testServer) ctl() *ctl.Client { return ctl.NewClient(ctl.SocketPath(s.cfg.DataDir)) }

func (s *testServer) ctlStatus() ctl.Status {
	s.t.Helper()
	var st ctl.Status
	if err := s.ctl().Call(testContext(s.t), "GET", "/status", nil, &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

func TestCtlStatusAndSessions(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	eventually(t, "serving", func() bool { return s.ctlStatus().State == "serving" })
	c := s.login(7)
	s.dial()
	if err := c.Call(testContext(t), "room.join", nil, "lobby"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second connection is accepted", func() bool { return s.ctlStatus().Connections == 2 })
	st := s.ctlStatus()
	if !st.Ready || st.PID != os.Getpid() || st.Connections != 2 || st.Online != 1 || st.Loops != 3 || st.MaxConnections < 1 ||
		st.LogLevel != "info" || st.ResidentBytes == 0 || st.HeapBytes == 0 || len(st.Stores) != 2 || !st.Stores[0].Up || st.Drain != nil {
		t.Errorf("status %+v", st)
	}
	var list ctl.Sessions
	if err := s.ctl().Call(testContext(t), "GET", "/sessions?rate=true", nil, &list); err != nil || list.Total != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	for _, one := range list.Sessions {
		if one.UID == 7 && (one.Rooms != 1 || one.Messages != 2 || one.Framing != "frames" || one.Rate == nil || *one.Rate != 0 ||
			!strings.HasPrefix(one.Peer, "127.0.0.1:") || one.Transport == "") {
			t.Errorf("the player is %+v", one)
		}
	}
}

func TestCtlKickTellsTheClient(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	c := s.login(7, client.WithoutReconnect())
	var done ctl.Kicked
	if err := s.ctl().Call(testContext(t), "POST", "/kick", ctl.Kick{UID: 7, Code: "banned", Message: "bye"}, &done); err != nil || !done.Kicked {
		t.Fatalf("%v %v", done, err)
	}
	<-c.Done()
	var closing *client.ClosingError
	if err := c.Err(); !errors.As(err, &closing) || closing.Code != "banned" || closing.Message != "bye" || closing.Reconnect {
		t.Errorf("the client was told %v", err)
	}
	if err := s.ctl().Call(testContext(t), "POST", "/kick", ctl.Kick{UID: 7}, &done); err != nil || done.Kicked {
		t.Errorf("%v %v", done, err)
	}
}

func TestCtlBroadcastReachesWhoIsLoggedIn(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	heard := make(chan string, 10)
	listen := func(c *client.Client, who string) {
		client.On(c, "sys.notice", func(_ context.Context, text string) { heard <- who + ": " + text })
	}
	listen(s.login(7), "seven")
	listen(s.login(8), "eight")
	listen(s.dial(), "nobody")
	var told ctl.Told
	err := s.ctl().Call(testContext(t), "POST", "/broadcast", ctl.Broadcast{Method: "sys.notice", Params: []json.RawMessage{[]byte(`"soon"`)}}, &told)
	if err != nil || told.Sessions != 2 {
		t.Fatalf("%v %v", told, err)
	}
	got := <-heard + <-heard
	if got != "seven: sooneight: soon" && got != "eight: sooonseven: soon" && got != "eight: soonseven: soon" {
		t.Error(got)
	}
}

func TestCtlTraceShowsWhatIsSaidAndNoToken(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	began := make(chan struct{})
	lines := make(chan ctl.Traced, 100)
	go func() {
		defer close(lines)
		err := s.ctl().Lines(testContext(t), "GET", "/trace?uid=7&for_ms=60000", nil, func() { close(began) }, func(line []byte) error {
			if strings.Contains(string(line), "dev:7") {
				t.Errorf("the token is shown: %s", line)
			}
			var l ctl.Traced
			err := json.Unmarshal(line, &l)
			lines <- l
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}()
	<-began
	c := s.login(7)
	// Twice, to be on the player's loop: it is traced where it has its home.
	if _, err := put(t, c, "slot", "a value"); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(testContext(t), "no.such", nil); err == nil {
		t.Fatal("no error")
	}
	want := []string{"in request save.put", "out response save.put", "in request no.such", "out response no.such failed"}
	for len(want) > 0 {
		select {
		case l := <-lines:
			text := l.Dir + " " + l.Kind + " " + l.Method
			if l.Failed {
				text += " failed"
			}
			if text != want[0] {
				t.Logf("%s %s", text, l.Body)
				continue
			}
			if text == "in request save.put" && string(l.Body) != `["slot","a value"]` {
				t.Errorf("body %s", l.Body)
			}
			want = want[1:]
		case <-time.After(10 * time.Second):
			t.Fatalf("never: %s", want[0])
		}
	}
	s.drain()
	last := ctl.Traced{}
	for l := range lines {
		last = l
	}
	if last.End != "the daemon ends" || last.Messages < 4 {
		t.Errorf("the last line is %+v", last)
	}
}

func TestCtlDrainIsSeenToItsEnd(t *testing.T) {
	release := make(chan struct{})
	s := start(t, testConfig(t.TempDir()), only(blocking("wait", func(*rpc.Call) error { <-release; return nil })))
	c := s.login(7)
	go c.Call(testContext(t), "wait", nil)
	eventually(t, "the call", func() bool { return s.ctlStatus().Underway == 1 })
	var states []ctl.Status
	err := s.ctl().Lines(testContext(t), "POST", "/drain?wait=true", nil, func() {}, func(line []byte) error {
		var st ctl.Status
		err := json.Unmarshal(line, &st)
		if states = append(states, st); len(states) == 1 {
			close(release)
		}
		return err
	})
	if err != nil || len(states) < 2 {
		t.Fatalf("%v %+v", err, states)
	}
	if first := states[0]; first.State != "draining" || first.Ready || first.Drain.Underway != 1 || !strings.HasPrefix(first.Drain.Why, "gameserverd ctl drain, by uid ") {
		t.Errorf("first %+v %+v", first, first.Drain)
	}
	if last := states[len(states)-1]; last.State != "drained" || !last.Drain.Ended || !last.Drain.Clean || last.Connections != 0 {
		t.Errorf("last %+v %+v", last, last.Drain)
	}
	if report := s.drain(); !report.Clean {
		t.Errorf("%+v", report)
	}
	if _, err := os.Lstat(ctl.SocketPath(s.cfg.DataDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// logKnob is a log whose level was set.
type logKnob struct{ level zap.AtomicLevel }

func (l logKnob) SetLevel(level string) {
	var v zapcore.Level
	if v.Set(level) == nil {
		l.level.SetLevel(v)
	}
}

func (l logKnob) Level() string { return l.level.String() }
func (logKnob) Reopen() error   { return nil }

func TestCtlLoglevel(t *testing.T) {
	knob := logKnob{zap.NewAtomicLevel()}
	core, logs := observer.New(knob.level)
	s, err := NewWith(testConfig(t.TempDir()), zap.New(core), Options{Log: knob, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := s.Run(); ended <- err }()
	c := ctl.NewClient(ctl.SocketPath(s.cfg.DataDir))
	for _, level := range []string{"debug", "error", "info"} {
		var l ctl.Level
		if err := c.Call(testContext(t), "POST", "/loglevel", ctl.Level{Level: level}, &l); err != nil || l.Level != level {
			t.Errorf("%v %v", l, err)
		}
	}
	if n := logs.FilterMessage("an operator's command").Len(); n != 3 {
		t.Errorf("%d lines", n)
	}
	for _, bad := range []string{"loud", "", "fatal"} {
		if err := c.Call(testContext(t), "POST", "/loglevel", ctl.Level{Level: bad}, &ctl.Level{}); err == nil || !strings.Contains(err.Error(), "debug, info, warn or error") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	var st ctl.Status
	if err := c.Call(testContext(t), "GET", "/status", nil, &st); err != nil || st.Version != "v1" || st.LogLevel != "info" {
		t.Errorf("%+v %v", st, err)
	}
	s.Shutdown("the test is over")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The lock is of no use where somebody answers all the same.
func TestASecondDaemonThatAnswersStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, ctl.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := New(testConfig(dir), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "does its file system know locks?") {
		t.Error(err)
	}
}

// A folder in which no socket can be made costs ctl and nothing else.
func TestWithoutASocketClientsAreServed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ctl.SocketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, testConfig(dir), nil, "gameserverd ctl cannot reach this daemon: its socket cannot be made")
	if err := s.login(7).Call(testContext(t), "sum", nil, 1, 2); err != nil {
		t.Error(err)
	}
}
