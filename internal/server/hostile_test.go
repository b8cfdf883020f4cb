package server

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"gameserverd/client"
)

// Ten thousand connections send garbage, half a frame, or nothing, to a server
// in a process of its own, while every call of a good client succeeds.
func TestTenThousandHostileConnectionsCostAGoodClientNothing(t *testing.T) {
	const hostile = 10_000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	addr, stop := startChild(t)
	good, err := client.Dial(testContext(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	if _, err := good.Login(testContext(t), "dev:7"); err != nil {
		t.Fatal(err)
	}
	calls, ctx := 0, context.Background()
	call := func() {
		var sum int
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := good.Call(ctx, "sum", &sum, calls, 1); err != nil || sum != calls+1 {
			t.Fatalf("call %d of the good client: %d %v", calls, sum, err)
		}
		calls++
	}
	conns := make([]net.Conn, 0, hostile)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range hostile {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		if b := hostileBytes(rng); len(b) > 0 {
			c.SetWriteDeadline(time.Now().Add(10 * time.Second))
			c.Write(b) // the server may have closed it already
		}
		if i%20 == 0 {
			call()
		}
	}
	for range 200 {
		call()
	}
	t.Logf("%d good calls beside %d hostile connections", calls, hostile)
	stop()
}

// hostileBytes are garbage, half a frame, or nothing.
func hostileBytes(rng *rand.Rand) []byte {
	garbage := make([]byte, rng.IntN(200)+1)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	switch rng.IntN(5) {
	case 0:
		return nil
	case 1: // half a frame that announces more than will come
		return append([]byte{0, 0, 4, 0, 0x94, 0, 1}, garbage[:len(garbage)/2]...)
	case 2: // a whole frame of garbage
		return append([]byte{0, 0, 0, byte(len(garbage))}, garbage...)
	case 3: // a stream that begins as a message
		return append([]byte{0x94, 0, 1, 0xa3, 's', 'u', 'm'}, garbage...)
	}
	return garbage
}

// startChild runs a server in a process of its own; stop drains it and holds
// that it ended cleanly.
func startChild(t *testing.T) (addr string, stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+t.TempDir())
	return startChildOf(t, cmd)
}

// startChildOf is startChild by a command of the caller's.
func startChildOf(t *testing.T, cmd *exec.Cmd) (addr string, stop func()) {
	t.Helper()
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child says %q: %v", errs.String(), err)
	}
	return strings.TrimSpace(addr), func() {
		t.Helper()
		ended = true
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(fmt.Errorf("the child: %w: %s", err, errs.String()))
		}
	}
}
