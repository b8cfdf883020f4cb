package crashtest

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite"

	"gameserverd/internal/storetest"
)

// database is where an installation's daemons keep their state.
type database struct {
	driver string // as in store.sql.driver
	dsn    string // for database/sql: sqlite's is the file in data_dir
}

// env is what tells a daemon of it.
func (d database) env() []string {
	if d.driver == "sqlite" {
		return nil // the default
	}
	return []string{"GAMESERVERD_STORE_SQL_DRIVER=" + d.driver, "GAMESERVERD_STORE_SQL_DSN=" + d.dsn}
}

// boardsIn is what tells a daemon to sort the boards in that Redis.
func boardsIn(redis *storetest.Server) []string {
	return []string{"GAMESERVERD_GAME_BOARDS_INDEX=redis", "GAMESERVERD_STORE_REDIS_URL=" + redis.URL}
}

func (d database) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// sqliteIn is the database that a daemon makes in that working folder by itself.
func sqliteIn(dir string) database {
	return database{"sqlite", filepath.Join(dir, "data", "gameserverd.db")}
}

// post puts the players' letters into the database, of which no daemon runs if it is sqlite's.
func (d database) post(t *testing.T, all []*player) {
	t.Helper()
	if d.driver == "sqlite" {
		if _, err := os.Stat(d.dsn); err != nil {
			t.Fatal(err)
		}
	}
	db := d.open(t)
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	insert, err := tx.Prepare("INSERT INTO mail (uid, id, source, title, gold, items, sent_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, l := range p.letters {
			_, err := insert.Exec(int64(p.uid), l.id, fmt.Sprint("crashtest ", l.id), "A letter", l.gold, []byte(`{"`+l.item+`":1}`),
				now.UnixMilli(), now.Add(1000*time.Hour).UnixMilli())
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
