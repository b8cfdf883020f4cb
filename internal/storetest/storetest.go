// Package storetest gives tests private MariaDB and Redis servers of their own, real ones, that can be killed and
// stalled, and a proxy that breaks connections; and those that metrics are sent to, Prometheus and InfluxDB.
//
// It is not a fake and not for production: only tests import it, and it imports nothing of this module, so that every
// package's tests can. It needs the programs of Debian's packages (scripts/test-servers.sh); without them a test is
// skipped and counted (GAMESERVERD_SKIPPED), see Stores and Program.
//
// Its one invariant: nothing that it started outlives the test binary, however that ends.
//
// A package that uses it hands its TestMain over:
//
//	func TestMain(m *testing.M) { storetest.Main(m) }
package storetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// packages are Debian's packages whose names are not those of their programs.
var packages = map[string]string{
	"mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server", "influxd": "influxdb", "promtool": "prometheus",
}

// skippedEnv names a file that gets one line for each skipped test.
const skippedEnv = "GAMESERVERD_SKIPPED"

// Main runs the tests, stops the servers, looks for goroutines that are left and exits. It is all that a TestMain needs.
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(withServers{m}, options...)
}

type withServers struct{ m *testing.M }

func (w withServers) Run() int {
	code := w.m.Run()
	if err := Shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, "storetest:", err)
		if code == 0 {
			code = 1
		}
	}
	return code
}

// Store is a SQL database that a test of Stores runs over.
type Store struct {
	Driver string  // "sqlite" or "mysql", as in store.SQLOptions
	DSN    string  // empty database: the path of a file that is not there yet, or go-sql-driver's form
	Server *Server // nil for sqlite; shared with other tests, so it cannot be killed
}

// Stores runs fn over each kind of SQL database as a subtest of t: sqlite, and mariadb, which is skipped and counted
// where there is no mariadbd.
func Stores(t *testing.T, fn func(t *testing.T, s Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		fn(t, Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "gameserverd.db")})
	})
	t.Run("mariadb", func(t *testing.T) {
		s := MariaDB(t)
		fn(t, Store{Driver: "mysql", DSN: s.DSN, Server: s})
	})
}

// Program returns the path of a program that a test needs besides the servers, such as promtool, or skips the test, and
// counts it, if it is not installed.
func Program(t testing.TB, name string) string {
	t.Helper()
	return program(t, name)
}

// program is Program for this package's own.
func program(t testing.TB, name string) string {
	t.Helper()
	if path := find(name); path != "" {
		return path
	}
	from := name
	if packages[name] != "" {
		from = packages[name]
	}
	line := fmt.Sprintf("%s: %s is not installed: apt-get install %s", t.Name(), name, from)
	if file := os.Getenv(skippedEnv); file != "" {
		if err := appendLine(file, line); err != nil {
			t.Errorf("counting the skipped test: %v", err)
		}
	}
	t.Skip(line)
	return ""
}

// sbin are the folders where Debian puts daemons; a user's PATH lacks them.
var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// find returns the path of a program, "" if it is not installed.
func find(name string) string {
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), sbin...) {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// appendLine writes in one call, so that lines of test binaries that run side by side do not mix.
func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
