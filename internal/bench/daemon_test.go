package bench

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/server"
)

// The daemon itself, in this process.
func TestAgainstTheDaemon(t *testing.T) {
	cfg := config.Default()
	cfg.Listen.TCP, cfg.Listen.Admin, cfg.Loop.Count, cfg.DataDir = []string{"127.0.0.1:0"}, "", 2, t.TempDir()
	s, err := server.New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Run()
		ended <- err
	}()
	addr := s.Addrs()[0]

	res := measure(t, Options{Addr: addr, Connections: 20, Loops: 2, Depth: 4, Total: 5000, Expect: value("3"), Warmup: -1})
	if res.OK != 5000 || len(res.Closed)+len(res.Failed) != 0 {
		t.Errorf("sum: %+v", res)
	}
	res = measure(t, Options{Addr: addr, Connections: 20, Rate: 5000, Duration: 200 * time.Millisecond, Login: "dev:{i}",
		Method: "player.get", Warmup: -1})
	if res.OK != 1000 || len(res.Closed)+len(res.Failed) != 0 {
		t.Errorf("player.get: %+v", res)
	}
	res = measure(t, Options{Addr: addr, Connections: 2, Total: 10, Method: "no.such", Warmup: -1})
	if res.Errors["unimplemented"] != 10 || res.OK != 0 {
		t.Errorf("no.such: %+v", res)
	}
	s.Shutdown("the test is over")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
