package storetest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// redisDatabases is how many calls of Redis one test binary can make: each gets a database number of its own.
const redisDatabases = 10000

// Redis returns a fresh, empty database in the Redis server that all tests of the binary share. Commands that reach
// across databases (FLUSHALL, SCRIPT FLUSH, publish and subscribe) are for RedisAlone. The test is skipped and counted
// where there is no redis-server.
func Redis(t testing.TB) *Server {
	t.Helper()
	server := program(t, "redis-server")
	p, serial, err := shared.redis.get(func() (*process, error) { return launchRedis(server) })
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	if serial >= redisDatabases {
		t.Fatalf("storetest: more than %d databases of Redis", redisDatabases)
	}
	return redisServer(t, p, serial)
}

// RedisAlone returns a Redis server of the test's own, which the test may kill and stall and whose end ends it. The
// options are added to redis-server's; with "--cluster-enabled", "yes" it is a cluster's node, with "--requirepass" the
// URL is the test's to complete.
func RedisAlone(t testing.TB, options ...string) *Server {
	t.Helper()
	p, err := launchRedis(program(t, "redis-server"), options...)
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Errorf("storetest: %v", err)
		}
	})
	s := redisServer(t, p, 0)
	s.alone = true
	return s
}

func redisServer(t testing.TB, p *process, number int) *Server {
	s := &Server{Addr: p.addr, Socket: p.socket, t: t, process: p}
	s.at = func(network, addr string) string {
		if network == "unix" {
			return fmt.Sprintf("unix://%s?db=%d", addr, number)
		}
		return fmt.Sprintf("redis://%s/%d", addr, number)
	}
	s.URL = s.At(s.Addr)
	return s
}

// launchRedis starts a server that keeps nothing on disk: SQL is the truth, and what comes back after a kill is empty.
func launchRedis(server string, options ...string) (*process, error) {
	folder, err := Folder("redis")
	if err != nil {
		return nil, err
	}
	p := &process{name: "redis-server", folder: folder, socket: filepath.Join(folder, "s"), log: filepath.Join(folder, "log"), ready: redisReady}
	p.args = func(addr string) []string {
		args := []string{server, "--port", portOf(addr), "--bind", "127.0.0.1", "--unixsocket", p.socket, "--dir", folder,
			"--save", "", "--appendonly", "no", "--databases", fmt.Sprint(redisDatabases), "--daemonize", "no"}
		return append(args, options...)
	}
	return p, p.launch()
}

// redisReady asks for PONG. A server that wants a password first is as ready.
func redisReady(ctx context.Context, socket string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if late, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(late); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if line = strings.TrimSpace(line); line != "+PONG" && !strings.HasPrefix(line, "-NOAUTH") {
		return fmt.Errorf("answered PING with %q", line)
	}
	return nil
}
