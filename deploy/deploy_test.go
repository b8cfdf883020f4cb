// Package deploy has no code: these tests hold what it ships against the
// configuration that the daemon reads.
package deploy

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/config"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// setting is the last value of a unit's setting.
func setting(t *testing.T, unit, name string) string {
	t.Helper()
	all := regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(read(t, unit), -1)
	if len(all) == 0 {
		t.Fatalf("%s has no %s", unit, name)
	}
	return all[len(all)-1][1]
}

// A setting of the developer's own must not decide what the test sees.
func clearEnvironment(t *testing.T) {
	for _, e := range os.Environ() {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, "GAMESERVERD_") {
			t.Setenv(name, value) // so that it is there again afterwards
			os.Unsetenv(name)
		}
	}
}

// The package's configuration lets nobody in without a token, has a value of its
// own for each limit that is off by default, and fits the unit.
func TestShippedConfiguration(t *testing.T) {
	clearEnvironment(t)
	c, err := config.Load("gameserverd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Auth.Mode != "jwt" || len(c.Auth.JWT.SecretFile) != 1 || c.Auth.JWT.SecretFile[0] != "/etc/gameserverd/jwt.secret" {
		t.Errorf("login is %+v", c.Auth)
	}
	off := 0
	for _, v := range config.Default().Values() {
		if strings.HasPrefix(v.Key, "limits.") && v.Value == "0" {
			off++
			for _, ours := range c.Values() {
				if ours.Key == v.Key && ours.Value == "0" {
					t.Errorf("%s is off", v.Key)
				}
			}
		}
	}
	if off < 6 {
		t.Errorf("only %d limits are off by default: what does this test look at?", off)
	}
	if !strings.HasPrefix(c.Listen.Admin, "127.0.0.1:") {
		t.Errorf("the admin server listens on %s", c.Listen.Admin)
	}
	if c.Log.Format != "json" || c.DataDir != setting(t, "gameserverd.service", "WorkingDirectory") {
		t.Errorf("log %+v, data_dir %s", c.Log, c.DataDir)
	}
	// Both can run on one machine, with this file.
	if !strings.HasPrefix(c.Worker.Admin, "127.0.0.1:") || c.Worker.Admin == c.Listen.Admin {
		t.Errorf("the worker's admin server listens on %s", c.Worker.Admin)
	}
	if dir := setting(t, "gameserverd-worker.service", "WorkingDirectory"); c.DataDir != dir {
		t.Errorf("the worker works in %s, data_dir is %s", dir, c.DataDir)
	}
	// The socket takes the place of listen.tcp, which counts where it is masked.
	if want := setting(t, "gameserverd.socket", "ListenStream"); len(c.Listen.TCP) != 1 || want != "[::]"+c.Listen.TCP[0] {
		t.Errorf("listen.tcp is %q, the socket's %s", c.Listen.TCP, want)
	}
}

// seconds reads what systemd reads: 45s, 6min.
func seconds(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.Replace(s, "min", "m", 1))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestUnitFitsTheConfiguration(t *testing.T) {
	clearEnvironment(t)
	c, err := config.Load("gameserverd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"gameserverd.service", "gameserverd-worker.service"} {
		fitsTheConfiguration(t, unit, c)
	}
	const unit = "gameserverd.service"
	if n, err := strconv.Atoi(setting(t, unit, "LimitNOFILE")); err != nil || n < 2*c.Limits.MaxConnections {
		t.Errorf("LimitNOFILE is %d, limits.max_connections %d", n, c.Limits.MaxConnections)
	}
	if got := setting(t, unit, "PropagatesStopTo"); got != "gameserverd.socket" {
		t.Errorf("a stop is passed on to %s", got)
	}
}

func fitsTheConfiguration(t *testing.T, unit string, c *config.Config) {
	t.Helper()
	if stop := seconds(t, setting(t, unit, "TimeoutStopSec")); stop < c.Shutdown.Deadline+15*time.Second {
		t.Errorf("%s: TimeoutStopSec is %v, shutdown.deadline %v", unit, stop, c.Shutdown.Deadline)
	}
	if start := seconds(t, setting(t, unit, "TimeoutStartSec")); start < c.Store.StartTimeout+5*time.Minute {
		t.Errorf("%s: TimeoutStartSec is %v, store.start_timeout %v", unit, start, c.Store.StartTimeout)
	}
	// Without it a crash would end with 2, as a wrong configuration does, and
	// nobody would start the daemon again.
	if strings.Contains(read(t, unit), "RestartPreventExitStatus=2") && !strings.Contains(read(t, unit), "Environment=GOTRACEBACK=crash") {
		t.Errorf("%s: RestartPreventExitStatus=2 without GOTRACEBACK=crash", unit)
	}
}
