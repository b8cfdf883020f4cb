package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"strings"
	"time"
)

// seedTable is what each seeded player has in one table: a row, made from the uid.
type seedTable struct {
	name    string
	columns string
	row     func(uid int64) []any
}

// seedCommand fills a migrated database with the players 1 to -players. Each has two items, a save, a mail and a best score. It prints
// the bytes of one player's data: strings and blobs by their length, numbers as 8.
func (s *store) seedCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("seed", flag.ExitOnError)
	players := flags.Int64("players", 100_000, "how many")
	size := flags.Int("bytes", 303, "of a save's value")
	flags.Parse(args)
	value := bytes.Repeat([]byte{'x'}, *size)
	now := time.Now()
	ms, month := now.UnixMilli(), now.AddDate(0, 1, 0).UnixMilli()
	items := []byte(`{"bomb":1,"potion":3}`)
	total := 0
	for _, t := range []seedTable{
		{"players", "uid, name, level, gold, items, created_ms, seen_ms, version", func(uid int64) []any {
			return []any{uid, fmt.Sprintf("seeded-%09d", uid), int64(7), int64(1234), items, ms, ms, int64(1)}
		}},
		savesOf(value, ms),
		{"mail", "uid, id, source, title, gold, items, sent_ms, expires_ms", func(uid int64) []any {
			return []any{uid, int64(1), "seed", "A present for you", int64(10), items, ms, month}
		}},
		{"ranks", "uid, board, score, came", func(uid int64) []any {
			return []any{uid, "main", uid % 1000, now.UnixMicro() + uid}
		}},
	} {
		if err := s.seed(ctx, t, *players); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		for _, v := range t.row(1) {
			switch v := v.(type) {
			case string:
				total += len(v)
			case []byte:
				total += len(v)
			default:
				total += 8
			}
		}
	}
	fmt.Printf("{\n  \"players\": %d,\n  \"bytes_per_player\": %d\n}\n", *players, total)
	return nil
}

func savesOf(value []byte, ms int64) seedTable {
	return seedTable{"saves", "uid, save_key, value, version, updated_ms", func(uid int64) []any {
		return []any{uid, "slot", value, int64(1), ms}
	}}
}

// How many rows one statement has, and one transaction.
const (
	seedRows   = 500
	seedCommit = 10_000
)

func (s *store) seed(ctx context.Context, t seedTable, players int64) error {
	if err := s.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	one := "(?" + strings.Repeat(", ?", strings.Count(t.columns, ",")) + ")"
	var args []any
	for uid := int64(1); uid <= players; uid++ {
		args = append(args, t.row(uid)...)
		if uid%seedRows != 0 && uid != players {
			continue
		}
		n := int((uid-1)%seedRows) + 1
		// Inserts by the primary key into an empty table; they return nothing.
		query := "INSERT INTO " + t.name + " (" + t.columns + ") VALUES " + one + strings.Repeat(", "+one, n-1)
		if _, err := s.conn.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		args = args[:0]
		if uid%seedCommit == 0 {
			if err := s.exec(ctx, "COMMIT"); err != nil {
				return err
			}
			if err := s.exec(ctx, "BEGIN"); err != nil {
				return err
			}
		}
	}
	return s.exec(ctx, "COMMIT")
}
