package storetest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// installed are the options that the template's files depend on; a change makes another template.
var installed = []string{"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M"}

// adminTimeout is how long making or dropping a database may take. A drop waits for transactions that are still open in
// it, so a test that leaves one fails by this.
const adminTimeout = 20 * time.Second

// MariaDB returns a fresh, empty database in the MariaDB server that all tests of the binary share; the test's end
// drops it. Commits are flushed as in production. The test is skipped and counted where there is no mariadbd.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	mariadbd, install := mariadbPrograms(t)
	p, _, err := shared.mariadb.get(func() (*process, error) { return launchMariaDB(mariadbd, install) })
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	s, name := database(t, p)
	t.Cleanup(func() {
		s.check(admin(p.socket, "DROP DATABASE "+name))
	})
	return s
}

// MariaDBAlone returns a fresh database in a server of the test's own, which the test may kill and stall and whose end
// ends it. The options are added to mariadbd's.
func MariaDBAlone(t testing.TB, options ...string) *Server {
	t.Helper()
	mariadbd, install := mariadbPrograms(t)
	p, err := launchMariaDB(mariadbd, install, options...)
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Errorf("storetest: %v", err)
		}
	})
	s, _ := database(t, p)
	s.alone = true
	return s
}

func mariadbPrograms(t testing.TB) (mariadbd, install string) {
	t.Helper()
	return program(t, "mariadbd"), program(t, "mariadb-install-db")
}

// database makes an empty database with a name that no other test has.
func database(t testing.TB, p *process) (s *Server, name string) {
	t.Helper()
	name = fmt.Sprintf("test_%016x", rand.Uint64())
	if err := admin(p.socket, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
		t.Fatalf("storetest: making a database: %v", err)
	}
	s = &Server{Addr: p.addr, Socket: p.socket, t: t, process: p}
	s.at = func(network, addr string) string { return dsn(network, addr, name).FormatDSN() }
	s.DSN = s.At(s.Addr)
	return s, name
}

func dsn(network, addr, database string) *mysql.Config {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.DBName = network, addr, "root", database
	return c
}

// connector is for this package's own connections: over the socket, and silent while the server is still starting.
func connector(socket string) (driver.Connector, error) {
	c := dsn("unix", socket, "")
	c.Logger = log.New(io.Discard, "", 0)
	return mysql.NewConnector(c)
}

// admin runs one statement of this package's own making.
func admin(socket, statement string) error {
	c, err := connector(socket)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// launchMariaDB starts a server on a copy of the template.
func launchMariaDB(mariadbd, install string, options ...string) (*process, error) {
	template, err := mariadbTemplate(mariadbd, install)
	if err != nil {
		return nil, fmt.Errorf("the template of MariaDB's data: %w", err)
	}
	folder, err := Folder("mariadb")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(folder, "data")
	if err := os.CopyFS(data, os.DirFS(template)); err != nil {
		return nil, err
	}
	p := &process{name: "mariadbd", folder: folder, socket: filepath.Join(folder, "s"), log: filepath.Join(folder, "log"), ready: mariadbReady}
	p.args = func(addr string) []string {
		args := append([]string{mariadbd, "--no-defaults", "--datadir=" + data, "--socket=" + p.socket, "--pid-file=" + filepath.Join(folder, "pid"),
			"--bind-address=127.0.0.1", "--port=" + portOf(addr), "--skip-name-resolve", "--max-connections=500",
			"--innodb-flush-log-at-trx-commit=1", "--character-set-server=utf8mb4", "--tmpdir=" + folder}, installed...)
		if os.Getuid() == 0 {
			args = append(args, "--user=root")
		}
		return append(args, options...)
	}
	return p, p.launch()
}

func mariadbReady(ctx context.Context, socket string) error {
	c, err := connector(socket)
	if err != nil {
		return err
	}
	conn, err := c.Connect(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// mariadbTemplate returns a data folder as mariadb-install-db leaves it, to be copied. It is made once for each user
// and version of mariadbd and kept in the user's cache: making it takes about a second, and copying it a tenth.
func mariadbTemplate(mariadbd, install string) (string, error) {
	version, err := exec.Command(mariadbd, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", mariadbd, err)
	}
	key := sha256.Sum256(fmt.Appendf(version, "%q", installed))
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, fmt.Sprintf("mariadb-%x", key[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil // it was renamed to this when it was whole
	}
	lock, err := lockFile(path+".lock", syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(path); err == nil {
		return path, nil // another test binary was first
	}
	unfinished := path + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	args := append([]string{"--no-defaults", "--datadir=" + unfinished, "--auth-root-authentication-method=normal", "--skip-test-db"}, installed...)
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.Command(install, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", install, err, out)
	}
	return path, os.Rename(unfinished, path)
}

// cacheFolder is the user's cache, or the folder of the runs for a user who has no home.
func cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return base()
	}
	path := filepath.Join(cache, "gameserverd-storetest")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return base() // a home that cannot be written
	}
	return path, nil
}
