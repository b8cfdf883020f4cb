package doctor

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/ctl"
	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

var options = Options{
	ConnectionsWithin: func(descriptors uint64, _ int) int { return int(min(descriptors, 1<<30)) },
	LogFile:           func(string) error { return nil },
}

// anywhere is a configuration of a folder of its own with ports that are free.
func anywhere(t *testing.T) *config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	cfg.Listen.TCP, cfg.Listen.Admin = []string{"127.0.0.1:0"}, ""
	return cfg
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// find is the first finding of a check.
func find(t *testing.T, all []Finding, check string) Finding {
	t.Helper()
	i := slices.IndexFunc(all, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("no %s in %+v", check, all)
	}
	return all[i]
}

// What is read of the real machine is there.
func TestLookAtThisMachine(t *testing.T) {
	cfg := anywhere(t)
	f := Look(testContext(t), cfg, options)
	if f.Descriptors.Limit == 0 || f.Kernel.Somaxconn <= 0 || f.Kernel.PortLow <= 0 || f.Kernel.PortHigh <= f.Kernel.PortLow ||
		f.Memory.Total == 0 || f.Memory.Available == 0 || f.Memory.Overcommit < 0 || f.Data.Size == 0 || f.Data.FS == "" || f.Clock.Err != nil {
		t.Errorf("%+v", f)
	}
	if f.Data.Err != nil || f.Data.Exists || !f.SQL.Absent || !f.Redis.Embedded || f.Ports[0].Err != nil {
		t.Errorf("%+v", f)
	}
	if _, err := os.Stat(cfg.DataDir); !os.IsNotExist(err) {
		t.Errorf("it made the data folder: %v", err)
	}
}

func TestLookAtAFolderThatIsNotWritable(t *testing.T) {
	if err := writable("/absent/folder"); err == nil || !strings.Contains(err.Error(), "/absent/folder") {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := lookData(file); f.Err == nil || !strings.Contains(f.Err.Error(), "no folder") {
		t.Errorf("%+v", f)
	}
}

func TestLookAtPortsAndSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	u, err := net.Listen("unix", filepath.Join(dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	cfg := anywhere(t)
	cfg.Listen.TCP = []string{l.Addr().String(), "unix:" + dir + "/live", "unix:" + dir + "/free", "192.0.2.1:5700"}
	all := Judge(cfg, Look(testContext(t), cfg, options))
	var grades []string
	for _, one := range all {
		if one.Check == "listen.tcp" {
			grades = append(grades, string(one.Grade)+" "+strings.Fields(one.Seen)[len(strings.Fields(one.Seen))-1])
		}
	}
	if want := []string{"bad data_dir", "bad data_dir", "ok free", "bad 192.0.2.1:5700"}; !slices.Equal(grades, want) {
		t.Errorf("%q, want %q", grades, want)
	}
}

func TestLookAtADaemon(t *testing.T) {
	cfg := anywhere(t)
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	daemon := ctl.Daemon{Status: func() ctl.Status { return ctl.Status{Ready: true, PID: os.Getpid(), Version: "v1"} }}
	s, err := ctl.New(cfg.DataDir, daemon, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	f := Look(testContext(t), cfg, options)
	if f.Daemon.Status == nil || !strings.HasPrefix(f.Descriptors.Of, "the daemon, process ") {
		t.Errorf("%+v %+v", f.Daemon, f.Descriptors)
	}
	s.Close(testContext(t))
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestLookAtSecrets(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef0123456789abcdef"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "c.yaml")
	text := "data_dir: " + dir + "\nauth: {mode: jwt, jwt: {secret_file: " + key + "}}\nlisten: {tls: {cert_file: /absent/c, key_file: /absent/k}}\n" +
		"admin: {token_file: " + key + "}\nmetrics: {influx: {token_file: /absent/t}}\n" +
		"store: {sql: {driver: mysql, dsn: 'game:hunter2@tcp(127.0.0.1:1)/game'}, redis: {url: 'redis://:hunter2@127.0.0.1:1'}, timeout: 100ms}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadFile(file) // make test has GAMESERVERD_ variables of its own
	if err != nil {
		t.Fatal(err)
	}
	o := options
	o.File = file
	all := Judge(cfg, Look(testContext(t), cfg, o))
	for _, check := range []string{"auth.jwt.secret_file", "listen.tls.key_file", "admin.token_file", "metrics.influx.token_file", "password of store.sql.dsn", "password of store.redis.url", "certificate", "store.sql", "store.redis"} {
		if one := find(t, all, check); one.Grade != Bad {
			t.Errorf("%+v", one)
		}
	}
	if one := find(t, all, "login keys"); one.Grade != OK {
		t.Errorf("%+v", one)
	}
	var b strings.Builder
	if err := WriteText(&b, all); err != nil || strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "0123456789abcdef0") {
		t.Errorf("%v; it shows a secret:\n%s", err, b.String())
	}
}

func TestLookAtStores(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		cfg := anywhere(t)
		cfg.Store.SQL.Driver, cfg.Store.SQL.DSN = s.Driver, s.DSN
		cfg.Store.Redis.URL = storetest.Redis(t).URL
		db, err := store.OpenSQL(store.SQLOptions{Driver: store.Driver(s.Driver), DSN: s.DSN})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close(testContext(t))
		if err := db.Ping(testContext(t)); err != nil { // makes SQLite's file
			t.Fatal(err)
		}
		f := Look(testContext(t), cfg, options)
		if f.SQL.Err != nil || f.SQL.Behind == 0 || f.SQL.RoundTrip <= 0 || f.SQL.Version == "" {
			t.Errorf("before the tables: %+v", f.SQL)
		}
		if _, err := schema.Up(testContext(t), db, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		f = Look(testContext(t), cfg, options)
		if f.SQL.Err != nil || f.SQL.Behind != 0 || f.SQL.Newer || f.SQL.Skew.Abs() > time.Second {
			t.Errorf("%+v", f.SQL)
		}
		if s.Driver == "mysql" && (f.SQL.Packet == 0 || f.SQL.Flush < 0 || f.SQL.Connections == 0) {
			t.Errorf("%+v", f.SQL)
		}
		if f.Redis.Err != nil || f.Redis.Version == "" || f.Redis.RoundTrip <= 0 || f.Redis.Role != "master" || f.Redis.Policy == "" {
			t.Errorf("%+v", f.Redis)
		}
	})
}

func TestPortList(t *testing.T) {
	for s, want := range map[string][]int{
		"": nil, "\n": nil, "5700": {5700}, "80,5700-5702,9000": {5700, 5701, 5702}, "x,5701-y,5703": {5703}, "1-65535": {5699, 5700, 5701, 5702, 5703},
	} {
		if got := portList(s, 5699, 5703); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

// What the kernel and Redis say is read without a panic, whatever it is.
func FuzzReaders(f *testing.F) {
	for _, s := range []string{"MemTotal:       24683692 kB\n", "role:master\r\nmaxmemory:1073741824\r\nmaxmemory_policy:noeviction\r\n", "80,5700-5702,99999999999999999999", "-", "1-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		meminfo(s, "MemTotal")
		new(RedisFacts).read(s)
		if n := len(portList(s, 1, 100)); n > 100*(len(s)+1) {
			t.Errorf("%d ports of %q", n, s)
		}
	})
}
