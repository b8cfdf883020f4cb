package storetest

import (
	"context"
	"database/sql"
	"net"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

func TestMain(m *testing.M) { Main(m) }

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c.Logger = &mysql.NopLogger{}
	c.Timeout, c.ReadTimeout = 5*time.Second, 5*time.Second
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

func execute(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func number(t *testing.T, db *sql.DB, query string) int {
	t.Helper()
	var n int
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestEachCallOfMariaDBHasADatabaseOfItsOwn(t *testing.T) {
	a, b := MariaDB(t), MariaDB(t)
	if a.Addr != b.Addr {
		t.Errorf("two servers were started, on %s and %s", a.Addr, b.Addr)
	}
	da, db := open(t, a.DSN), open(t, b.At(b.Socket))
	execute(t, da, "CREATE TABLE things (id BIGINT PRIMARY KEY) ENGINE=InnoDB")
	execute(t, db, "CREATE TABLE things (id BIGINT PRIMARY KEY) ENGINE=InnoDB")
	execute(t, da, "INSERT INTO things VALUES (1), (2)")
	if n := number(t, da, "SELECT COUNT(*) FROM things"); n != 2 {
		t.Errorf("%d rows, not 2", n)
	}
	if n := number(t, db, "SELECT COUNT(*) FROM things"); n != 0 {
		t.Errorf("the other database has %d rows", n)
	}
	if n := number(t, da, "SELECT @@innodb_flush_log_at_trx_commit"); n != 1 {
		t.Errorf("innodb_flush_log_at_trx_commit is %d", n)
	}
}

func TestAKilledMariaDBComesBackWithWhatWasCommitted(t *testing.T) {
	s := MariaDBAlone(t)
	db := open(t, s.DSN)
	execute(t, db, "CREATE TABLE things (id BIGINT PRIMARY KEY) ENGINE=InnoDB")
	for id := range 3 {
		execute(t, db, "INSERT INTO things VALUES (?)", id)
		s.Kill()
		if err := db.Ping(); err == nil {
			t.Error("a killed server answers")
		}
		s.Start()
		if n := number(t, db, "SELECT COUNT(*) FROM things"); n != id+1 {
			t.Errorf("%d rows after kill %d, not %d", n, id+1, id+1)
		}
	}
}

func TestAStalledServerAnswersAfterResume(t *testing.T) {
	s := RedisAlone(t)
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.Stall()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(b); err == nil {
		t.Errorf("a stalled server answers %q", b[:n])
	}
	s.Resume()
	if err := conn.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "+PONG\r\n" {
		t.Errorf("it answers %q, %v after it was resumed", b[:n], err)
	}
	s.Stall() // the cleanup ends a stalled server too
}

func TestRedisComesBackEmpty(t *testing.T) {
	s := RedisAlone(t)
	s.Kill()
	if err := redisReady(context.Background(), s.Socket); err == nil {
		t.Error("a killed server answers")
	}
	s.Start()
	if err := redisReady(context.Background(), s.Socket); err != nil {
		t.Error(err)
	}
}
