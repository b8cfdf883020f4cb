package dashboards

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/server"
	"gameserverd/internal/storetest"
)

// childEnv, set to a folder for its data, makes the test binary a daemon that can be
// started again: its instance is the same, its process another. adminEnv is its
// admin address, pushEnv where it pushes to, certEnv and keyEnv are its certificate.
const (
	childEnv = "GAMESERVERD_TEST_CHILD"
	adminEnv = "GAMESERVERD_TEST_ADMIN"
	pushEnv  = "GAMESERVERD_TEST_PUSH"
	certEnv  = "GAMESERVERD_TEST_CERT"
	keyEnv   = "GAMESERVERD_TEST_KEY"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(runChild())
	}
	storetest.Main(m)
}

// runChild serves until SIGTERM.
func runChild() int {
	cfg := testConfig(os.Getenv(childEnv), "c", os.Getenv(pushEnv))
	cfg.Listen.Admin = os.Getenv(adminEnv)
	cfg.Listen.TLS.CertFile, cfg.Listen.TLS.KeyFile = os.Getenv(certEnv), os.Getenv(keyEnv)
	s, err := server.New(cfg, zap.NewNop())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		s.Shutdown("SIGTERM")
	}()
	if _, err := s.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// testConfig is a small daemon's, which pushes every second.
func testConfig(dir, instance, push string) *config.Config {
	cfg := config.Default()
	cfg.DataDir = dir
	cfg.Listen.TCP = []string{"127.0.0.1:0"}
	cfg.Listen.Admin = "127.0.0.1:0"
	cfg.Loop.Count = 2
	cfg.Loop.SlowCallback = 100 * time.Millisecond
	cfg.Store.Timeout = 10 * time.Second // a busy machine is no store that is away
	cfg.Metrics.Instance = instance
	cfg.Metrics.Influx.URL = push
	cfg.Metrics.Influx.Interval = time.Second
	return cfg
}
