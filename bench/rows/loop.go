package main

import (
	"bytes"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The table saves of internal/store/schema.
const (
	sqliteSaves = `CREATE TABLE IF NOT EXISTS saves (uid INTEGER NOT NULL, save_key TEXT NOT NULL, value BLOB NOT NULL,
		version INTEGER NOT NULL, updated_ms INTEGER NOT NULL, PRIMARY KEY (uid, save_key)) STRICT`
	mysqlSaves = `CREATE TABLE IF NOT EXISTS saves (uid BIGINT NOT NULL, save_key VARBINARY(256) NOT NULL, value MEDIUMBLOB NOT NULL,
		version BIGINT NOT NULL, updated_ms BIGINT NOT NULL, PRIMARY KEY (uid, save_key))
		ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`
)

// Upserts by the primary key; they return nothing.
const (
	insertSaves  = `INSERT INTO saves (uid, save_key, value, version, updated_ms) VALUES `
	oneSave      = `(?, ?, ?, ?, ?)`
	sqliteUpsert = ` ON CONFLICT (uid, save_key) DO UPDATE SET value = excluded.value, version = excluded.version, updated_ms = excluded.updated_ms`
	mysqlUpsert  = ` ON DUPLICATE KEY UPDATE value = VALUES(value), version = VALUES(version), updated_ms = VALUES(updated_ms)`
)

// bare is the loop: batch after batch of the players' saves, in turn.
type bare struct {
	*store
	batch, players int
	stride         int
	value          []byte
	stmt           *sql.Stmt
	args           []any
	uid            int
	version        int64
}

func (s *store) loopCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("loop", flag.ExitOnError)
	b := &bare{store: s}
	flags.IntVar(&b.batch, "batch", 500, "rows of one transaction")
	flags.IntVar(&b.players, "players", 1000, "players whose saves are written in turn; at least as many as a batch has rows")
	flags.IntVar(&b.stride, "stride", 1, "their uids are this far apart")
	of := flags.Int("of", 0, "players who have a save before it begins: 1 to this")
	size := flags.Int("bytes", 303, "of a save's value")
	duration := flags.Duration("for", 3*time.Second, "how long to measure, after a sixth of it as warm-up")
	flags.Parse(args)
	if b.batch < 1 || b.players < b.batch {
		return fmt.Errorf("loop: %d rows of %d players: no transaction may have a row twice", b.batch, b.players)
	}
	b.value = bytes.Repeat([]byte{'x'}, *size)
	if err := b.prepare(ctx, *of); err != nil {
		return err
	}
	if _, err := b.run(ctx, *duration/6); err != nil {
		return err
	}
	cpu, began := processCPU(), time.Now()
	took, err := b.run(ctx, *duration)
	if err != nil {
		return err
	}
	elapsed := time.Since(began)
	cpu = processCPU() - cpu
	slices.Sort(took)
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	fmt.Printf("{\n  \"rows_per_second\": %.1f,\n  \"commits\": %d,\n  \"p50\": %.1f,\n  \"p99\": %.1f,\n  \"max\": %.1f,\n  \"cpus\": %.3f\n}\n",
		float64(len(took)*b.batch)/elapsed.Seconds(), len(took), us(took[len(took)/2]), us(took[len(took)*99/100]), us(took[len(took)-1]),
		cpu.Seconds()/elapsed.Seconds())
	return nil
}

func (b *bare) prepare(ctx context.Context, of int) (err error) {
	table, upsert := sqliteSaves, sqliteUpsert
	if b.mysql {
		table, upsert = mysqlSaves, mysqlUpsert
	}
	if err := b.exec(ctx, table); err != nil {
		return err
	}
	if err := b.fill(ctx, of); err != nil {
		return err
	}
	b.stmt, err = b.conn.PrepareContext(ctx, insertSaves+oneSave+strings.Repeat(", "+oneSave, b.batch-1)+upsert)
	return err
}

// fill gives the players 1 to of a save, if the table is empty.
func (b *bare) fill(ctx context.Context, of int) error {
	var there int
	// One row; from the primary key.
	if err := b.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM saves").Scan(&there); err != nil || there > 0 {
		return err
	}
	return b.seed(ctx, savesOf(b.value, time.Now().UnixMilli()), int64(of))
}

// run writes for so long and returns how long each transaction took.
func (b *bare) run(ctx context.Context, d time.Duration) (took []time.Duration, err error) {
	end := time.Now().Add(d)
	for at := time.Now(); at.Before(end) || len(took) == 0; {
		if err := b.write(ctx); err != nil {
			return nil, err
		}
		now := time.Now()
		took = append(took, now.Sub(at))
		at = now
	}
	return took, nil
}

// write is one transaction: a single statement, which needs no BEGIN and COMMIT.
func (b *bare) write(ctx context.Context) error {
	b.version++
	now := time.Now().UnixMilli()
	b.args = b.args[:0]
	for range b.batch {
		b.row(now)
	}
	_, err := b.stmt.ExecContext(ctx, b.args...)
	return err
}

// row appends the next player's save to args.
func (b *bare) row(now int64) {
	b.uid = b.uid%b.players + 1
	b.args = append(b.args, int64(b.uid*b.stride), "slot", b.value, b.version, now)
}

// processCPU is the CPU time of all threads of this process.
func processCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0 // the report then says 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
