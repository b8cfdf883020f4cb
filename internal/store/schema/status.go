package schema

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"gameserverd/internal/store"
)

// tableCount finds a table of the database by name, in the catalogue (no index
// of ours): one row, 1 or 0.
var tableCount = map[store.Driver]string{
	store.SQLite: `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`,
	store.MySQL:  `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,
}

// versionList is goose's list of what was done, in its order (primary key): a
// row for each migration with its version, whether it was applied (or taken
// back) and when, in ms since 1970.
var versionList = map[store.Driver]string{
	store.SQLite: `SELECT version_id, is_applied, COALESCE(CAST(strftime('%s', tstamp) AS INTEGER) * 1000, 0) FROM goose_db_version ORDER BY id`,
	store.MySQL:  `SELECT version_id, is_applied, COALESCE(CAST(UNIX_TIMESTAMP(tstamp) AS SIGNED) * 1000, 0) FROM goose_db_version ORDER BY id`,
}

func hasTable(ctx context.Context, driver store.Driver, pool *sql.DB, name string) (bool, error) {
	var n int64
	err := pool.QueryRowContext(ctx, tableCount[driver], name).Scan(&n)
	return n > 0, err
}

// readStatus never returns an empty list without an error.
func readStatus(ctx context.Context, driver store.Driver, pool *sql.DB) ([]Migration, error) {
	out := slices.Clone(known())
	migrated, err := hasTable(ctx, driver, pool, versionTable)
	if err != nil {
		return nil, fmt.Errorf("reading the schema's version: %w", err)
	}
	if !migrated {
		return out, nil
	}
	rows, err := pool.QueryContext(ctx, versionList[driver])
	if err != nil {
		return nil, fmt.Errorf("reading the schema's version: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var m Migration
		if err := rows.Scan(&m.Version, &m.Applied, &m.AppliedMS); err != nil {
			return nil, fmt.Errorf("reading the schema's version: %w", err)
		}
		if m.Version == 0 {
			continue // goose's mark that the list is there
		}
		i := slices.IndexFunc(out, func(k Migration) bool { return k.Version == m.Version })
		if i < 0 {
			i, out = len(out), append(out, m)
		}
		out[i].Applied, out[i].AppliedMS = m.Applied, m.AppliedMS
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the schema's version: %w", err)
	}
	// What was taken back by a newer binary is not there any more.
	out = slices.DeleteFunc(out, func(m Migration) bool { return m.Name == "" && !m.Applied })
	slices.SortFunc(out, func(a, b Migration) int { return int(a.Version - b.Version) })
	return out, nil
}
