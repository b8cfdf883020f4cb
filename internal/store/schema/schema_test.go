package schema

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// deadline is how long a test waits for what must happen.
const deadline = 30 * time.Second

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, s storetest.Store) *store.SQL {
	t.Helper()
	db, err := store.OpenSQL(store.SQLOptions{Driver: store.Driver(s.Driver), DSN: s.DSN, Timeout: deadline})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := db.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return db
}

// migrated is open with all tables made.
func migrated(t *testing.T, s storetest.Store) *store.SQL {
	t.Helper()
	db := open(t, s)
	if _, err := Up(limited(t), db, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	return db
}

// execute runs a statement over the pool for migrations, which is no client of
// the store's queues.
func execute(t *testing.T, db *store.SQL, statement string, args ...any) {
	t.Helper()
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.ExecContext(limited(t), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// texts reads the first column of every row as text.
func texts(t *testing.T, db *store.SQL, query string, args ...any) (out []string) {
	t.Helper()
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := pool.QueryContext(limited(t), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

var tableNames = map[store.Driver]string{
	store.SQLite: `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`,
	store.MySQL:  `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name`,
}

// wantTables checks that all tables are there, and nothing else.
func wantTables(t *testing.T, db *store.SQL) {
	t.Helper()
	want := []string{versionTable, "writers"}
	for _, table := range tables {
		want = append(want, table.name)
	}
	slices.Sort(want)
	if names := texts(t, db, tableNames[db.Driver()]); !slices.Equal(names, want) {
		t.Errorf("tables %v, want %v", names, want)
	}
}

// migrations are those of this binary, as Status tells of them.
func migrations(applied bool) []Migration {
	all := slices.Clone(known())
	for i := range all {
		all[i].Applied = applied
	}
	return all
}

func migrationNames() (names []string) {
	for _, m := range known() {
		names = append(names, m.Name)
	}
	return names
}

func wantStatus(t *testing.T, db *store.SQL, want ...Migration) {
	t.Helper()
	got, err := Status(limited(t), db)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range got {
		if age := time.Since(time.UnixMilli(m.AppliedMS)); m.Applied && age.Abs() > 2*time.Minute {
			t.Errorf("%s was applied %v ago", m.Name, age)
		} else if !m.Applied && m.AppliedMS != 0 {
			t.Errorf("%s was not applied, but at %d", m.Name, m.AppliedMS)
		}
		got[i].AppliedMS = 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("status %+v, want %+v", got, want)
	}
}

func TestUpMakesTheTablesOnce(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := open(t, s)
		wantStatus(t, db, migrations(false)...)
		if names := texts(t, db, tableNames[db.Driver()]); len(names) > 0 {
			t.Errorf("asking for the status has made %v", names)
		}
		applied, err := Up(limited(t), db, zap.NewNop())
		if err != nil || !slices.Equal(applied, migrationNames()) {
			t.Fatalf("applied %v, error %v", applied, err)
		}
		wantStatus(t, db, migrations(true)...)
		wantTables(t, db)
		if applied, err := Up(limited(t), db, zap.NewNop()); err != nil || len(applied) > 0 {
			t.Errorf("again: applied %v, error %v", applied, err)
		}
		if Current() != int64(len(known())) {
			t.Errorf("current is %d", Current())
		}
	})
}

// What Copy knows of the tables is what the migrations make, in both drivers.
func TestTablesAreAsCopyKnowsThem(t *testing.T) {
	columns := map[store.Driver]string{
		store.SQLite: `SELECT name || ' ' || CASE type WHEN 'INTEGER' THEN 'number' WHEN 'TEXT' THEN 'text' WHEN 'BLOB' THEN 'bytes' ELSE type END || ' ' || pk || ' ' || "notnull" || IFNULL(dflt_value, '')
			FROM pragma_table_info(?) ORDER BY cid`,
		store.MySQL: `SELECT CONCAT(c.column_name, ' ', CASE c.data_type WHEN 'bigint' THEN 'number' WHEN 'varchar' THEN 'text' WHEN 'varbinary' THEN 'text' WHEN 'mediumblob' THEN 'bytes' ELSE c.data_type END,
			' ', IFNULL(k.ordinal_position, 0), ' ', IF(c.is_nullable = 'NO', '1', '0'), IFNULL(c.column_default, ''))
			FROM information_schema.columns c LEFT JOIN information_schema.key_column_usage k
			ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name AND k.constraint_name = 'PRIMARY'
			WHERE c.table_schema = DATABASE() AND c.table_name = ? ORDER BY c.ordinal_position`,
	}
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s)
		left := texts(t, db, tableNames[db.Driver()])
		for _, table := range tables {
			var want []string
			for _, c := range table.columns {
				kind := map[kind]string{bigint: "number", text: "text", blob: "bytes"}[c.kind]
				want = append(want, fmt.Sprintf("%s %s %d 1", c.name, kind, slices.Index(table.key, c.name)+1))
			}
			if got := texts(t, db, columns[db.Driver()], table.name); !slices.Equal(got, want) {
				t.Errorf("%s has\n%v, want\n%v", table.name, got, want)
			}
			left = slices.DeleteFunc(left, func(name string) bool { return name == table.name })
		}
		if !slices.Equal(left, []string{versionTable, "writers"}) {
			t.Errorf("Copy does not know %v", left)
		}
	})
}

func TestBothDriversHaveTheSameMigrations(t *testing.T) {
	sqlite, err := files.ReadDir("sqlite")
	if err != nil {
		t.Fatal(err)
	}
	mysql, err := files.ReadDir("mysql")
	if err != nil {
		t.Fatal(err)
	}
	if len(sqlite) != len(mysql) {
		t.Fatalf("%d and %d", len(sqlite), len(mysql))
	}
	for i := range sqlite {
		if sqlite[i].Name() != mysql[i].Name() || known()[i].Version != int64(i+1) {
			t.Errorf("%s, %s, version %d", sqlite[i].Name(), mysql[i].Name(), known()[i].Version)
		}
	}
}

// Keys are compared byte for byte, whatever a server's default is.
func TestKeysCompareExactly(t *testing.T) {
	keys := []string{"a", "A", "a ", " a", "ä", "a\u0308", "ss", "ß", "1", "01", "1.0", "i", "ı", strings.Repeat("\U0001F600", 64)}
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s)
		for i, key := range keys {
			execute(t, db, `INSERT INTO saves (uid, save_key, value, version, updated_ms) VALUES (7, ?, ?, ?, 0)`, key, []byte{1}, i)
			execute(t, db, `INSERT INTO names (name_key, uid) VALUES (?, ?)`, key[:min(len(key), 96)], i)
		}
		for i, key := range keys {
			if got := texts(t, db, `SELECT version FROM saves WHERE uid = 7 AND save_key = ?`, key); !slices.Equal(got, []string{fmt.Sprint(i)}) {
				t.Errorf("key %q finds %v, want %d", key, got, i)
			}
		}
		if got := texts(t, db, `SELECT save_key FROM saves WHERE uid = 7 ORDER BY version`); !slices.Equal(got, keys) {
			t.Errorf("keys come back as %q", got)
		}
	})
}

// Wide enough for the largest values that the game makes.
func TestWidthOfColumns(t *testing.T) {
	name := "player18446744073709551615"
	title := strings.Repeat("\U0001F600", 200)
	items := []byte(`{"` + strings.Repeat("x", 100_000) + `":1}`)
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s)
		execute(t, db, `INSERT INTO players (uid, name, level, gold, items, created_ms, seen_ms, version) VALUES (-1, ?, 1, ?, ?, 0, 0, 0)`, name, int64(1<<53-1), items)
		execute(t, db, `INSERT INTO mail (uid, id, source, title, gold, items, sent_ms, expires_ms) VALUES (1, 1, ?, ?, 0, ?, 0, 0)`, strings.Repeat("s", 64), title, items)
		execute(t, db, `INSERT INTO ranks (uid, board, score, came) VALUES (1, ?, ?, 0)`, strings.Repeat("b", 64), int64(-1<<53+1))
		if got := texts(t, db, `SELECT name FROM players UNION ALL SELECT title FROM mail`); !slices.Equal(got, []string{name, title}) {
			t.Errorf("got %q", got)
		}
		pool, err := db.DB()
		if err != nil {
			t.Fatal(err)
		}
		_, err = pool.ExecContext(limited(t), `INSERT INTO mail (uid, id, source, title, gold, items, sent_ms, expires_ms) VALUES (1, 2, ?, '', 0, ?, 0, 0)`, strings.Repeat("s", 64), []byte("{}"))
		if !store.IsDuplicate(err) {
			t.Errorf("the same source twice: %v", err)
		}
	})
}

// A value of the wrong type fails in the embedded database as well.
func TestSQLiteTakesNoOtherType(t *testing.T) {
	db := migrated(t, storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "a.db")})
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]any{{"x", "k", []byte{1}}, {1, []byte("k"), []byte{1}}, {1, "k", "v"}, {1, "k", nil}} {
		if _, err := pool.ExecContext(limited(t), `INSERT INTO saves (uid, save_key, value, version, updated_ms) VALUES (?, ?, ?, 1, 1)`, args...); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// Many starters at once, each with connections of its own: one works, all find
// the tables.
func TestManyStarters(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		const starters = 12
		var all sync.WaitGroup
		var mu sync.Mutex
		var applied []string
		for range starters {
			db := open(t, s)
			all.Go(func() {
				names, err := Up(limited(t), db, zap.NewNop())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				applied = append(applied, names...)
			})
		}
		all.Wait()
		if !slices.Equal(applied, migrationNames()) {
			t.Errorf("applied by all of them: %v", applied)
		}
		wantStatus(t, open(t, s), migrations(true)...)
	})
}

func TestUpWaitsForTheLock(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		first, second := open(t, s), open(t, s)
		pool, err := first.DB()
		if err != nil {
			t.Fatal(err)
		}
		unlock, err := lock(limited(t), first.Driver(), pool, func() { t.Error("nobody has the lock") })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(limited(t), max(3*lockPoll, 2*time.Second)) // time to connect, too
		defer cancel()
		if _, err := Up(ctx, second, zap.NewNop()); !errors.Is(err, errLocked) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with the lock taken: %v", err)
		}
		waiting := make(chan struct{})
		secondPool, err := second.DB()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-waiting
			unlock()
		}()
		again, err := lock(limited(t), second.Driver(), secondPool, func() { close(waiting) })
		if err != nil {
			t.Fatal(err)
		}
		again()
		if _, err := Up(limited(t), second, zap.NewNop()); err != nil {
			t.Error(err)
		}
	})
}

// The time runs out while the lock is asked for: whoever waits still learns what
// for.
func TestEndOfTheTimeWhileAskingForTheLockSaysWhatKeptIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	_, err := poll(ctx, func() (func(), error) {
		if asked++; asked == 1 {
			return nil, errLocked
		}
		cancel()
		return nil, ctx.Err()
	}, func() {})
	if !errors.Is(err, errLocked) || !errors.Is(err, context.Canceled) || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s)
		execute(t, db, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, ?)`, true)
		if _, err := Up(limited(t), db, zap.NewNop()); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), fmt.Sprintf("version 99, this one knows up to %d", len(known()))) {
			t.Errorf("error %v", err)
		}
		wantStatus(t, db, append(migrations(true), Migration{Version: 99, Applied: true})...)
	})
}

// DDL of MySQL is no transaction: a start that was killed in the middle is
// finished by the next one.
func TestUpFinishesWhatWasCut(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		if s.Driver == "sqlite" {
			return // a migration is one transaction there
		}
		db := migrated(t, s)
		execute(t, db, `DELETE FROM goose_db_version WHERE version_id > 0`)
		execute(t, db, `DROP TABLE ranks`)
		execute(t, db, `DROP TABLE writers`)
		if applied, err := Up(limited(t), db, zap.NewNop()); err != nil || !slices.Equal(applied, migrationNames()) {
			t.Fatalf("applied %v, error %v", applied, err)
		}
		wantTables(t, db)
	})
}

func TestFailingMigrationIsNamed(t *testing.T) {
	db := open(t, storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "a.db")})
	execute(t, db, `CREATE TABLE saves (somebody INTEGER)`)
	applied, err := Up(limited(t), db, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), "0001_players") || !strings.Contains(err.Error(), "saves already exists") || len(applied) > 0 {
		t.Errorf("applied %v, error %v", applied, err)
	}
	if names := texts(t, db, tableNames[db.Driver()]); !slices.Equal(names, []string{versionTable, "saves"}) {
		t.Errorf("it left %v", names)
	}
}

func TestUpWithoutAServer(t *testing.T) {
	db := open(t, storetest.Store{Driver: "mysql", DSN: "u:secret@tcp(127.0.0.1:1)/db"})
	if _, err := Up(limited(t), db, zap.NewNop()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	if _, err := Status(limited(t), db); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}
