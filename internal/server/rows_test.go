package server

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/storetest"
	"gameserverd/internal/tasks"
	"gameserverd/wire"
)

// crowd is how many rows the tables have in the test of what statements read.
const crowd = 20_000

// fillTables makes tables of a database as a year leaves them: in every one many rows,
// of the newest day or long over.
func fillTables(t *testing.T, db *sql.DB, day string) {
	t.Helper()
	now := time.Now()
	ms, past, future := now.UnixMilli(), now.Add(-60*24*time.Hour).UnixMilli(), now.Add(time.Hour).UnixMilli()
	for _, rows := range []struct {
		into, values string
		args         []any
	}{
		{"players", "seq, CONCAT('player', seq), 1, 100, '{}', ?, IF(seq % 10 = 0, ?, ?), 1", []any{past, past, ms}},
		{"names", "CONCAT('player', seq), seq", nil},
		{"saves", "seq, 'slot', x'01', 1, ?", []any{ms}},
		{"ranks", "seq, 'main', seq % 1000, seq", nil},
		{"claims", "seq, 1, ?", []any{ms}},
		// A day's reward that was cut near its end, and mail that expired long ago.
		{"mail", "seq, 1, IF(seq < ? - 50, ?, 'other'), 'Daily reward', 50, '{}', ?, ?", []any{crowd, "daily reward " + day, ms, future}},
		{"mail", "seq, 2, 'old', 'Old', 50, '{}', ?, ?", []any{past, past}},
		// Tasks that wait for later, that were given up, and that are done with.
		{"tasks", "seq, 'reward.daily', 'low', x'90', CASE WHEN seq % 3 = 0 THEN 0 ELSE seq % 3 + 1 END, ?, IF(seq % 3 = 1, ?, ?), 0, 0, 0, 0, 1, 1000, 1000, 0, ?, 0, '', ''", []any{future, past, future, past}},
		{"tasks_keys", "CONCAT('key', seq), seq, ?", []any{past}},
		{"tasks_ticks", "'reward.daily', ? - seq * 1000, seq", []any{past}},
	} {
		if _, err := db.ExecContext(testContext(t), fmt.Sprintf("INSERT INTO %s SELECT %s FROM seq_1_to_%d", rows.into, rows.values, crowd), rows.args...); err != nil {
			t.Fatal(rows.into, err)
		}
	}
	if _, err := db.ExecContext(testContext(t), "ANALYZE TABLE players, names, saves, ranks, claims, mail, tasks, tasks_keys, tasks_ticks"); err != nil {
		t.Fatal(err)
	}
}

// wasteful are the statements on the database that have read many more rows than they
// answered with or changed, as the server's own log has them.
func wasteful(t *testing.T, db *sql.DB) (found []string) {
	t.Helper()
	rows, err := db.QueryContext(testContext(t), `SELECT rows_examined, rows_sent, rows_affected, CONVERT(sql_text USING utf8mb4) FROM mysql.slow_log
		WHERE db = DATABASE() AND rows_examined > 2500 + 3 * rows_sent + 3 * rows_affected`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var examined, sent, affected int64
		var text string
		if err := rows.Scan(&examined, &sent, &affected, &text); err != nil {
			t.Fatal(err)
		}
		found = append(found, fmt.Sprintf("%d rows read, %d sent, %d changed: %.300s", examined, sent, affected, text))
	}
	return found
}

// Whatever the daemon does while it serves reads a bounded number of rows in each
// statement, and changes a bounded number, however many there are: one that does not is
// fast in every test and stands still in a game that has been up for a year. MariaDB's
// own log tells.
func TestNoStatementReadsOrChangesManyMoreRowsThanItNeeds(t *testing.T) {
	server := storetest.MariaDBAlone(t, "--slow-query-log=1", "--long-query-time=0", "--log-output=TABLE", "--slow-query-log-file=unused")
	db, err := sql.Open("mysql", server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	redis := storetest.RedisAlone(t)
	cfg := onMariaDB(t, server.DSN)
	cfg.Store.Redis.URL = redis.URL
	s := start(t, cfg, nil) // makes the tables
	s.untilReady()
	s.drain()
	const day = "2026-11-23"
	fillTables(t, db, day)
	if _, err := db.ExecContext(testContext(t), "TRUNCATE mysql.slow_log"); err != nil {
		t.Fatal(err)
	}

	s = start(t, cfg, nil, storeLogs...)
	s.untilReady()
	play(t, s)
	redis.Kill()
	redis.Start()
	eventually(t, "the tasks that wait are handed over again", func() bool {
		return s.logs.FilterMessage("redis was empty: tasks were handed over anew").Len() > 0
	})
	args, err := wire.AppendAny(nil, []any{day, time.Now().Add(-7 * 24 * time.Hour).UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.tasks.RunNow(testContext(t), "reward.daily", args)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reward is given", func() bool {
		info, err := s.tasks.Show(testContext(t), id)
		return err == nil && info.State == "done"
	})
	if n, err := s.stores.players.Purge(testContext(t), time.Now().Add(-24*time.Hour).UnixMilli()); err != nil || n != crowd {
		t.Errorf("%d mails purged: %v", n, err)
	}
	for _, left := range []string{"tasks_keys", "tasks_ticks WHERE tick_ms < UNIX_TIMESTAMP(NOW() - INTERVAL 30 DAY) * 1000", "tasks WHERE state = 2 AND created_ms < UNIX_TIMESTAMP(NOW() - INTERVAL 30 DAY) * 1000"} {
		eventually(t, "deleted is all of "+left, func() bool {
			var n int
			return db.QueryRowContext(testContext(t), "SELECT COUNT(*) FROM "+left).Scan(&n) == nil && n == 0
		})
	}
	if _, err := s.tasks.List(testContext(t), tasks.Archived, 100); err != nil {
		t.Error(err)
	}
	s.drain()

	found := wasteful(t, db)
	counts := slices.DeleteFunc(slices.Clone(found), func(line string) bool { return !strings.Contains(line, ": SELECT COUNT(*) FROM ") })
	if len(counts) == 0 {
		t.Error("the counting of this test itself is not in the log")
	}
	for _, line := range found {
		if !slices.Contains(counts, line) {
			t.Error(line)
		}
	}
	var changed int64
	var text string
	err = db.QueryRowContext(testContext(t), "SELECT rows_affected, CONVERT(sql_text USING utf8mb4) FROM mysql.slow_log WHERE db = DATABASE() AND rows_affected > 2500 LIMIT 1").Scan(&changed, &text)
	if !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("%d rows changed by one statement: %.300s %v", changed, text, err)
	}
}

// play does what players do, one of them new.
func play(t *testing.T, s *testServer) {
	t.Helper()
	for _, uid := range []uint64{7, crowd / 2, 1 << 40} {
		c := s.login(uid)
		for _, call := range []struct {
			method string
			args   []any
		}{
			{"player.get", nil}, {"player.rename", []any{fmt.Sprint("renamed", uid)}}, {"save.put", []any{"slot", 1}}, {"save.list", nil},
			{"save.delete", []any{"slot"}}, {"rank.submit", []any{"main", 5000}}, {"rank.top", []any{"main", 100}}, {"rank.around", []any{"main", 100}},
			{"mail.list", nil}, {"shop.buy", []any{"potion", 1}},
		} {
			if err := c.Call(testContext(t), call.method, nil, call.args...); err != nil {
				t.Error(uid, call.method, err)
			}
		}
	}
}
