package server

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// TestConnIsAKey: the log's conn is that of the table of sessions, of one connection
// only, on whichever loop it is.
func TestConnIsAKey(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Loop.Count = 3
	s := startLogging(t, zapcore.DebugLevel, cfg, Options{})
	const players = 12
	for uid := range uint64(players) {
		s.raw("127.0.0.1").login(uid + 1)
	}
	sessions, err := s.ctlSessions(testContext(t))
	if err != nil || len(sessions) != players {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	conns, loops := make(map[uint64]uint64), make(map[int]bool)
	for _, one := range sessions {
		if conns[one.Conn] != 0 || one.Conn == 0 || one.Conn >= 1<<53 { // what is larger is another number in JavaScript
			t.Errorf("connection %d is of the players %d and %d", one.Conn, one.UID, conns[one.Conn])
		}
		conns[one.Conn], loops[one.Loop] = one.UID, true
	}
	if len(loops) < 2 {
		t.Fatal("all are on one loop")
	}
	for uid := range uint64(players) {
		s.peers.Kick(uid+1, wire.Closing{Code: wire.Kicked, Message: "x"})
	}
	eventually(t, "all are closed", func() bool { return s.peers.Connections() == 0 })
	for _, e := range s.logs.FilterMessage("session closed").All() {
		said := e.ContextMap()
		if conn, uid := said["conn"].(uint64), said["uid"].(uint64); conns[conn] != uid {
			t.Errorf("the log's connection %d is player %d, the table's %d", conn, uid, conns[conn])
		}
	}
	for _, message := range []string{"session closed", "connection closed"} {
		seen := make(map[uint64]bool)
		for _, e := range s.logs.FilterMessage(message).All() {
			seen[e.ContextMap()["conn"].(uint64)] = true
		}
		for conn, uid := range conns {
			if !seen[conn] {
				t.Errorf("%s: no line of connection %d, player %d", message, conn, uid)
			}
		}
	}
}

// TestTraceJoinsTheLinesOfACall: the line of a call at debug has the trace of its other
// lines, which the client was told, or that it has sent.
func TestTraceJoinsTheLinesOfACall(t *testing.T) {
	s := startLogging(t, zapcore.DebugLevel, testConfig(t.TempDir()), Options{Areas: only(
		plain("t.fails", func(*rpc.Call) error { return errors.New("disk full") }),
		plain("t.logs", func(c *rpc.Call) error { c.Log().Info("a line of its own"); return nil }),
		plain("t.ok", func(*rpc.Call) error { return nil }),
	)}, "method failed")
	c := s.raw("127.0.0.1")
	for i, method := range []string{"t.fails", "t.logs", "t.ok"} {
		send(t, c, tracedRequest(uint32(i+1), method, ""))
		c.next()
	}
	send(t, c, tracedRequest(4, "t.ok", traceparent))
	c.next()
	trace := func(message, method string, i int) string {
		t.Helper()
		n := 0
		for _, e := range s.logs.FilterMessage(message).All() {
			said := e.ContextMap()
			if said["method"] != method {
				continue
			}
			if n == i {
				id, _ := said["trace"].(string)
				return id
			}
			n++
		}
		t.Fatalf("no line %q of %s", message, method)
		return ""
	}
	if id := trace("call", "t.fails", 0); len(id) != 32 || id != trace("method failed", "t.fails", 0) {
		t.Errorf("the call that has failed has the trace %q", id)
	}
	if id := trace("call", "t.logs", 0); len(id) != 32 || id != trace("a line of its own", "t.logs", 0) {
		t.Errorf("the call that logs has the trace %q", id)
	}
	if id := trace("call", "t.ok", 1); !strings.Contains(traceparent, "-"+id+"-") || len(id) != 32 {
		t.Errorf("the call with a traceparent has the trace %q", id)
	}
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// tracedRequest is a request without params, with a traceparent unless that is "".
func tracedRequest(id uint32, method, traceparent string) []byte {
	if traceparent == "" {
		return request(id, method)
	}
	b := wire.AppendArray(wire.AppendRequestMeta(wire.BeginFrame(nil), id, method), 0)
	b = wire.AppendString(wire.AppendString(wire.AppendMap(b, 1), "traceparent"), traceparent)
	wire.EndFrame(b, 0)
	return b
}

// TestAbandonedCallsNameTheirTrace: of those that run, wait in the mailbox and wait in
// the input.
func TestAbandonedCallsNameTheirTrace(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Shutdown.Deadline = 200 * time.Millisecond
	s := start(t, cfg, only(blocking("hang", func(c *rpc.Call) error { <-c.Context().Done(); return nil })), "call abandoned")
	const calls = 200 // more than the mailbox takes
	want := map[string]int{"": 1}
	var all []byte
	for i := range calls {
		trace := fmt.Sprintf("%032x", 0xabc000+i)
		want[trace] = 1
		all = append(all, tracedRequest(uint32(i), "hang", "00-"+trace+"-00f067aa0ba902b7-01")...)
	}
	send(t, s.rawDial(), append(all, tracedRequest(calls, "hang", "")...))
	eventually(t, "the mailbox is full", func() bool { return s.peers.Counters.MailboxFull.Load() > 0 })
	reported, logged := make(map[string]int), make(map[string]int)
	for _, a := range s.drain().Abandoned {
		reported[a.Trace]++
	}
	for _, e := range s.logs.FilterMessage("call abandoned").All() {
		id, has := e.ContextMap()["trace"].(string)
		if has && id == "" {
			t.Error("a line has an empty trace")
		}
		logged[id]++
	}
	if !maps.Equal(reported, want) || !maps.Equal(logged, want) {
		t.Errorf("%d calls are reported and %d logged with a trace, want %d", len(reported)-1, len(logged)-1, calls)
	}
}
