package main

import (
	"database/sql"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/vmihailenco/msgpack/v5"
)

// How many rows one statement has, and one transaction.
const (
	fillRows   = 500
	fillCommit = 10_000
)

// fill inserts rows into a database that a daemon has made.
func fill(what, dsn string, args []string) error {
	flags := flag.NewFlagSet(what, flag.ExitOnError)
	n := flags.Int64("n", 1_000_000, "how many")
	flags.Parse(args)
	if dsn == "" {
		return fmt.Errorf("%s: only -mysql", what)
	}
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return err
	}
	config.InterpolateParams = true // one round trip a statement
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	table, columns, row := "players", "uid, name, level, gold, items, created_ms, seen_ms, version", player
	if what == "backlog" {
		table, row = "tasks", waitingTask()
		columns = "id, name, queue, args, state, run_ms, look_ms, claim, attempts, failures, revoked, retries, backoff_ms, timeout_ms, retain_ms, created_ms, ended_ms, result, problem"
	}
	return insert(db, table, columns, *n, row)
}

func player(i int64) []any {
	now := time.Now().UnixMilli()
	return []any{i, fmt.Sprintf("seeded-%09d", i), 7, 1234, `{"bomb":1,"potion":3}`, now, now, 1}
}

// waitingTask makes tasks as they are stored when they are applied: due at once, to be
// looked after 15 s later.
func waitingTask() func(i int64) []any {
	args, err := msgpack.Marshal([]any{"2026-01-01", int64(0)})
	if err != nil {
		panic(err) // two plain values
	}
	return func(i int64) []any {
		now := time.Now().UnixMilli()
		return []any{i, "reward.daily", "low", args, 0, now, now + 15_000, 0, 0, 0, 0, 10, 1000, 600_000, 0, now, 0, []byte{}, []byte{}}
	}
}

func insert(db *sql.DB, table, columns string, n int64, row func(i int64) []any) error {
	one := "(?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
	said := time.Now()
	var args []any
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	for i := int64(1); i <= n; i++ {
		args = append(args, row(i)...)
		if i%fillRows != 0 && i != n {
			continue
		}
		rows := int((i-1)%fillRows) + 1
		// Inserts by the primary key; they return nothing.
		if _, err := tx.Exec("INSERT INTO "+table+" ("+columns+") VALUES "+one+strings.Repeat(", "+one, rows-1), args...); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		args = args[:0]
		if i%fillCommit == 0 || i == n {
			if err := tx.Commit(); err != nil {
				return err
			}
			if i == n {
				return nil
			}
			if tx, err = db.Begin(); err != nil {
				return err
			}
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			fmt.Fprintf(os.Stderr, "tasks: %d of %d rows of %s\n", i, n, table)
		}
	}
	return nil
}
