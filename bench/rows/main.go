// Rows is the bare loop that gameserverd's group commit is measured against: one connection that upserts rows into a table
// like saves as fast as the database takes them, and nothing else. It also fills a database with players, and tells how many
// transactions a daemon has committed.
//
//	rows -sqlite FILE | -mysql DSN  loop [-batch 500] [-players 1000] [-stride 1] [-of 0] [-bytes 303] [-for 3s]
//	rows -sqlite FILE | -mysql DSN  seed [-players 100000] [-bytes 303]
//	rows -sqlite FILE | -mysql DSN  batches
//
// loop writes to a table saves that it makes if need be, so to a database of its own; -batch 1 is one row a commit. seed and
// batches are for a database that a daemon has made. Results are JSON, one value a line.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("rows: ")
	file := flag.String("sqlite", "", "file of an SQLite database")
	dsn := flag.String("mysql", "", "DSN of a MySQL or MariaDB database")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "rows -sqlite FILE | -mysql DSN  loop|seed|batches [flags]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if (*file == "") == (*dsn == "") || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	db, err := open(*file, *dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	s := &store{conn: conn, mysql: *dsn != ""}
	if s.mysql {
		if err := s.exec(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"); err != nil { // on this connection; returns nothing
			log.Fatal(err)
		}
	}
	switch args := flag.Args()[1:]; flag.Arg(0) {
	case "loop":
		err = s.loopCommand(ctx, args)
	case "seed":
		err = s.seedCommand(ctx, args)
	case "batches":
		err = s.batches(ctx)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// store is the one connection, with the settings that gameserverd has.
type store struct {
	conn  *sql.Conn
	mysql bool
}

func open(file, dsn string) (*sql.DB, error) {
	if file != "" {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		params := url.Values{"_pragma": {
			"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(8000)", "journal_size_limit(67108864)",
			"temp_store(MEMORY)", "cache_size(-16384)",
		}}
		return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params.Encode())
	}
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	config.Params = map[string]string{"sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"}
	if err := config.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (s *store) exec(ctx context.Context, query string) error {
	_, err := s.conn.ExecContext(ctx, query)
	return err
}

// batches prints how many transactions daemons have committed in this database.
func (s *store) batches(ctx context.Context) error {
	var n int64
	// One row, from the whole of writers, which has a few.
	if err := s.conn.QueryRowContext(ctx, "SELECT COALESCE(SUM(seq), 0) FROM writers").Scan(&n); err != nil {
		return err
	}
	fmt.Printf("{\n  \"batches\": %d,\n  \"ns\": %d\n}\n", n, time.Now().UnixNano())
	return nil
}
