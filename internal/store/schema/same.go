package schema

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"

	"gameserverd/internal/store"
)

const (
	// takeProbe takes a lock of a random name: one row, 1.
	takeProbe = `SELECT GET_LOCK(?, 0)`
	// seeProbe asks whether anyone has that lock: one row, 0 if so.
	seeProbe = `SELECT IS_FREE_LOCK(?)`
	// giveProbe gives it back: one row.
	giveProbe = `SELECT RELEASE_LOCK(?)`
	// selected is the name of the database of a connection: one row.
	selected = `SELECT COALESCE(DATABASE(), '')`
)

// sameDatabase says whether two sides are one. Names of hosts and files do not
// tell: there are many for one place. So files are compared as the kernel knows
// them, and servers by whether one sees what was done on the other.
func sameDatabase(ctx context.Context, a, b *side) (bool, error) {
	switch {
	case a.driver != b.driver:
		return false, nil
	case a.driver == store.SQLite:
		return sameFile(ctx, a, b)
	}
	var nameA, nameB string
	if err := a.pool.QueryRowContext(ctx, selected).Scan(&nameA); err != nil {
		return false, a.fail(err)
	}
	if err := b.pool.QueryRowContext(ctx, selected).Scan(&nameB); err != nil {
		return false, b.fail(err)
	}
	if nameA != nameB {
		return false, nil
	}
	return sameServer(ctx, a, b)
}

func sameFile(ctx context.Context, a, b *side) (bool, error) {
	var infos []os.FileInfo
	for _, s := range []*side{a, b} {
		file, err := databaseFile(ctx, s.pool)
		if err != nil {
			return false, s.fail(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			return false, s.fail(err)
		}
		infos = append(infos, info)
	}
	return os.SameFile(infos[0], infos[1]), nil
}

func sameServer(ctx context.Context, a, b *side) (bool, error) {
	conn, err := a.pool.Conn(ctx) // the lock belongs to it
	if err != nil {
		return false, a.fail(err)
	}
	defer conn.Close()
	probe := "gameserverd:" + rand.Text()
	var taken, free, given sql.NullInt64
	if err := conn.QueryRowContext(ctx, takeProbe, probe).Scan(&taken); err != nil {
		discard(conn)
		return false, a.fail(err)
	}
	if err := b.pool.QueryRowContext(ctx, seeProbe, probe).Scan(&free); err != nil {
		discard(conn)
		return false, b.fail(err)
	}
	if err := conn.QueryRowContext(ctx, giveProbe, probe).Scan(&given); err != nil {
		discard(conn)
	}
	return free.Int64 == 0, nil
}
