package server

import (
	"testing"

	"go.uber.org/zap/zapcore"

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
