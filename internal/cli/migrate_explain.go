package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
)

// failed explains err, which is about one of the databases: those of Copy are
// source and target. nil stays nil.
func (m *Migrate) failed(ctx context.Context, err error, about ...Database) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		hint := "what was applied stays"
		if len(about) == 2 {
			hint = "the source is as it was; run the copy again: it begins anew"
		}
		return &ExitError{Code: ExitInterrupted, Err: fmt.Errorf("interrupted\nhint: %s", hint)}
	}
	if hint := m.hint(err, about); hint != "" {
		err = fmt.Errorf("%w\nhint: %s", err, hint)
	}
	return Failed(err)
}

// hint says what to do about err, "" where that is not known.
func (m *Migrate) hint(err error, about []Database) string {
	// Errors of Copy begin with the side that they are about.
	d, copying := about[0], len(about) == 2
	if copying && strings.HasPrefix(err.Error(), "target: ") {
		d = about[1]
	}
	text := err.Error()
	switch {
	case errors.Is(err, schema.ErrSameDatabase):
		return fmt.Sprintf("%s and %s both lead to %s; store.sql has to differ. The environment is not read here", about[0].named(), about[1].named(), about[0].Config.SQLPlace())
	case errors.Is(err, schema.ErrNotEmpty):
		return fmt.Sprintf("a copy would mix two games. Let %s lead to a new database, and run %s first", d.named(), m.up(d))
	case errors.Is(err, schema.ErrOlder):
		return m.up(d) + " applies what it lacks"
	case errors.Is(err, schema.ErrNewer):
		return "use the gameserverd that was used last with this database, or a newer one"
	case errors.Is(err, schema.ErrUnfinishedCopy) && copying:
		return "an earlier copy into it broke, or --from and --to are the wrong way round"
	case errors.Is(err, schema.ErrUnfinishedCopy):
		return fmt.Sprintf("run the copy again, it begins anew: %s migrate copy --from OLD.yaml --to %s", m.Program, d.named())
	case errors.Is(err, schema.ErrSourceChanged), errors.Is(err, schema.ErrTargetChanged):
		return "stop every gameserverd that uses one of the two, then run the copy again: it begins anew"
	case errors.Is(err, schema.ErrDiffers):
		return "somebody else writes to the target, or a disk or a server is faulty; the source is as it was"
	case strings.Contains(text, "is in use by"):
		return "a gameserverd runs with that data_dir; stop it first"
	case strings.Contains(text, "Error 1049"):
		return "make the database first: CREATE DATABASE name; the user of store.sql.dsn needs all rights on it"
	case strings.Contains(text, "Error 1045"), strings.Contains(text, "Error 1044"), strings.Contains(text, "Error 1142"):
		return fmt.Sprintf("the user in store.sql.dsn (%s) needs all rights on the database, tables included", d.Config.SQLPlace())
	case store.IsLost(err) && d.Config.Store.SQL.Driver == "mysql":
		return fmt.Sprintf("is the server running? store.sql.dsn is %s", d.Config.SQLPlace())
	case strings.Contains(text, "unable to open database file"):
		return fmt.Sprintf("this user must be able to write to %s and its folder", d.Config.SQLPlace())
	case copying:
		return "the source is as it was; run the copy again when that is mended: it begins anew"
	}
	return ""
}

// named is how to speak of d.
func (d Database) named() string {
	if d.File == "" {
		return "the default configuration"
	}
	return d.File
}

// up is the command that migrates d.
func (m *Migrate) up(d Database) string {
	if d.File == "" {
		return m.Program + " migrate up"
	}
	return m.Program + " migrate up --config " + d.File
}
