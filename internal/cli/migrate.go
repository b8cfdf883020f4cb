package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"go.uber.org/zap/zapcore"

	"gameserverd/internal/config"
	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
)

// Database is the database of a configuration, which File was read into. ""
// means that there is no file.
type Database struct {
	File   string
	Config *config.Config
}

// Migrate changes and shows the tables of databases, and copies from one to
// another. Its methods return an *ExitError, whose text says what to do where
// that is known.
type Migrate struct {
	Program  string // how the user called us: hints repeat it
	JSON     bool   // results are one JSON object
	Terminal bool   // somebody watches Err
	Out, Err io.Writer
}

// Up applies the migrations that d lacks. SQLite: not while a daemon has the
// data_dir. Any goroutine, as all methods.
func (m *Migrate) Up(ctx context.Context, d Database) error {
	if d.Config.Store.SQL.Driver == "sqlite" {
		unlock, err := store.LockDir(d.Config.DataDir)
		if err != nil {
			return m.failed(ctx, err, d)
		}
		defer unlock()
	}
	db, err := open(d)
	if err != nil {
		return m.failed(ctx, err, d)
	}
	defer closeDatabase(db)
	// The log tells whom it waits for, and of each migration when it is done.
	applied, err := schema.Up(ctx, db, Console(zapcore.InfoLevel, m.Err, m.Terminal))
	if err != nil {
		return m.failed(ctx, err, d)
	}
	if m.JSON {
		return m.print(struct {
			Database string   `json:"database"`
			Version  int64    `json:"version"`
			Applied  []string `json:"applied"`
		}{d.Config.SQLPlace(), schema.Current(), append([]string{}, applied...)})
	}
	for _, name := range applied {
		fmt.Fprintf(m.Out, "applied %s\n", name)
	}
	already := ""
	if len(applied) == 0 {
		already = ", nothing was to be done"
	}
	_, err = fmt.Fprintf(m.Out, "%s is at version %d%s\n", d.Config.SQLPlace(), schema.Current(), already)
	return Failed(err)
}

// Status prints which migrations d has. It changes nothing.
func (m *Migrate) Status(ctx context.Context, d Database) error {
	if err := m.exists(d); err != nil {
		return err
	}
	db, err := open(d)
	if err != nil {
		return m.failed(ctx, err, d)
	}
	defer closeDatabase(db)
	migrations, err := schema.Status(ctx, db)
	if err != nil {
		return m.failed(ctx, err, d)
	}
	if m.JSON {
		return m.print(struct {
			Database   string             `json:"database"`
			Current    int64              `json:"current"` // what this binary needs
			Migrations []schema.Migration `json:"migrations"`
		}{d.Config.SQLPlace(), schema.Current(), migrations})
	}
	table := tabwriter.NewWriter(m.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "VERSION\tMIGRATION\tAPPLIED\n")
	for _, s := range migrations {
		name, applied := s.Name, "no"
		if name == "" {
			name = "of a newer gameserverd"
		}
		if s.Applied {
			applied = time.UnixMilli(s.AppliedMS).UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", s.Version, name, applied)
	}
	return Failed(table.Flush())
}

// Copy copies all that from holds into to, which has tables and no rows.
func (m *Migrate) Copy(ctx context.Context, from, to Database) error {
	for _, d := range []Database{from, to} {
		if err := m.exists(d); err != nil {
			return err
		}
	}
	unlock, err := lockBoth(from, to)
	if err != nil {
		return m.failed(ctx, err, from, to)
	}
	defer unlock()
	source, err := open(from)
	if err != nil {
		return m.failed(ctx, err, from, to)
	}
	defer closeDatabase(source)
	target, err := open(to)
	if err != nil {
		return m.failed(ctx, err, from, to)
	}
	defer closeDatabase(target)
	p := &copyProgress{w: m.Err, terminal: m.Terminal}
	err = schema.Copy(ctx, source, target, p.step)
	p.end()
	if err != nil {
		return m.failed(ctx, err, from, to)
	}
	return m.copied(p.tables, from, to)
}

// copied prints the result of Copy.
func (m *Migrate) copied(tables []tableRows, from, to Database) error {
	total := int64(0)
	for _, t := range tables {
		total += t.Rows
	}
	source, target := from.Config.SQLPlace(), to.Config.SQLPlace()
	if m.JSON {
		return m.print(struct {
			From   string      `json:"from"`
			To     string      `json:"to"`
			Rows   int64       `json:"rows"`
			Tables []tableRows `json:"tables"`
		}{source, target, total, tables})
	}
	table := tabwriter.NewWriter(m.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "TABLE\tROWS\n")
	for _, t := range tables {
		fmt.Fprintf(table, "%s\t%d\n", t.Table, t.Rows)
	}
	if err := table.Flush(); err != nil {
		return Failed(err)
	}
	_, err := fmt.Fprintf(m.Out, "copied and compared: %d rows from %s to %s\n", total, source, target)
	return Failed(err)
}

func (m *Migrate) print(v any) error {
	enc := json.NewEncoder(m.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return Failed(enc.Encode(v))
}

// open makes a store of d that has no more than is needed here.
func open(d Database) (*store.SQL, error) {
	cfg := d.Config.Store
	return store.OpenSQL(store.SQLOptions{Driver: store.Driver(cfg.SQL.Driver), DSN: d.Config.SQLDSN(), MaxOpen: 2, Timeout: cfg.Timeout})
}

// closeTimeout bounds the end of a store in which no call is under way.
const closeTimeout = 5 * time.Second

func closeDatabase(db *store.SQL) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = db.Close(ctx) // all that was to be written has been
}

// exists is an error where opening d would make an empty database.
func (m *Migrate) exists(d Database) error {
	if d.Config.Store.SQL.Driver != "sqlite" {
		return nil // a server says so itself
	}
	_, err := os.Stat(d.Config.SQLDSN())
	if errors.Is(err, os.ErrNotExist) {
		return Failed(fmt.Errorf("there is no database at %s\nhint: %s makes one; a relative path begins in the folder that the daemon is started in",
			d.Config.SQLPlace(), m.up(d)))
	}
	return Failed(err)
}

// lockBoth makes sure that no daemon has the data_dir of either side, whatever
// the driver: it would go on writing to what was copied. Two sides often have
// one folder; one that is not there has no daemon.
func lockBoth(from, to Database) (unlock func(), err error) {
	var held []func() error
	unlock = func() {
		for _, f := range held {
			_ = f() // the process ends soon, and the lock with it
		}
	}
	var first os.FileInfo
	for _, d := range []Database{from, to} {
		info, err := os.Stat(d.Config.DataDir)
		if errors.Is(err, os.ErrNotExist) || err == nil && os.SameFile(info, first) {
			continue
		}
		var f func() error
		if err == nil {
			f, err = store.LockDir(d.Config.DataDir)
		}
		if err != nil {
			unlock()
			return nil, err
		}
		held, first = append(held, f), info
	}
	return unlock, nil
}
