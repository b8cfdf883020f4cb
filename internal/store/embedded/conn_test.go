package embedded

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

func TestConnCarriesBytesInOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	sent := make([]byte, 5<<20) // more than waits at a time
	for i := range sent {
		sent[i] = byte(random.Uint32())
	}
	client, server := newConn(nil)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), random.IntN(100_000))
			if got, err := client.Write(rest[:n]); got != n || err != nil {
				t.Errorf("Write: %d of %d, %v", got, n, err)
				break
			}
			rest = rest[n:]
		}
		client.Close()
	}()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes of %d, the same: %v, %v", len(got), len(sent), bytes.Equal(got, sent), err)
	}
	server.Close()
}

func TestConnGivesLargeBuffersBack(t *testing.T) {
	client, server := newConn(nil)
	defer client.Close()
	defer server.Close()
	if _, err := server.Write(make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	if kept := cap(client.in.buf); kept > keptBuffer {
		t.Errorf("an empty stream keeps %d bytes", kept)
	}
}

// TestConnDeadlines is what net.Conn promises of them.
func TestConnDeadlines(t *testing.T) {
	client, server := newConn(nil)
	defer client.Close()
	defer server.Close()
	over := func(what string, err error) {
		t.Helper()
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v", what, err)
		}
	}
	b := make([]byte, 10)
	client.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := client.Read(b)
	over("a read that waits", err)

	server.Write([]byte("x"))
	_, err = client.Read(b)
	over("a read of what is there, after the deadline", err)
	client.SetReadDeadline(time.Time{})
	if n, err := client.Read(b); n != 1 || err != nil {
		t.Errorf("a read without one: %d, %v", n, err)
	}

	// A write that waits for room.
	type wrote struct {
		n   int
		err error
	}
	full := make(chan wrote)
	go func() {
		n, err := client.Write(make([]byte, 2*maxRequests))
		full <- wrote{n, err}
	}()
	eventually(t, "the writer waits", func() bool {
		server.in.mu.Lock()
		defer server.in.mu.Unlock()
		return len(server.in.buf) == maxRequests
	})
	client.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	w := <-full
	over("a write that waits for room", w.err)
	if w.n != maxRequests {
		t.Errorf("%d bytes were written", w.n)
	}

	// A deadline that is set while somebody waits counts for him.
	ended := make(chan error)
	go func() {
		_, err := server.in.read(nil)
		if err == nil {
			_, err = io.ReadFull(server, make([]byte, maxRequests+1))
		}
		ended <- err
	}()
	eventually(t, "the reader has taken all and waits", func() bool {
		server.in.mu.Lock()
		defer server.in.mu.Unlock()
		return len(server.in.buf) == server.in.head
	})
	server.SetDeadline(time.Now().Add(-time.Second))
	over("a read whose deadline has come", <-ended)
}

func TestConnClose(t *testing.T) {
	closed := 0
	client, server := newConn(func() { closed++ })
	server.Write([]byte("last words"))
	server.Close()
	if got, err := io.ReadAll(client); string(got) != "last words" || err != nil {
		t.Errorf("after the other end has closed: read %q, %v", got, err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing to nobody: %v", err)
	}
	client.Close()
	client.Close()
	if closed != 1 {
		t.Errorf("told %d times that it closed", closed)
	}
	for what, do := range map[string]func([]byte) (int, error){"Read": client.Read, "Write": client.Write} {
		if _, err := do(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s of a closed end: %v", what, err)
		}
	}

	// Who waits is told.
	client, server = newConn(nil)
	ended := make(chan error)
	for _, do := range []func() error{
		func() error { _, err := client.Read(make([]byte, 1)); return err },
		func() error { _, err := client.Write(make([]byte, 2*maxRequests)); return err },
	} {
		go func() { ended <- do() }()
	}
	eventually(t, "the writer waits", func() bool {
		server.in.mu.Lock()
		defer server.in.mu.Unlock()
		return len(server.in.buf) == maxRequests
	})
	server.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v", err)
		}
	}
	client.Close()
}

// TestRepliesThatNobodyReadsEndTheConnection, after the replies that fit.
func TestRepliesThatNobodyReadsEndTheConnection(t *testing.T) {
	client, server := newConn(nil)
	defer client.Close()
	chunk := make([]byte, 1<<20)
	for n := range maxReplies / len(chunk) {
		if _, err := server.Write(chunk); err != nil {
			t.Fatalf("after %d MiB: %v", n, err)
		}
	}
	if _, err := server.Write([]byte("x")); err != errTooManyReplies {
		t.Errorf("one byte more: %v", err)
	}
	if _, err := server.Read(chunk); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the server reads on: %v", err)
	}
	n, err := io.Copy(io.Discard, client)
	if n != maxReplies || err != errTooManyReplies {
		t.Errorf("the client reads %d bytes, %v", n, err)
	}
}
