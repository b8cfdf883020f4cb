package main

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// How many rows one statement has, and one transaction.
const (
	fillRows   = 500
	fillCommit = 10_000
)

// fill inserts players into a database that a daemon has made.
func fill(dsn string, args []string) error {
	flags := flag.NewFlagSet("players", flag.ExitOnError)
	n := flags.Int64("n", 1_000_000, "how many")
	flags.Parse(args)
	if dsn == "" {
		return errors.New("players: only -mysql")
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
	return insert(db, "players", "uid, name, level, gold, items, created_ms, seen_ms, version", *n, player)
}

func player(i int64) []any {
	now := time.Now().UnixMilli()
	return []any{i, fmt.Sprintf("seeded-%09d", i), 7, 1234, `{"bomb":1,"potion":3}`, now, now, 1}
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
