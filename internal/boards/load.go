package boards

import (
	"context"
	"fmt"

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

// progressEvery is after how many rows Load tells how far it has come.
const progressEvery = 10_000

// Load reads all boards from SQL and returns when their indexes hold every row. It calls progress, unless nil, now and then with the
// rows that were read and about how many there are. It may be called again, after an error or to make an index anew; the boards can be
// used meanwhile. Any goroutine; it blocks.
func (b *Boards) Load(ctx context.Context, progress func(rows, of int64)) error {
	var of int64
	for _, board := range b.boards {
		row, err := b.db.FetchOneContext(ctx, queryCount, board.Name)
		if err != nil {
			return fmt.Errorf("boards: counting the rows of %s: %w", board.Name, err)
		}
		var n int64
		if err := row.Scan(&n); err != nil {
			return fmt.Errorf("boards: counting the rows of %s: %w", board.Name, err)
		}
		of += n
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	rows := int64(0)
	progress(rows, of)
	for _, board := range b.boards {
		read := b.readBoard(board)
		counted := func(ctx context.Context, row func(Entry) error) error {
			return read(ctx, func(e Entry) error {
				if rows++; rows%progressEvery == 0 {
					progress(rows, max(rows, of))
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
