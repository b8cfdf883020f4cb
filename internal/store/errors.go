package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"gameserverd/wire"
)

// retryAfter is what callers are told when a store is away or has too much to do.
const retryAfter = time.Second

var (
	errTimeout  = errors.New("no answer in time")
	errNotBegun = errors.New("it was not begun")
	errClosed   = errors.New("the store is closed")
	errGoexit   = errors.New("store: the function ended its goroutine")
)

// failure is an error that ends at clients as a *wire.Error, and keeps its cause for IsLost and IsRetryable. The cause stays out of
// what clients see.
type failure struct {
	seen  wire.Error
	cause error
}

func (f *failure) Error() string   { return "store: " + f.seen.Message + ": " + f.cause.Error() }
func (f *failure) Unwrap() []error { return []error{&f.seen, f.cause} }

func unavailable(message string, cause error) error {
	return &failure{wire.Error{Code: wire.Unavailable, Message: message, RetryAfter: retryAfter}, cause}
}

func resourceExhausted(message string, cause error) error {
	return &failure{wire.Error{Code: wire.ResourceExhausted, Message: message, RetryAfter: retryAfter}, cause}
}

// connectError is a failure to open a connection. Nothing was run.
type connectError struct{ cause error }

func (e *connectError) Error() string { return "connecting: " + e.cause.Error() }
func (e *connectError) Unwrap() error { return e.cause }

// maxQuoted bounds how much of a statement an error quotes.
const maxQuoted = 200

// statementError is what the database, its driver or database/sql said of a statement. Its text has the statement, which the program
// has written, and never a value of an argument, which the driver's own text may have.
type statementError struct {
	query string
	cause error
}

func (e *statementError) Unwrap() error { return e.cause }

func (e *statementError) Error() string {
	query := strings.Join(strings.Fields(e.query), " ")
	if len(query) > maxQuoted {
		query = strings.ToValidUTF8(query[:maxQuoted], "") + "..."
	}
	return fmt.Sprintf("store: %s (in %s)", withoutValues(e.cause), query)
}

// namesOnly are the errors of MySQL that quote nothing but names of columns and tables.
var namesOnly = []uint16{1044, 1045, 1048, 1049, 1050, 1051, 1054, 1060, 1061, 1091, 1136, 1142, 1146, 1264, 1364, 1406}

// withoutValues is err's text without what MySQL quotes: "Duplicate entry 'what was given' for key 'PRIMARY'".
func withoutValues(err error) string {
	var m *mysql.MySQLError
	if !errors.As(err, &m) {
		return err.Error()
	}
	text := m.Message
	if !slices.Contains(namesOnly, m.Number) {
		// A value may have quotes in it, so everything between the first and the last goes.
		first, last := strings.IndexAny(text, "'`\""), strings.LastIndexAny(text, "'`\"")
		if first >= 0 {
			text = text[:first] + "'...'" + text[last+1:]
		}
	}
	return fmt.Sprintf("error %d (%s): %s", m.Number, m.SQLState[:], text)
}

// lostMySQL are the errors of a server that cannot work at present: going down, out of room, read-only after a failover, or it has
// killed the statement or the connection.
var lostMySQL = []uint16{
	1021, 1030, 1037, 1040, 1041, 1047, 1053, 1077, 1079, 1080, 1114, 1129, 1130, 1158, 1159, 1160, 1161, 1184, 1189, 1190, 1203, 1226,
	1290, 1317, 1836, 1927, 1969, 3024, 4031,
}

// retryMySQL are those after which the same transaction may succeed: lock wait timeout, deadlock, a row that changed since the snapshot.
var retryMySQL = []uint16{1205, 1213, 1020}

// lostSQLite are the primary codes that speak of the file and its disk, or of a statement that was interrupted; each of them may have
// rolled back the transaction.
var lostSQLite = []int{
	sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
	sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM,
	sqlite3.SQLITE_ABORT,
}

// IsRetryable tells whether err says that the transaction, or the statement outside of one, has changed nothing (after Rollback) and
// may succeed when it is tried again: a deadlock, a wait for a lock that took too long, or a call that was not begun. Any goroutine.
func IsRetryable(err error) bool {
	if errors.Is(err, errNotBegun) {
		return true
	}
	if number, ok := mysqlNumber(err); ok {
		return slices.Contains(retryMySQL, number)
	}
	code, ok := sqliteCode(err)
	return ok && (code&0xff == sqlite3.SQLITE_BUSY || code&0xff == sqlite3.SQLITE_LOCKED)
}

// IsLost tells whether err says that the connection or the server went, or that the time was over while the statement ran, so that it
// is not known whether the statement took effect. A connection that could not be opened counts too. Any goroutine.
func IsLost(err error) bool {
	if err == nil || errors.Is(err, errNotBegun) {
		return false
	}
	for _, lost := range []error{
		driver.ErrBadConn, mysql.ErrInvalidConn, mysql.ErrMalformPkt, mysql.ErrPktSync, mysql.ErrPktSyncMul, mysql.ErrBusyBuffer, io.EOF,
		io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled, errTimeout, errClosed,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	var connecting *connectError
	var network *net.OpError
	if errors.As(err, &connecting) || errors.As(err, &network) {
		return true
	}
	if number, ok := mysqlNumber(err); ok {
		return slices.Contains(lostMySQL, number)
	}
	code, ok := sqliteCode(err)
	return ok && slices.Contains(lostSQLite, code&0xff)
}

var duplicateSQLite = []int{sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}

// IsDuplicate tells whether err says that a row with that unique or primary key is there already. Any goroutine.
func IsDuplicate(err error) bool {
	if number, ok := mysqlNumber(err); ok {
		return number == 1062
	}
	code, ok := sqliteCode(err)
	return ok && slices.Contains(duplicateSQLite, code)
}

func mysqlNumber(err error) (uint16, bool) {
	var m *mysql.MySQLError
	if errors.As(err, &m) {
		return m.Number, true
	}
	return 0, false
}

func sqliteCode(err error) (int, bool) {
	var l *sqlite.Error
	if errors.As(err, &l) {
		return l.Code(), true
	}
	return 0, false
}
