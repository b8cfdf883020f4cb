package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// silence is how long a connection that was asked something may say nothing before it counts as lost. Calls end sooner, by their
// contexts; this is for what has none, such as Each of a caller who waits as long as it takes.
const silence = 30 * time.Second

// readCommitted is run on every new connection; it returns nothing. A transaction sees what others have committed when each of its
// statements begins, and locks no gaps, which spares most deadlocks.
const readCommitted = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

// statementLimit is run on the connections of calls; it returns nothing. A server does not notice that the client of a long statement has
// gone; with this it ends the statement by itself, in seconds in MariaDB, in milliseconds and for SELECT alone in MySQL 5.7.8 and later.
// Each of them takes the other's part for a comment.
const statementLimit = "SET SESSION /*M! max_statement_time = %[1]v, */ /*!50708 max_execution_time = %[2]v, */ sql_warnings = 0"

func (s *SQL) openMySQL(o SQLOptions) error {
	config, err := parseDSN(o.DSN)
	if err != nil {
		return err
	}
	orDefault(&config.Timeout, o.Timeout)
	orDefault(&config.WriteTimeout, silence)
	slow := config.Clone()
	orDefault(&config.ReadTimeout, silence)
	// A server does not see at once that a client has given up; its statement must not wait for a lock, and keep others, much longer.
	config.Params["innodb_lock_wait_timeout"] = fmt.Sprint(max(1, int(math.Ceil(o.Timeout.Seconds()))))
	calls, err := mysql.NewConnector(config)
	if err != nil {
		return errors.New("store: the DSN of mysql cannot be used")
	}
	migrations, err := mysql.NewConnector(slow)
	if err != nil {
		return errors.New("store: the DSN of mysql cannot be used")
	}
	open := func(c driver.Connector, max, idle int, more ...string) *sql.DB {
		db := sql.OpenDB(&connector{Connector: c, timeout: o.Timeout, setup: append([]string{readCommitted}, more...)})
		db.SetMaxOpenConns(max)
		db.SetMaxIdleConns(idle)
		db.SetConnMaxLifetime(o.MaxLifetime)
		return db
	}
	s.read = newLane(o.MaxOpen, o.Queue)
	s.write = s.read
	s.readDB = open(calls, o.MaxOpen, o.MaxIdle, fmt.Sprintf(statementLimit, o.Timeout.Seconds(), max(1, o.Timeout.Milliseconds())))
	s.writeDB = s.readDB
	s.pinned = open(calls, pinned, pinned)
	s.pinned.SetConnMaxIdleTime(pinnedIdle)
	s.openDDL = func() *sql.DB { return open(migrations, 4, 1) }
	return nil
}

// parseDSN reads a DSN and sets what is not for it to choose. Its error never has the password: the driver's own text may.
func parseDSN(dsn string) (*mysql.Config, error) {
	const want = "want user:password@tcp(host:port)/database?param=value"
	if dsn == "" {
		return nil, errors.New("store: the DSN of mysql is empty: " + want)
	}
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		if text := err.Error(); strings.HasPrefix(text, "invalid DSN: ") {
			return nil, fmt.Errorf("store: %s: %s", text, want)
		}
		return nil, errors.New("store: the DSN of mysql cannot be read: " + want)
	}
	if config.DBName == "" {
		return nil, errors.New("store: the DSN of mysql names no database: " + want)
	}
	config.ClientFoundRows = true // RowsAffected as in SQLite
	config.ParseTime = false
	config.MultiStatements = false
	config.AllowAllFiles = false
	config.ColumnsWithAlias = false
	config.Logger = &mysql.NopLogger{} // what it would say is in errors, and Health logs those
	if config.Params == nil {
		config.Params = make(map[string]string)
	}
	config.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
	if err := config.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	return config, nil
}

// connector opens connections in bounded time, and tells their failures from those of statements.
type connector struct {
	driver.Connector
	timeout time.Duration
	setup   []string      // statements that are run on every connection
	turn    chan struct{} // SQLite: full while one is opened; the first few would quarrel about making the file
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if c.turn != nil {
		select {
		case c.turn <- struct{}{}:
			defer func() { <-c.turn }()
		case <-ctx.Done():
			return nil, &connectError{ctx.Err()}
		}
	}
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, &connectError{err}
	}
	if err := c.prepare(ctx, conn); err != nil {
		return nil, errors.Join(&connectError{err}, conn.Close())
	}
	return conn, nil
}

func (c *connector) prepare(ctx context.Context, conn driver.Conn) error {
	for _, query := range c.setup {
		execer, ok := conn.(driver.ExecerContext)
		if !ok {
			return errors.New("the driver runs no statements")
		}
		if _, err := execer.ExecContext(ctx, query, nil); err != nil {
			return err
		}
	}
	return nil
}
