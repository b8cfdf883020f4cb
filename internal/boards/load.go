package boards

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/store"
)

// queryCount: how many rows a board has, for the progress. Index: ranks_order, of which it reads the board's part. One row: the number.
const queryCount = `SELECT COUNT(*) FROM ranks WHERE board = ?`

// queryBoard: all entries of a board with the players' names, at one moment. The order is that of both tables' primary keys, so that
// the names are read from one end of players to the other and not here and there a million times; the plus keeps SQLite from taking
// ranks_order all the same and sorting afterwards (MySQL, which sorts before it looks for the names, takes no notice of it). A player
// that is missing leaves an empty name. Index: the primary keys of ranks and players. Rows: uid, score, came, name.
const queryBoard = `SELECT r.uid, r.score, r.came, COALESCE(p.name, '') AS name FROM ranks r LEFT JOIN players p ON p.uid = r.uid
WHERE +r.board = ? ORDER BY r.uid`

// progressEvery is how often Load tells how far it has come.
const progressEvery = 500 * time.Millisecond

// Load reads all boards from SQL and returns when their indexes hold every row. It calls progress, unless nil, at the beginning, twice a
// second and at the end, with the rows that were read and about how many there are. It fails when SQL cannot be read, or Redis not
// written, and may be called again, then or at any time to make the indexes anew; the boards can be used meanwhile. Any goroutine; it
// blocks.
func (b *Boards) Load(ctx context.Context, progress func(rows, of int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	of, err := b.count(ctx)
	if err != nil {
		return err
	}
	var rows int64
	progress(rows, of)
	told := time.Now()
	for _, board := range b.boards {
		read := b.readBoard(board)
		before := rows
		counted := func(ctx context.Context, row func(Entry) error) error {
			rows = before // it may have been begun before
			return read(ctx, func(e Entry) error {
				if rows++; rows%1000 == 0 && time.Since(told) >= progressEvery {
					progress(rows, max(rows, of))
					told = time.Now()
				}
				return row(e)
			})
		}
		if err := b.indexes[board.Name].fill(ctx, counted); err != nil {
			return fmt.Errorf("boards: loading %s: %w", board.Name, err)
		}
	}
	progress(rows, rows)
	return nil
}

// count is how many rows all boards have. Each bounds it by ctx alone: of many millions it takes some seconds.
func (b *Boards) count(ctx context.Context) (sum int64, err error) {
	for _, board := range b.boards {
		err := b.db.Each(ctx, queryCount, []any{board.Name}, func(r store.Row) error {
			var n int64
			err := r.Scan(&n)
			sum += n
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("boards: counting the rows of %s: %w", board.Name, err)
		}
	}
	return sum, nil
}

// readBoard reads a board from SQL. A row that no index can hold, which the game's rules let nobody write, is left out and logged.
func (b *Boards) readBoard(board Board) reader {
	return func(ctx context.Context, row func(Entry) error) error {
		odd := 0
		err := b.db.Each(ctx, queryBoard, []any{board.Name}, func(r store.Row) error {
			var uid int64
			var e Entry
			if err := r.Scan(&uid, &e.Score, &e.Came, &e.Name); err != nil {
				return err
			}
			e.UID = uint64(uid) // kept as the signed number with the same bits
			e.Name = clip(e.Name)
			if !e.valid() {
				odd++
				return nil
			}
			return row(e)
		})
		if odd > 0 {
			b.log.Warn("rows of the table ranks are out of range and left out", zap.String("board", board.Name), zap.Int("rows", odd))
		}
		return err
	}
}
