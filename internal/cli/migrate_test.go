package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/storetest"
)

// base is a configuration for the database, with a folder of its own.
func base(t *testing.T, s storetest.Store) Database {
	t.Helper()
	c := config.Default()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.Store.SQL.Driver, c.Store.SQL.DSN = s.Driver, s.DSN
	c.Store.Timeout = 20 * time.Second // the machine may be busy
	if s.Driver == "sqlite" {
		c.Store.SQL.DSN = ""
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return Database{File: "the.yaml", Config: c}
}

// migrator is a Migrate and what it prints.
type migrator struct {
	Migrate
	out, err bytes.Buffer
}

func newMigrator() *migrator {
	m := new(migrator)
	m.Migrate = Migrate{Program: "gs", Out: &m.out, Err: &m.err}
	return m
}

// printed is what was written to out since the last time.
func (m *migrator) printed() string {
	defer m.out.Reset()
	return m.out.String()
}

func migrateContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	t.Cleanup(cancel)
	return ctx
}

func migrateUp(t *testing.T, d Database) {
	t.Helper()
	if err := newMigrator().Up(migrateContext(t), d); err != nil {
		t.Fatal(err)
	}
}

// run executes statements on d's database.
func run(t *testing.T, d Database, statements ...string) {
	t.Helper()
	db, err := open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDatabase(db)
	for _, s := range statements {
		if _, err := db.ExecContext(migrateContext(t), s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMigrateUpAndStatus(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		d, m := base(t, s), newMigrator()
		place := regexp.QuoteMeta(d.Config.SQLPlace())
		want := func(what, pattern string, err error) {
			t.Helper()
			if out := m.printed(); err != nil || !regexp.MustCompile(pattern).MatchString(out) {
				t.Errorf("%s: %v, printed\n%s, want %s", what, err, out, pattern)
			}
		}
		ctx := migrateContext(t)
		err := m.Up(ctx, d)
		want("up", `^applied 0001_players\napplied 0002_tasks\n`+place+` is at version 2\n$`, err)
		if log := m.err.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "migration applied") {
			t.Errorf("logged %q", log)
		}
		err = m.Up(ctx, d)
		want("again", `^`+place+` is at version 2, nothing was to be done\n$`, err)
		err = m.Status(ctx, d)
		want("status", `^VERSION  MIGRATION     APPLIED\n1        0001_players  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n2        0002_tasks    \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n$`, err)
		run(t, d, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`, `UPDATE goose_db_version SET is_applied = 0 WHERE version_id = 1`)
		err = m.Status(ctx, d)
		want("status of a newer one", `\n1        0001_players            no\n2        0002_tasks              \d{4}-\S+\n99       of a newer gameserverd  \d{4}`, err)

		m.JSON = true
		var status struct {
			Database   string
			Current    int64
			Migrations []schema.Migration
		}
		err = errors.Join(m.Status(ctx, d), json.Unmarshal(m.out.Bytes(), &status))
		if err != nil || status.Database != d.Config.SQLPlace() || status.Current != 2 || len(status.Migrations) != 3 || !status.Migrations[1].Applied {
			t.Errorf("status as JSON: %v, %s", err, m.printed())
		}
		m.printed()
		run(t, d, `DELETE FROM goose_db_version WHERE version_id = 99`, `UPDATE goose_db_version SET is_applied = 1`)
		err = m.Up(ctx, d)
		want("up as JSON", `(?s)^\{.*"database": ".*"version": 2,.*"applied": \[\]\n\}\n$`, err)
		if strings.Contains(m.err.String(), "secret") {
			t.Errorf("logged %s", m.err.String())
		}
	})
}

func TestMigrateCopy(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		from, to := base(t, storetest.Store{Driver: "sqlite"}), base(t, s)
		migrateUp(t, from)
		migrateUp(t, to)
		run(t, from, `INSERT INTO players (uid, name, level, gold, items, created_ms, seen_ms, version) VALUES (7, 'Ada', 1, 100, x'7b7d', 1, 1, 1), (8, 'Bob', 1, 5, x'7b7d', 1, 1, 1)`,
			`INSERT INTO names (name_key, uid) VALUES ('ada', 7)`, `INSERT INTO ranks (uid, board, score, came) VALUES (7, 'main', 5, 1)`)
		m := newMigrator()
		if err := m.Copy(migrateContext(t), from, to); err != nil {
			t.Fatal(err)
		}
		want := "TABLE        ROWS\nplayers      2\nnames        1\nsaves        0\nmail         0\nclaims       0\nranks        1\ntasks        0\ntasks_keys   0\ntasks_ticks  0\n" +
			"copied and compared: 4 rows from " + from.Config.SQLPlace() + " to " + to.Config.SQLPlace() + "\n"
		if out := m.printed(); out != want {
			t.Errorf("printed\n%s, want\n%s", out, want)
		}
		if log := m.err.String(); !strings.Contains(log, "\nplayers: 2 of 2 rows\nplayers, compared: 2 of 2 rows\n") || strings.ContainsAny(log, "\r\x1b") {
			t.Errorf("progress %q", log)
		}
		db, err := open(to)
		if err != nil {
			t.Fatal(err)
		}
		defer closeDatabase(db)
		row, err := db.FetchOneContext(migrateContext(t), `SELECT name, gold FROM players WHERE uid = 7`)
		var name string
		var gold int64
		if err != nil || row.Scan(&name, &gold) != nil || name != "Ada" || gold != 100 {
			t.Errorf("copied %s with %d, error %v", name, gold, err)
		}
	})
}

func TestMigrateCopyForPrograms(t *testing.T) {
	from, to := base(t, storetest.Store{Driver: "sqlite"}), base(t, storetest.Store{Driver: "sqlite"})
	migrateUp(t, from)
	migrateUp(t, to)
	run(t, from, `INSERT INTO names (name_key, uid) VALUES ('ada', 7)`)
	m := newMigrator()
	m.JSON, m.Terminal = true, true
	if err := m.Copy(migrateContext(t), from, to); err != nil {
		t.Fatal(err)
	}
	var got struct {
		From, To string
		Rows     int64
		Tables   []struct {
			Table string
			Rows  int64
		}
	}
	if err := json.Unmarshal(m.out.Bytes(), &got); err != nil || got.From != from.Config.SQLPlace() || got.To != to.Config.SQLPlace() || got.Rows != 1 || len(got.Tables) != 9 || got.Tables[1].Rows != 1 {
		t.Errorf("%v: %s", err, m.out.String())
	}
	if log := m.err.String(); !strings.Contains(log, "\r\x1b[Knames: 1 of 1 rows\r") || !strings.HasSuffix(log, "\r\x1b[K") {
		t.Errorf("progress %q", log)
	}
}

// What can go wrong, and what is said about it.
func TestMigrateHints(t *testing.T) {
	sqlite := storetest.Store{Driver: "sqlite"}
	fresh := func() Database { return base(t, sqlite) }
	made := func(file string, statements ...string) Database {
		d := fresh()
		d.File = file
		migrateUp(t, d)
		run(t, d, statements...)
		return d
	}
	missing := fresh()
	if err := os.MkdirAll(missing.Config.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	absent := fresh()
	absent.File = ""
	without := base(t, storetest.Store{Driver: "mysql", DSN: "u:secret@tcp(127.0.0.1:1)/db"})
	without.File = "new.yaml"
	old := made("old.yaml", `INSERT INTO names (name_key, uid) VALUES ('ada', 7)`)
	same := Database{File: "new.yaml", Config: old.Config}
	newer := made("new.yaml", `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	unmigrated := made("new.yaml", `DELETE FROM goose_db_version WHERE version_id = 1`)
	part := made("new.yaml", `INSERT INTO writers (writer, seq, at_ms) VALUES (1, 1, 1)`)
	running := made("new.yaml")
	unlock, err := store.LockDir(running.Config.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	broken := made("new.yaml")
	{
		db, err := open(broken)
		if err != nil {
			t.Fatal(err)
		}
		defer closeDatabase(db)
		pool, err := db.DB()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pool.ExecContext(migrateContext(t), `CREATE TABLE unfinished_copy (began_ms BIGINT)`); err != nil {
			t.Fatal(err)
		}
	}
	m := newMigrator()
	ctx := migrateContext(t)
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"no file", m.Status(ctx, absent), `^there is no database at \S+\nhint: gs migrate up makes one`},
		{"no file to copy", m.Copy(ctx, missing, made("new.yaml")), `^there is no database at \S+\nhint: gs migrate up --config the.yaml makes one`},
		{"no server", m.Status(ctx, without), `refused\nhint: is the server running\? store.sql.dsn is u:\*\*\*@tcp\(127.0.0.1:1\)/db$`},
		{"no server to copy to", m.Copy(ctx, old, without), `^target: .*refused\nhint: is the server running\? store.sql.dsn is u:\*\*\*@tcp`},
		{"newer", m.Up(ctx, newer), `made by a newer gameserverd: it has version 99, this one knows up to 2\nhint: use the gameserverd that`},
		{"unfinished", m.Up(ctx, broken), `holds only a part\nhint: run the copy again, it begins anew: gs migrate copy --from OLD.yaml --to new.yaml$`},
		{"unfinished source", m.Copy(ctx, broken, old), `^source: .*part\nhint: an earlier copy into it broke, or --from and --to`},
		{"daemon runs", m.Up(ctx, running), `is in use by process \d+\nhint: a gameserverd runs with that data_dir; stop it first$`},
		{"daemon runs on the source", m.Copy(ctx, running, old), `is in use by process \d+\nhint: a gameserverd runs`},
		{"daemon runs on the target", m.Copy(ctx, old, running), `is in use by process \d+\nhint: a gameserverd runs`},
		{"same", m.Copy(ctx, old, same), `same database\nhint: old.yaml and new.yaml both lead to \S+gameserverd.db; store.sql has to differ`},
		{"not empty", m.Copy(ctx, made("new.yaml"), old), `table names has 1 rows\nhint: a copy would mix two games. Let old.yaml lead to a new database, and run gs migrate up --config old.yaml first$`},
		{"used", m.Copy(ctx, old, part), `^target: the target is not empty: a gameserverd has used it\nhint: a copy would`},
		{"no tables in the target", m.Copy(ctx, old, unmigrated), `^target: .*not applied\nhint: gs migrate up --config new.yaml applies what it lacks$`},
		{"no tables in the source", m.Copy(ctx, unmigrated, old), `^source: .*not applied\nhint: gs migrate up --config new.yaml applies`},
	} {
		var exit *ExitError
		if !errors.As(c.err, &exit) || exit.Code != ExitFailed || !regexp.MustCompile(c.want).MatchString(exit.Error()) || strings.Contains(exit.Error(), "secret") {
			t.Errorf("%s: %v\nwant %s", c.name, c.err, c.want)
		}
	}
	if out := m.printed(); out != "" {
		t.Errorf("standard output has %q", out)
	}
	again := fresh()
	migrateUp(t, again)
	if err := m.Copy(ctx, old, again); err != nil { // every lock was given back
		t.Error(err)
	}
}

// What only a server says.
func TestMigrateHintsOfAServer(t *testing.T) {
	s := storetest.MariaDB(t)
	d := base(t, storetest.Store{Driver: "mysql", DSN: s.DSN})
	m := newMigrator()
	dsn := d.Config.Store.SQL.DSN
	slash := strings.LastIndexByte(strings.SplitN(dsn, "?", 2)[0], '/')
	for _, c := range []struct{ dsn, want string }{
		{dsn[:slash] + "/nowhere", `Error 1049 .*\nhint: make the database first: CREATE DATABASE name`},
		{"nobody:secret@tcp(" + s.Addr + ")/x", `Error (1045|1698) .*\nhint: the user in store.sql.dsn \(nobody:\*\*\*@tcp\(.*\)/x\) needs all rights`},
	} {
		d.Config.Store.SQL.DSN = c.dsn
		err := m.Up(migrateContext(t), d)
		if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v\nwant %s", c.dsn, err, c.want)
		}
	}
}

// An interrupt ends what waits, and says what is left.
func TestMigrateIsInterrupted(t *testing.T) {
	from, to := base(t, storetest.Store{Driver: "sqlite"}), base(t, storetest.Store{Driver: "sqlite"})
	migrateUp(t, from)
	migrateUp(t, to)
	ctx, cancel := context.WithCancel(migrateContext(t))
	cancel()
	m := newMigrator()
	for what, err := range map[string]error{"up": m.Up(ctx, from), "copy": m.Copy(ctx, from, to)} {
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != ExitInterrupted || !strings.HasPrefix(exit.Error(), "interrupted\nhint: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := m.Copy(migrateContext(t), from, to); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Two sides of one folder are locked once.
func TestMigrateCopyWithinOneFolder(t *testing.T) {
	from, to := base(t, storetest.Store{Driver: "sqlite"}), base(t, storetest.Store{Driver: "sqlite"})
	to.Config.DataDir = from.Config.DataDir
	to.Config.Store.SQL.DSN = filepath.Join(from.Config.DataDir, "second.db")
	migrateUp(t, from)
	migrateUp(t, to)
	if err := newMigrator().Copy(migrateContext(t), from, to); err != nil {
		t.Fatal(err)
	}
	db, err := open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDatabase(db)
	if _, err := schema.Up(migrateContext(t), db, zap.NewNop()); err != nil {
		t.Error(err)
	}
}
