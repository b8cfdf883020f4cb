package store

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/future"
	"gameserverd/internal/store/embedded"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// redisRig is a Redis over one of the servers, and the log of its health.
type redisRig struct {
	*Redis
	health *Health
	logs   *observer.ObservedLogs
}

// openRedisRig opens a Redis with options changed by change (may be nil); the test's end closes it.
func openRedisRig(t testing.TB, url string, change func(*RedisOptions)) *redisRig {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	log := zap.New(core)
	health := NewHealth("redis", log, nil)
	o := RedisOptions{URL: url, Log: log, Health: health, Timeout: 20 * time.Second}
	if change != nil {
		change(&o)
	}
	r, err := OpenRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &redisRig{r, health, logs}
}

// openEmbedded is openRedisRig over a Redis in this process.
func openEmbedded(t testing.TB, change func(*RedisOptions)) (*redisRig, *embedded.Server) {
	t.Helper()
	server, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return openRedisRig(t, "embedded", func(o *RedisOptions) {
		o.Dial = server.Dial
		if change != nil {
			change(o)
		}
	}), server
}

// eachRedis runs fn over the embedded Redis and over a real one, by TCP and by its unix socket.
func eachRedis(t *testing.T, change func(*RedisOptions), fn func(t *testing.T, r *redisRig)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		r, _ := openEmbedded(t, change)
		fn(t, r)
	})
	t.Run("tcp", func(t *testing.T) { fn(t, openRedisRig(t, storetest.Redis(t).URL, change)) })
	t.Run("unix", func(t *testing.T) {
		server := storetest.Redis(t)
		fn(t, openRedisRig(t, server.At(server.Socket), change))
	})
}

// do runs a command that has to succeed.
func (r *redisRig) do(t testing.TB, cmd string, args ...any) Reply {
	t.Helper()
	reply, err := wait(t, r.Execute(cmd, args...))
	if err != nil {
		t.Errorf("%s: %v", cmd, err)
	}
	return reply
}

// str is a reply that has to be a string.
func str(t testing.TB, r Reply) string {
	t.Helper()
	s, err := r.String()
	if err != nil {
		t.Error(err)
	}
	return s
}

// num is a reply that has to be an integer.
func num(t testing.TB, r Reply) int64 {
	t.Helper()
	n, err := r.Int()
	if err != nil {
		t.Error(err)
	}
	return n
}

// codes counts what the futures come to: "ok" or an error's code.
func codes[T any](t testing.TB, futures []*future.Future[T]) map[wire.Code]int {
	t.Helper()
	out := make(map[wire.Code]int)
	for _, f := range futures {
		_, err := wait(t, f)
		if err == nil {
			out["ok"]++
		} else {
			out[wire.CodeOf(err)]++
		}
	}
	return out
}

// quiet checks that the health was never anything but good.
func (r *redisRig) quiet(t testing.TB) {
	t.Helper()
	if said := lines(r.logs); len(said) > 0 {
		t.Errorf("logged: %s", strings.Join(said, "\n"))
	}
}

// answering is the address of a server that answers whatever it is sent with the same bytes, and then hangs up.
func answering(t testing.TB, answer string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the test's end
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1000)) // the client may have gone
				_, _ = io.WriteString(conn, answer)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}
