package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// dialersGone waits for what go-redis starts after PoolSize failures to connect: it looks once a second whether the server or the
// client has gone, so that it may end after the test.
func dialersGone(t testing.TB) {
	t.Cleanup(func() {
		until(t, "no goroutine tries to connect", func() bool {
			b := make([]byte, 1<<20)
			return !strings.Contains(string(b[:runtime.Stack(b, true)]), "tryDial")
		})
	})
}

// wantAway checks that a call fails as one of a store that is away, in time, and with when to come back.
func wantAway(t testing.TB, what string, begun time.Time, limit time.Duration, err error) {
	t.Helper()
	took := time.Since(begun)
	var seen *wire.Error
	if !errors.As(err, &seen) || seen.Code != wire.Unavailable || seen.RetryAfter <= 0 {
		t.Errorf("%s: %v", what, err)
	} else if strings.Contains(seen.Message, "127.0.0.1") || strings.Contains(seen.Message, "refused") {
		t.Errorf("%s: the client sees the cause: %s", what, seen.Message)
	}
	if took > limit {
		t.Errorf("%s: after %v, want it within %v", what, took, limit)
	}
}

// grace is what a busy machine may add to a deadline.
const grace = 2 * time.Second

// TestRedisKilled: calls fail at once, the log says it once, and the calls after the server's return succeed.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	dialersGone(t)
	r := openRedisRig(t, server.URL, func(o *RedisOptions) { o.PoolSize, o.Timeout = 8, 2*time.Second })
	for range 2 {
		for range 20 {
			r.do(t, "SET", "k", "v")
		}
		under := r.Execute("BLPOP", "nothing", 1.9)
		until(t, "it has begun", func() bool { return strings.Contains(str(t, r.do(t, "INFO", "clients")), "blocked_clients:1") })
		server.Kill()
		begun := time.Now()
		_, err := wait(t, under)
		wantAway(t, "the call under way", begun, grace, err)
		for range 30 {
			begun := time.Now()
			_, err := wait(t, r.Execute("SET", "k", "v"))
			wantAway(t, "Execute", begun, grace, err)
			_, err = wait(t, r.Batch(Command{"SET", "k", "v"}, Command{"INCR", "n"}))
			wantAway(t, "Batch", begun, grace, err)
			_, err = wait(t, r.Script(counting, []string{"n"}, 1))
			wantAway(t, "Script", begun, grace, err)
			wantAway(t, "Ping", begun, grace, r.Ping(context.Background()))
		}
		if up, why, _ := r.health.State(); up || why == "" {
			t.Errorf("up: %v, why: %q", up, why)
		}
		server.Start()
		begun = time.Now()
		until(t, "the store is back", func() bool {
			_, err := wait(t, r.Execute("SET", "k", "v"))
			up, _, _ := r.health.State()
			return err == nil && up
		})
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v to notice that the server is back", took)
		}
		reply, err := wait(t, r.Script(counting, []string{"n"}, 1, "")) // the server has forgotten it
		if all, _ := reply.Array(); err != nil || num(t, all[0]) != 1 {
			t.Errorf("a script, afterwards: %+v, %v", reply, err)
		}
	}
	if said := lines(r.logs); len(said) != 4 {
		t.Errorf("logged %d lines for 4 changes: %s", len(said), strings.Join(said, "\n"))
	}
}

// TestRedisStalled: a server that takes everything and says nothing costs each call its deadline, and not more, whatever waits.
func TestRedisStalled(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	const timeout = 400 * time.Millisecond
	r := openRedisRig(t, server.URL, func(o *RedisOptions) { o.PoolSize, o.Queue, o.Timeout = 4, 20, timeout })
	for round := range 2 {
		r.do(t, "SET", "k", "v")
		server.Stall()
		var answers atomic.Int64
		var futures []*future.Future[Reply]
		begun := time.Now()
		for range 40 {
			f := r.Execute("SET", "k", "w")
			f.Then(&inOrder{}, func(Reply, error) { answers.Add(1) })
			futures = append(futures, f)
		}
		got := codes(t, futures)
		if took := time.Since(begun); got[wire.Unavailable] != 24 || got[wire.ResourceExhausted] != 16 || took < timeout/2 || took > timeout+grace {
			t.Errorf("round %d: %v after %v", round, got, took)
		}
		begun = time.Now()
		_, err := wait(t, r.Batch(Command{"GET", "k"}, Command{"GET", "k"}))
		wantAway(t, "Batch", begun, timeout+grace, err)
		wantAway(t, "Ping", time.Now(), timeout+grace, r.Ping(context.Background()))
		until(t, "all were told once", func() bool { return answers.Load() == 40 })
		server.Resume()
		begun = time.Now()
		until(t, "the store is back", func() bool {
			_, err := wait(t, r.Execute("SET", "k", "v"))
			up, _, _ := r.health.State()
			return err == nil && up
		})
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v to notice that the server goes on", took)
		}
	}
	if said := lines(r.logs); len(said) != 4 {
		t.Errorf("logged %d lines for 4 changes: %s", len(said), strings.Join(said, "\n"))
	}
}

// TestRedisStalledFromTheStart has no connection yet, over TCP and the unix socket.
func TestRedisStalledFromTheStart(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	server.Stall()
	for _, url := range []string{server.URL, server.At(server.Socket)} {
		r := openRedisRig(t, url, func(o *RedisOptions) { o.Timeout = 200 * time.Millisecond })
		begun := time.Now()
		_, err := wait(t, r.Execute("GET", "k"))
		wantAway(t, "Execute", begun, 200*time.Millisecond+grace, err)
		wantAway(t, "Ping", time.Now(), 200*time.Millisecond+grace, r.Ping(context.Background()))
	}
}

// TestRedisCloseWhileStalled answers and returns.
func TestRedisCloseWhileStalled(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	r := openRedisRig(t, server.URL, func(o *RedisOptions) { o.PoolSize = 2 })
	r.do(t, "SET", "k", "v")
	server.Stall()
	var futures []*future.Future[Reply]
	for range 6 {
		futures = append(futures, r.Execute("GET", "k"))
	}
	if err := r.Close(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if got := codes(t, futures); got[wire.Unavailable] != 6 {
		t.Errorf("%v", got)
	}
	server.Resume()
}

// TestRedisNeverSendsTwice: the server has counted, the reply was lost; go-redis would send the command again.
func TestRedisNeverSendsTwice(t *testing.T) {
	server := storetest.Redis(t)
	link := storetest.Proxy(t, server.Addr)
	r, direct := openRedisRig(t, server.At(link.Addr), nil), openRedisRig(t, server.URL, nil)
	for what, call := range map[string]func() error{
		"Execute": func() error { _, err := wait(t, r.Execute("INCR", "n")); return err },
		"Batch":   func() error { _, err := wait(t, r.Batch(Command{"INCR", "n"}, Command{"GET", "n"})); return err },
		"Script":  func() error { _, err := wait(t, r.Script(counting, []string{"n"}, 1, "")); return err },
	} {
		_, _ = wait(t, r.Script(counting, []string{"warm"}, 1, "")) // the server knows the script, and there is a connection
		direct.do(t, "SET", "n", 0)
		lost := link.LoseReply("\r\nn\r\n")
		err := call()
		wantCode(t, what, err, wire.Unavailable)
		if !strings.Contains(err.Error(), "outcome is not known") {
			t.Errorf("%s: %v", what, err)
		}
		receive(t, lost.Met, "the loss of a reply")
		if got := num(t, direct.do(t, "GET", "n")); got != 1 {
			t.Errorf("%s: counted to %d", what, got)
		}
	}
}

// TestRedisRandomCuts: whatever breaks, what was acknowledged was counted, and nothing was counted twice.
func TestRedisRandomCuts(t *testing.T) {
	server := storetest.Redis(t)
	link := storetest.Proxy(t, server.Addr)
	dialersGone(t)
	r := openRedisRig(t, server.At(link.Addr), func(o *RedisOptions) { o.PoolSize = 8 })
	random := seeded(t)
	var acked, unknown atomic.Int64
	count := func(err error, n int64) {
		switch {
		case err == nil:
			acked.Add(n)
		case wire.CodeOf(err) != wire.Unavailable:
			t.Errorf("%v", err)
		case !strings.Contains(err.Error(), "nothing was changed"):
			unknown.Add(n)
		}
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for g := range 8 {
		random := rand.New(rand.NewPCG(random.Uint64(), uint64(g)))
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch random.IntN(3) {
				case 0:
					_, err := wait(t, r.Execute("INCR", "n"))
					count(err, 1)
				case 1:
					replies, err := wait(t, r.Batch(Command{"INCR", "n"}, Command{"INCR", "n"}, Command{"INCR", "n"}))
					if err != nil {
						count(err, 3)
					}
					for _, reply := range replies {
						count(reply.Err, 1)
					}
				case 2:
					_, err := wait(t, r.Script(counting, []string{"n"}, 5, ""))
					count(err, 5)
				}
			}
		})
	}
	for range 60 {
		before := acked.Load()
		until(t, "calls succeed", func() bool { return acked.Load() > before+10 })
		if random.IntN(2) == 0 {
			link.Cut()
		} else {
			link.CutAfter(random.Int64N(2000))
		}
	}
	close(stop)
	all.Wait()
	link.CutAfter(-1)
	got := num(t, openRedisRig(t, server.URL, nil).do(t, "GET", "n"))
	t.Logf("%d acknowledged, %d unknown, %d counted", acked.Load(), unknown.Load(), got)
	if got < acked.Load() || got > acked.Load()+unknown.Load() {
		t.Errorf("counted to %d: %d were acknowledged, %d more may have been", got, acked.Load(), unknown.Load())
	}
}

// TestRedisWrongPassword says so in the log, without the password.
func TestRedisWrongPassword(t *testing.T) {
	server := storetest.RedisAlone(t, "--requirepass", "right")
	dialersGone(t)
	url := func(info string) string { return "redis://" + info + server.Addr + "/0" }
	for info, want := range map[string]string{":wrong-secret@": "WRONGPASS", "nobody:wrong-secret@": "WRONGPASS", "": "NOAUTH"} {
		r := openRedisRig(t, url(info), nil)
		_, err := wait(t, r.Execute("GET", "k"))
		wantAway(t, info, time.Now(), time.Second, err)
		_, err = wait(t, r.Batch(Command{"GET", "k"}, Command{"GET", "k"}))
		wantAway(t, info+" in a batch", time.Now(), time.Second, err)
		said := strings.Join(lines(r.logs), "\n")
		if !strings.Contains(said, want) || strings.Contains(said, "secret") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, logged %s", info, err, said)
		}
	}
	right := openRedisRig(t, url(":right@"), nil)
	right.do(t, "SET", "k", "v")
	right.quiet(t)
	r := openRedisRig(t, "redis://:right@"+server.Addr+"/99999", nil)
	_, err := wait(t, r.Execute("GET", "k"))
	wantAway(t, "a database that is not there", time.Now(), time.Second, err)
}

// TestRedisOfAnotherMind: what answers is no Redis, or hangs up, or talks nonsense.
func TestRedisOfAnotherMind(t *testing.T) {
	for what, answer := range map[string]string{
		"hangs up": "", "is HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n", "talks nonsense": "\x00\x01\x02\r\n\r\n", "promises too much": "$999999999999\r\nx", "counts badly": "*-7\r\n",
		"is loading": strings.Repeat("-LOADING Redis is loading the dataset in memory\r\n", 20),
	} {
		addr := answering(t, answer)
		r := openRedisRig(t, "redis://"+addr, func(o *RedisOptions) { o.Timeout = 300 * time.Millisecond })
		begun := time.Now()
		_, err := wait(t, r.Execute("GET", "k"))
		wantAway(t, what, begun, 300*time.Millisecond+grace, err)
		_, err = wait(t, r.Batch(Command{"GET", "k"}, Command{"GET", "k"}))
		wantAway(t, what, begun, 600*time.Millisecond+grace, err)
		if up, _, _ := r.health.State(); up {
			t.Errorf("a server that %s is up", what)
		}
	}
}

// TestEmbeddedRedisClosed is a Redis that has gone.
func TestEmbeddedRedisClosed(t *testing.T) {
	r, server := openEmbedded(t, nil)
	r.do(t, "SET", "k", "v")
	under := r.Execute("BLPOP", "nothing", 15)
	r.do(t, "SET", "k", "v")
	server.Close()
	begun := time.Now()
	_, err := wait(t, under)
	wantAway(t, "the call under way", begun, grace, err)
	for range 5 {
		_, err = wait(t, r.Execute("GET", "k"))
		wantAway(t, "a call", begun, grace, err)
	}
	if said := lines(r.logs); len(said) != 1 {
		t.Errorf("logged %q", said)
	}
}

// TestRedisHealthWatch notices both changes without a call.
func TestRedisHealthWatch(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	dialersGone(t)
	r := openRedisRig(t, server.URL, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		r.health.Watch(ctx, 50*time.Millisecond, r.Ping)
		close(ended)
	}()
	up := func(want bool) func() bool {
		return func() bool { is, _, _ := r.health.State(); return is == want }
	}
	for range 2 {
		server.Kill()
		until(t, "the store is down", up(false))
		server.Start()
		until(t, "the store is up", up(true))
	}
	cancel()
	receive(t, ended, "Watch")
	if said := lines(r.logs); len(said) != 4 {
		t.Errorf("logged %s", strings.Join(said, "\n"))
	}
	if !strings.Contains(fmt.Sprint(lines(r.logs)), "store is back") {
		t.Errorf("logged %s", lines(r.logs))
	}
}
