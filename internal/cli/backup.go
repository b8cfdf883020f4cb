package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"gameserverd/internal/store/schema"
)

// Backup writes d, which may be in use, into the new file path.
func (m *Migrate) Backup(ctx context.Context, d Database, path string) error {
	if err := m.exists(d); err != nil {
		return err
	}
	db, err := open(d)
	if err != nil {
		return m.failed(ctx, err, d)
	}
	defer closeDatabase(db)
	began := time.Now()
	bytes, err := schema.Backup(ctx, db, path)
	switch {
	case errors.Is(err, schema.ErrNoBackup):
		return Failed(errors.New("this database is on a server: back it up there, for example with\n  mariadb-dump --single-transaction --hex-blob DATABASE > FILE"))
	case errors.Is(err, fs.ErrExist):
		return Failed(fmt.Errorf("%s is there already, and is not overwritten: name another file", path))
	case err != nil:
		return m.failed(ctx, err, d)
	}
	if m.JSON {
		return m.print(struct {
			Database string `json:"database"`
			File     string `json:"file"`
			Bytes    int64  `json:"bytes"`
			TookMS   int64  `json:"took_ms"`
		}{d.Config.SQLPlace(), path, bytes, time.Since(began).Milliseconds()})
	}
	_, err = fmt.Fprintf(m.Out, "%s: %d bytes, the state of %s\n", path, bytes, began.UTC().Format(time.RFC3339))
	return Failed(err)
}
