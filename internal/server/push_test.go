package server

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/storetest"
	"gameserverd/internal/tasks"
)

// storesEnv makes the child of childEnv a worker on the database and the Redis that it
// names, a line each.
const storesEnv = "GAMESERVERD_TEST_STORES"

// childOptions are the child's configuration and options, as its environment says.
func childOptions() (*config.Config, Options) {
	cfg := testConfig(os.Getenv(childEnv))
	stores := os.Getenv(storesEnv)
	if stores == "" {
		return cfg, Options{}
	}
	shareStores(cfg, stores)
	return cfg, Options{Worker: true, Tasks: []*tasks.Definition{telling()}}
}

func shareStores(cfg *config.Config, stores string) {
	dsn, redis, _ := strings.Cut(stores, "\n")
	cfg.Store.SQL.Driver, cfg.Store.SQL.DSN, cfg.Store.Redis.URL = "mysql", dsn, redis
	cfg.Game.DailyReward.At = ""
}

// telling is a task that pushes a text to players, with who runs it.
func telling() *tasks.Definition {
	return &tasks.Definition{Name: "test.tell", Params: []string{"uids []uint64", "text string"}, Bind: func(args []byte) (func(*tasks.Call) ([]byte, error), error) {
		var uids []uint64
		var text string
		if err := tasks.Decode("test.tell", args, tasks.Arg{Name: "uids", Into: &uids}, tasks.Arg{Name: "text", Into: &text}); err != nil {
			return nil, err
		}
		return func(c *tasks.Call) ([]byte, error) {
			for _, uid := range uids {
				if err := c.Push(uid, "test.told", text, int64(os.Getpid()), map[string]any{"uid": int64(uid)}); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}, nil
	}}
}

// work starts a worker in a process of its own, and waits until it works.
func work(t *testing.T, stores string) (pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+t.TempDir(), storesEnv+"="+stores)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.StartChild(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "working\n" {
		t.Fatalf("the worker said %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// A task that runs in one process pushes to players who are online in others, each once.
func TestTaskPushesToPlayersOfOtherProcesses(t *testing.T) {
	stores := storetest.MariaDB(t).DSN + "\n" + storetest.RedisAlone(t).URL
	var mu sync.Mutex
	told := make(map[string]int)
	all := func() (list map[string]int) {
		mu.Lock()
		defer mu.Unlock()
		list = make(map[string]int)
		for what, n := range told {
			list[what] = n
		}
		return list
	}
	var servers []*testServer
	for i := range 2 {
		cfg := testConfig(t.TempDir())
		shareStores(cfg, stores)
		cfg.Worker.Embedded = false
		s := startWith(t, cfg, Options{Tasks: []*tasks.Definition{telling()}})
		eventually(t, "serving", func() bool { ok, _ := s.Ready(); return ok })
		servers = append(servers, s)
		c := s.login(uint64(7 + i))
		client.On(c, "test.told", func(_ context.Context, p struct {
			Text string
			PID  int
			Who  struct {
				UID uint64 `msgpack:"uid"`
			}
		}) {
			mu.Lock()
			defer mu.Unlock()
			told[fmt.Sprint(7+i, " ", p.Text, " ", p.PID, " ", p.Who.UID)]++
		})
	}
	pid := work(t, stores)
	texts := []string{"one", "two", "three"}
	want := make(map[string]int)
	for i, text := range texts {
		task := tasks.Make[struct{}](telling(), []uint64{7, 8, 9}, text) // 9 is offline
		receipt, err := tasks.Apply(servers[i%2].tasks, task, tasks.Keep(1e9))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receipt.Result().Wait(testContext(t)); err != nil {
			t.Fatal(err)
		}
		for uid := 7; uid <= 8; uid++ {
			want[fmt.Sprint(uid, " ", text, " ", pid, " ", uid)] = 1
		}
	}
	eventually(t, "all were told", func() bool { return len(all()) >= len(want) })
	if got := all(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told %v, want %v", got, want)
	}
	for _, s := range servers {
		if n := s.tasks.Counters().Done; n != 0 {
			t.Errorf("a daemon without workers ran %d tasks", n)
		}
	}
}
