package storetest

import (
	"context"
	"database/sql"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers every byte with itself until the test ends.
func echo(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // a reset is what the tests are about
			}()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return ln.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b, err, text)
	}
}

func hearNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatalf("read %d bytes through a stalled proxy", n)
	}
	if err := conn.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
}

func hearTheEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(conn); len(b) > 0 || err == nil {
		t.Fatalf("read %q, %v; want a reset", b, err)
	}
}

func met(t *testing.T, f *Fault) {
	t.Helper()
	select {
	case <-f.Met:
	case <-time.After(startTimeout):
		t.Fatal("the fault did not happen")
	}
}

func TestProxyForwardsAndEndsInOrder(t *testing.T) {
	conn := dial(t, Proxy(t, echo(t)).Addr)
	send(t, conn, "hello")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); string(b) != "hello" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestProxyDelaysAndStalls(t *testing.T) {
	l := Proxy(t, echo(t))
	conn := dial(t, l.Addr)
	l.Delay(30 * time.Millisecond)
	began := time.Now()
	send(t, conn, "slow")
	hear(t, conn, "slow")
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("there and back took %v with 30ms each way", took)
	}
	l.Delay(0)
	l.Stall()
	send(t, conn, "held")
	hearNothing(t, conn)
	late := dial(t, l.Addr)
	send(t, late, "late")
	hearNothing(t, late)
	l.Resume()
	hear(t, conn, "held")
	hear(t, late, "late")
}

func TestProxyCuts(t *testing.T) {
	l := Proxy(t, echo(t))
	conn := dial(t, l.Addr)
	send(t, conn, "a")
	hear(t, conn, "a")
	l.Cut()
	hearTheEnd(t, conn)

	l.Refuse(true)
	if conn, err := net.Dial("tcp", l.Addr); err == nil { // else the reset was faster
		defer conn.Close()
		hearTheEnd(t, conn)
	}
	l.Refuse(false)

	seen := make(chan string, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b, _ := io.ReadAll(conn) // until the reset
		seen <- string(b)
	}()
	l = Proxy(t, ln.Addr().String())
	l.CutAfter(4)
	conn = dial(t, l.Addr)
	send(t, conn, "abcdef")
	hearTheEnd(t, conn)
	if got := <-seen; got != "abcd" {
		t.Errorf("the server got %q, not the first 4 bytes", got)
	}
}

// Each fault at COMMIT leaves the client with the same error, and the row there or not as the fault says.
func TestFaultsAtCommit(t *testing.T) {
	s := MariaDB(t)
	direct := open(t, s.DSN)
	execute(t, direct, "CREATE TABLE things (id BIGINT PRIMARY KEY) ENGINE=InnoDB")
	l := Proxy(t, s.Addr)
	db := open(t, s.At(l.Addr))
	db.SetMaxIdleConns(0)
	rows := func() int { return number(t, direct, "SELECT COUNT(*) FROM things") }

	f := l.LoseRequest("COMMIT")
	commitLost(t, db, 1)
	met(t, f)
	if rows() != 0 {
		t.Error("a COMMIT that was not delivered took effect")
	}

	f = l.LoseReply("COMMIT")
	commitLost(t, db, 2)
	met(t, f)
	if rows() != 1 {
		t.Error("a COMMIT whose reply was lost had no effect")
	}

	f = l.HoldRequest("COMMIT")
	commitLost(t, db, 3)
	met(t, f)
	if rows() != 1 {
		t.Error("a COMMIT that is held took effect")
	}
	f.Release()
	if rows() != 2 {
		t.Error("a COMMIT that was released had no effect")
	}

	f = l.CutAt("COMMIT")
	commitLost(t, db, 4)
	met(t, f)
	if n := number(t, direct, "SELECT COUNT(*) FROM things WHERE id < 4"); n != 2 {
		t.Errorf("%d rows of before, not 2", n)
	}
}

// commitLost inserts a row in a transaction whose COMMIT is to fail.
func commitLost(t *testing.T, db *sql.DB, id int) {
	t.Helper()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range []string{"START TRANSACTION", "INSERT INTO things VALUES (?)"} {
		var args []any
		if statement[0] == 'I' {
			args = append(args, id)
		}
		if _, err := conn.ExecContext(ctx, statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err == nil {
		t.Error("COMMIT succeeded through a fault")
	}
}
