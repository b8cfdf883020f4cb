package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

func TestMySQLSettings(t *testing.T) {
	server := storetest.MariaDB(t)
	// What a DSN must not change is said otherwise in it.
	dsn := server.DSN + "?sql_mode=''&parseTime=true&clientFoundRows=false&multiStatements=true&charset=latin1&innodb_lock_wait_timeout=500"
	r := openRig(t, "mysql", dsn, func(o *SQLOptions) { o.Timeout = 25500 * time.Millisecond })
	r.counter(t, 1)
	c := r.conn(t)
	for expression, want := range map[string]any{
		"@@tx_isolation":             "READ-COMMITTED",
		"@@sql_mode":                 "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
		"@@character_set_connection": "utf8mb4",
		"@@character_set_client":     "utf8mb4",
		"@@character_set_results":    "utf8mb4",
		"@@collation_connection":     "utf8mb4_bin",
		"@@innodb_lock_wait_timeout": int64(26),
	} {
		if got := r.one(t, "SELECT "+expression); got != want {
			t.Errorf("%s of a call: %v, want %v", expression, got, want)
		}
		if row, err := c.FetchOne(within(t, deadline), "SELECT "+expression); err != nil || row.values[0] != want {
			t.Errorf("%s of a Conn: %v, %v, want %v", expression, row.values, err, want)
		}
	}
	if got := r.one(t, "SELECT @@max_statement_time"); got != 25.5 {
		t.Errorf("a statement of a call may take %v s", got)
	}
	if row, err := c.FetchOne(within(t, deadline), "SELECT @@max_statement_time"); err != nil || row.values[0] != 0.0 {
		t.Errorf("a statement of a Conn may take %v s, %v", row.values, err)
	}
	if got := r.one(t, "SELECT CAST('2026-11-22 01:02:03' AS DATETIME)"); got != "2026-11-22 01:02:03" {
		t.Errorf("a time: %#v", got)
	}
	if _, err := wait(t, r.Exec("UPDATE counter SET n = 1; UPDATE counter SET n = 2")); err == nil {
		t.Error("two statements at once")
	}
	if got := r.must(t, "UPDATE counter SET n = 0"); got.RowsAffected != 1 {
		t.Errorf("%d rows found", got.RowsAffected)
	}
}

// TestMySQLEndsWhatNobodyWaitsFor: the server gives up a call's statement by itself.
func TestMySQLEndsWhatNobodyWaitsFor(t *testing.T) {
	server := storetest.MariaDB(t)
	r := openRig(t, "mysql", server.DSN, func(o *SQLOptions) { o.Timeout = 500 * time.Millisecond })
	_, err := wait(t, r.FetchOne("SELECT SLEEP(100)"))
	if wantCode(t, "a query that is too slow", err, wire.Unavailable); !IsLost(err) {
		t.Errorf("a query that is too slow: %v", err)
	}
	const others = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'" // one row; the server's threads
	until(t, "the server has ended it", func() bool { return r.one(t, others) == int64(0) })
}

func TestMySQLRefusesTheLogin(t *testing.T) {
	server := storetest.MariaDB(t)
	dsn := strings.Replace(server.DSN, "root", "nobody:s3cr3t", 1)
	if !strings.Contains(dsn, "s3cr3t") {
		t.Fatal(dsn)
	}
	r := openRig(t, "mysql", dsn, nil)
	_, err := wait(t, r.FetchOne("SELECT 1"))
	wantCode(t, "a wrong password", err, wire.Unavailable)
	if err := r.Ping(within(t, deadline)); wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("Ping: %v", err)
	}
	if up, why, _ := r.health.State(); up || !strings.Contains(why, "Access denied") || strings.Contains(why, "s3cr3t") {
		t.Errorf("%v: %s", up, why)
	}
}

// TestMySQLConnectionsThatWereKilled: a connection that the server has closed while it was idle costs nobody an answer.
func TestMySQLConnectionsThatWereKilled(t *testing.T) {
	server := storetest.MariaDB(t)
	r := openRig(t, "mysql", server.DSN, func(o *SQLOptions) { o.MaxOpen = 1 })
	r.counter(t, 1)
	killer := r.conn(t)
	for range 5 {
		id := r.one(t, "SELECT connection_id()")
		if _, err := killer.Exec(within(t, deadline), fmt.Sprintf("KILL CONNECTION %d", id)); err != nil {
			t.Fatal(err)
		}
		r.must(t, increment, 1)
	}
	// One that is killed with a transaction in it is lost, and the caller told.
	ids := make(chan any, 1)
	killed := make(chan struct{})
	f := r.Transact(func(_ context.Context, tx *Tx) error {
		row, err := tx.FetchOne("SELECT connection_id()")
		if err != nil {
			return err
		}
		if _, err := tx.Exec(increment, 1); err != nil {
			return err
		}
		ids <- row.values[0]
		<-killed
		_, err = tx.Exec(increment, 1)
		return err
	})
	if _, err := killer.Exec(within(t, deadline), fmt.Sprintf("KILL CONNECTION %d", receive(t, ids, "an id"))); err != nil {
		t.Fatal(err)
	}
	close(killed)
	_, err := wait(t, f)
	if wantCode(t, "a killed transaction", err, wire.Unavailable); !IsLost(err) {
		t.Errorf("a killed transaction: %v", err)
	}
	until(t, "the server has rolled back", func() bool { return r.one(t, readN, 1) == int64(5) })
}

// TestMySQLUnknownCommit loses the answer to a COMMIT, which the server has carried out, and a COMMIT itself, which it has not.
func TestMySQLUnknownCommit(t *testing.T) {
	server := storetest.MariaDB(t)
	direct := openRig(t, "mysql", server.DSN, nil)
	direct.counter(t, 1)
	link := storetest.Proxy(t, server.Addr)
	r := openRig(t, "mysql", server.At(link.Addr), nil)
	for _, c := range []struct {
		lose func(string) *storetest.Fault
		want int64
	}{{link.LoseReply, 1}, {link.LoseRequest, 1}} {
		c.lose("\x03COMMIT") // the statement, and not READ COMMITTED of a new connection
		runs := 0
		_, err := wait(t, r.Transact(func(_ context.Context, tx *Tx) error {
			runs++
			_, err := tx.Exec(increment, 1)
			return err
		}))
		if wantCode(t, "Transact", err, wire.Unavailable); !IsLost(err) || IsRetryable(err) || runs != 1 {
			t.Errorf("%d runs: %v", runs, err)
		}
		until(t, "the outcome", func() bool { return direct.one(t, readN, 1) == c.want })
	}
	conn := r.conn(t)
	ctx := within(t, deadline)
	if err := conn.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, increment, 1); err != nil {
		t.Fatal(err)
	}
	link.Stall()
	err := conn.Commit(within(t, 50*time.Millisecond))
	if wantCode(t, "Commit", err, wire.Unavailable); !IsLost(err) {
		t.Errorf("Commit: %v", err)
	}
	conn.Discard()
	link.Resume()
	r.must(t, increment, 1)
}
