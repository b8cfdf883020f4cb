package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"gameserverd/internal/config"
	"gameserverd/internal/ctl"
)

// healthy is a machine on which all is well for the default configuration.
func healthy() *Facts {
	return &Facts{
		Now:         time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Daemon:      DaemonFacts{Socket: "data/ctl.sock", Err: fs.ErrNotExist},
		Descriptors: DescriptorFacts{Of: "a daemon", Limit: 1 << 20, Fits: 1 << 20},
		Kernel:      KernelFacts{Somaxconn: 4096, SynBacklog: 4096, Syncookies: 1, PortLow: 32768, PortHigh: 60999},
		Clock:       ClockFacts{Synchronised: true},
		Memory:      MemoryFacts{Total: 16 << 30, Available: 8 << 30},
		Data:        DataFacts{Path: "/data", Exists: true, Mode: fs.ModeDir | 0o750, Free: 50 << 30, Size: 100 << 30, FreeInodes: 1e6, Inodes: 2e6, FS: "ext4", FSProblem: OK},
		Ports:       []PortFacts{{"listen.tcp", "127.0.0.1:5700", nil}, {"listen.admin", "127.0.0.1:5780", nil}},
		SQL:         SQLFacts{Place: "data/x.db", Version: "3.5", RoundTrip: time.Millisecond, Flush: -1},
		Redis:       RedisFacts{Embedded: true},
	}
}

func TestAHealthyMachine(t *testing.T) {
	for _, one := range Judge(config.Default(), healthy()) {
		if one.Grade != OK || one.Seen == "" {
			t.Errorf("%+v", one)
		}
	}
}

// Each case changes one thing of a healthy machine, and one finding changes.
func TestRules(t *testing.T) {
	jwt := func(c *config.Config) { c.Auth.Mode = "jwt" }
	withTLS := func(c *config.Config) { c.Listen.TLS.CertFile, c.Listen.TLS.KeyFile = "c.pem", "k.pem" }
	mysql := func(c *config.Config) { c.Store.SQL.Driver, c.Store.SQL.DSN = "mysql", "u:p@tcp(h:3306)/d" }
	redis := func(c *config.Config) { c.Store.Redis.URL = "redis://h" }
	good := RedisFacts{Version: "7", RoundTrip: time.Millisecond, Role: "master", Policy: "noeviction"}
	denied := fmt.Errorf("open: %w", fs.ErrPermission)
	for name, c := range map[string]struct {
		cfg   func(*config.Config) // nil: the default
		facts func(*Facts)
		check string
		grade Grade
		seen  string
		do    string
	}{
		"serves":        {nil, func(f *Facts) { f.Daemon = DaemonFacts{Status: &ctl.Status{Ready: true, PID: 12}}; taken(f) }, "daemon", OK, "process 12 serves", ""},
		"not ready":     {nil, func(f *Facts) { f.Daemon = DaemonFacts{Status: &ctl.Status{PID: 12, Reason: "starting"}}; taken(f) }, "daemon", Bad, "starting", "status says more"},
		"crashed":       {nil, func(f *Facts) { f.Daemon.Err = syscall.ECONNREFUSED }, "daemon", Warn, "crashed", "journalctl"},
		"not ours":      {nil, func(f *Facts) { f.Daemon.Err = denied }, "daemon", Warn, "may not ask", "root"},
		"hangs":         {nil, func(f *Facts) { f.Daemon.Err = errors.New("timeout") }, "daemon", Bad, "timeout", "restart"},
		"descriptors":   {nil, func(f *Facts) { f.Descriptors = DescriptorFacts{"a daemon", 20000, 19000} }, "descriptors", Warn, "19000", "LimitNOFILE"},
		"few":           {nil, func(f *Facts) { f.Descriptors = DescriptorFacts{"a daemon", 100, 28} }, "descriptors", Bad, "28", "LimitNOFILE"},
		"unknown limit": {nil, func(f *Facts) { f.Descriptors.Limit = 0 }, "descriptors", Warn, "could not be read", "ulimit"},

		"taken":       {nil, func(f *Facts) { f.Ports[0].Err = syscall.EADDRINUSE }, "listen.tcp", Bad, "taken", "ss -ltnp 'sport = :5700'"},
		"no address":  {nil, func(f *Facts) { f.Ports[1].Err = syscall.EADDRNOTAVAIL }, "listen.admin", Bad, "no address", "ip -br addr"},
		"not allowed": {nil, func(f *Facts) { f.Ports[0].Err = syscall.EACCES }, "listen.tcp", Warn, "may not listen", "CAP_NET_BIND"},
		"odd":         {nil, func(f *Facts) { f.Ports[0].Err = errors.New("lookup x") }, "listen.tcp", Bad, "lookup x", "check"},
		"file changed": {nil, func(f *Facts) {
			f.Daemon = DaemonFacts{Status: &ctl.Status{Ready: true}}
			taken(f)
			f.Ports[0].Err = nil
		}, "listen.tcp", Warn, "does not listen", "restart"},

		"somaxconn":       {nil, func(f *Facts) { f.Kernel.Somaxconn = 128 }, "backlog", Warn, "128", "net.core.somaxconn=4096"},
		"no somaxconn":    {nil, func(f *Facts) { f.Kernel.Somaxconn = -1 }, "backlog", Warn, "could not", "sysctl"},
		"no cookies":      {nil, func(f *Facts) { f.Kernel.Syncookies, f.Kernel.SynBacklog = 0, 256 }, "backlog", Warn, "256", "tcp_syncookies=1"},
		"cookies":         {nil, func(f *Facts) { f.Kernel.SynBacklog = 256 }, "backlog", OK, "256", ""},
		"small server":    {func(c *config.Config) { c.Limits.MaxConnections = 100 }, func(f *Facts) { f.Kernel.Somaxconn = 128 }, "backlog", OK, "128", ""},
		"port in range":   {func(c *config.Config) { c.Listen.TCP = []string{"0.0.0.0:40000"} }, nil, "local ports", Warn, "0.0.0.0:40000", "ip_local_reserved_ports=40000"},
		"reserved":        {func(c *config.Config) { c.Listen.TCP = []string{"0.0.0.0:40000"} }, func(f *Facts) { f.Kernel.Reserved = []int{40000} }, "local ports", "", "", ""},
		"few local ports": {redis, func(f *Facts) { f.Kernel.PortHigh = f.Kernel.PortLow + 999; f.Redis = good }, "local ports", Warn, "1000 ports", "ip_local_port_range"},

		"clock":       {nil, func(f *Facts) { f.Clock.Synchronised = false }, "clock", Warn, "nobody", "timedatectl"},
		"clock error": {nil, func(f *Facts) { f.Clock = ClockFacts{Err: syscall.EPERM} }, "clock", Warn, "not permitted", "timedatectl"},
		"memory":      {nil, func(f *Facts) { f.Memory.Total = 1 << 30 }, "memory", Bad, "1024 MiB", "lower limits"},
		"near":        {nil, func(f *Facts) { f.Memory.Limit = 1700 << 20 }, "memory", Warn, "control group", "lower limits"},
		"no meminfo":  {nil, func(f *Facts) { f.Memory = MemoryFacts{} }, "memory", Warn, "could not", "free -m"},
		"overcommit":  {nil, func(f *Facts) { f.Memory.Overcommit, f.Memory.CommitLimit, f.Memory.Commit = 2, 4<<30, 3<<30 }, "overcommit", Warn, "1024 MiB", "overcommit_ratio"},
		"enough":      {nil, func(f *Facts) { f.Memory.Overcommit, f.Memory.CommitLimit = 2, 40<<30 }, "overcommit", "", "", ""},

		"not there": {nil, func(f *Facts) { f.Data.Exists, f.Data.Mode = false, 0 }, "data folder", OK, "can be made", ""},
		"read only": {nil, func(f *Facts) { f.Data.Err = syscall.EROFS }, "data folder", Bad, "read-only", "mount"},
		"another's": {nil, func(f *Facts) { f.Data.Err = denied }, "data folder", Warn, "may not write", "chown"},
		"root's":    {nil, func(f *Facts) { f.Data.Err = denied; f.Root = true }, "data folder", Bad, "cannot be written", "mount"},
		"the daemon's": {nil, func(f *Facts) {
			f.Data.Err = denied
			f.Daemon = DaemonFacts{Status: &ctl.Status{Ready: true}}
			taken(f)
		}, "data folder", OK, "whose daemon runs", ""},
		"open to all":    {nil, func(f *Facts) { f.Data.Mode = fs.ModeDir | 0o777 }, "data folder", Bad, "0777", "chmod o="},
		"seen by all":    {nil, func(f *Facts) { f.Data.Mode = fs.ModeDir | 0o755 }, "data folder", Warn, "0755", "chmod o="},
		"full":           {nil, func(f *Facts) { f.Data.Free = 50 << 20 }, "disk space", Bad, "50 MiB", "make room"},
		"nearly full":    {nil, func(f *Facts) { f.Data.Free = 500 << 20 }, "disk space", Warn, "500 MiB", "make room"},
		"no inodes":      {nil, func(f *Facts) { f.Data.FreeInodes = 0 }, "disk space", Bad, "df -i", "make room"},
		"no inode count": {nil, func(f *Facts) { f.Data.FreeInodes, f.Data.Inodes = 0, 0 }, "disk space", OK, "GiB", ""},
		"no size":        {nil, func(f *Facts) { f.Data.Size = 0 }, "disk space", Warn, "could not", "df"},
		"in memory":      {nil, func(f *Facts) { f.Data.FS, f.Data.FSProblem, f.Data.FSProblemIs = fileSystemOf(0x01021994) }, "file system", Bad, "tmpfs", "data_dir"},
		"elsewhere": {mysql, func(f *Facts) {
			f.Data.FS, f.Data.FSProblem, f.Data.FSProblemIs = fileSystemOf(0x01021994)
			f.SQL.Flush = 1
		}, "file system", Warn, "tmpfs", "elsewhere"},
		"on nfs": {nil, func(f *Facts) { f.Data.FS, f.Data.FSProblem, f.Data.FSProblemIs = fileSystemOf(0x6969) }, "file system", Bad, "nfs", "data_dir"},

		"log":        {logTo, nil, "log.file", OK, "/log/x", ""},
		"no log":     {logTo, func(f *Facts) { f.LogFile = fs.ErrNotExist }, "log.file", Bad, "not exist", "make its folder"},
		"log denied": {logTo, func(f *Facts) { f.LogFile = denied }, "log.file", Warn, "may not", "root"},

		"open key":     {jwt, secret(0o644, nil), "auth.jwt.secret_file", Bad, "0644", "chmod o= /k"},
		"group's key":  {jwt, secret(0o640, nil), "auth.jwt.secret_file", OK, "0640", ""},
		"group writes": {jwt, secret(0o660, nil), "auth.jwt.secret_file", Warn, "0660", "chmod g-w"},
		"no key":       {jwt, secret(0, fs.ErrNotExist), "auth.jwt.secret_file", Bad, "not there", "CREDENTIALS_DIRECTORY"},
		"credential": {jwt, func(f *Facts) {
			secret(0, fs.ErrNotExist)(f)
			f.Secrets[0].Path = "k"
			f.Daemon = DaemonFacts{Status: &ctl.Status{Ready: true}}
			taken(f)
		}, "auth.jwt.secret_file", Warn, "only the daemon", "CREDENTIALS_DIRECTORY"},
		"keys elsewhere": {jwt, func(f *Facts) {
			f.Login = fs.ErrNotExist
			f.Daemon = DaemonFacts{Status: &ctl.Status{Ready: true}}
			taken(f)
		}, "login keys", Warn, "that runs has them", "CREDENTIALS_DIRECTORY"},
		"cert elsewhere": {withTLS, func(f *Facts) {
			f.TLS.Err = fs.ErrNotExist
			f.Daemon = DaemonFacts{Status: &ctl.Status{Ready: true}}
			taken(f)
		}, "certificate", Warn, "that runs has it", "CREDENTIALS_DIRECTORY"},
		"key denied":     {jwt, secret(0, denied), "auth.jwt.secret_file", Warn, "could not", "root"},
		"pipe":           {jwt, secret(fs.ModeNamedPipe|0o666, nil), "auth.jwt.secret_file", OK, "no plain file", ""},
		"keys":           {jwt, nil, "login keys", OK, "can be used", ""},
		"bad keys":       {jwt, func(f *Facts) { f.Login = errors.New("the secret has 7 bytes") }, "login keys", Bad, "7 bytes", "login.md"},
		"keys denied":    {jwt, func(f *Facts) { f.Login = denied }, "login keys", Warn, "may not", "root"},
		"certificate":    {withTLS, ends(90), "certificate", OK, "in 90 days", ""},
		"ends soon":      {withTLS, ends(10), "certificate", Warn, "in 10 days", "new certificate"},
		"ends now":       {withTLS, ends(2), "certificate", Bad, "in 2 days", "new certificate"},
		"ended":          {withTLS, ends(-1), "certificate", Bad, "ended on 2026-01-01", "new certificate"},
		"no certificate": {withTLS, func(f *Facts) { f.TLS.Err = errors.New("not PEM") }, "certificate", Bad, "not PEM", "Certificates"},
		"cert denied":    {withTLS, func(f *Facts) { f.TLS.Err = denied }, "certificate", Warn, "may not", "root"},

		"no database":   {nil, func(f *Facts) { f.SQL = SQLFacts{Place: "p", Absent: true} }, "store.sql", OK, "first start", ""},
		"sqlite broken": {nil, func(f *Facts) { f.SQL = SQLFacts{Place: "p", Err: errors.New("not a database")} }, "store.sql", Bad, "not a database", "Backups"},
		"sql away":      {mysql, func(f *Facts) { f.SQL = SQLFacts{Place: "h/d", Err: errors.New("refused")} }, "store.sql", Bad, "refused", "store.sql.dsn"},
		"slow sql":      {nil, func(f *Facts) { f.SQL.RoundTrip = 20 * time.Millisecond }, "store.sql", Warn, "20ms", "nearer"},
		"far sql":       {nil, func(f *Facts) { f.SQL.RoundTrip = time.Second }, "store.sql", Bad, "1s", "store.timeout is 2s"},
		"behind":        {nil, func(f *Facts) { f.SQL.Behind = 2 }, "tables", OK, "2 migrations", ""},
		"newer":         {nil, func(f *Facts) { f.SQL.Newer = true }, "tables", Bad, "newer", "newer"},
		"skew":          {mysql, func(f *Facts) { f.SQL.Skew, f.SQL.Flush = -2*time.Second, 1 }, "store.sql", Warn, "-2s", "timedatectl"},
		"far skew":      {mysql, func(f *Facts) { f.SQL.Skew, f.SQL.Flush = time.Minute, 1 }, "store.sql", Bad, "1m0s", "timedatectl"},
		"packet":        {mysql, func(f *Facts) { f.SQL.Packet, f.SQL.Flush = 1<<20, 1 }, "store.sql", Bad, "1048576", "max_allowed_packet = 16777216"},
		"large frames":  {func(c *config.Config) { mysql(c); c.Limits.MaxFrameBytes = 16777215 }, func(f *Facts) { f.SQL.Packet, f.SQL.Flush = 16<<20, 1 }, "store.sql", Bad, "16777216", "17825791"},
		"not flushed":   {mysql, func(f *Facts) { f.SQL.Flush = 2 }, "store.sql", Warn, "is 2", "power failure"},
		"few sql":       {mysql, func(f *Facts) { f.SQL.Connections, f.SQL.Flush = 10, 1 }, "store.sql", Warn, "is 10", "max_connections = 72"},

		"redis":         {redis, func(f *Facts) { f.Redis = good }, "store.redis", OK, "version 7", ""},
		"redis away":    {redis, func(f *Facts) { f.Redis = RedisFacts{Err: errors.New("refused")} }, "store.redis", Bad, "refused", "store.redis.url"},
		"slow redis":    {redis, func(f *Facts) { f.Redis = good; f.Redis.RoundTrip = 3 * time.Millisecond }, "store.redis", Warn, "3ms", "nearer"},
		"replica":       {redis, func(f *Facts) { f.Redis = good; f.Redis.Role = "slave" }, "store.redis", Bad, "replica", "master"},
		"evicts":        {redis, func(f *Facts) { f.Redis = good; f.Redis.Policy, f.Redis.MaxMemory = "allkeys-lru", 1<<30 }, "store.redis", Warn, "allkeys-lru", "noeviction"},
		"never evicts":  {redis, func(f *Facts) { f.Redis = good; f.Redis.Policy = "allkeys-lru" }, "store.redis", OK, "version 7", ""},
		"says no limit": {redis, func(f *Facts) { f.Redis = good; f.Redis.read("maxmemory:0\r\nmaxmemory_policy:volatile-lru\r\n") }, "store.redis", OK, "version 7", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, f := config.Default(), healthy()
			if c.cfg != nil {
				c.cfg(cfg)
			}
			if strings.Contains(cfg.Store.SQL.Driver, "mysql") {
				f.SQL.Flush = 1
			}
			if c.facts != nil {
				c.facts(f)
			}
			hit := c.grade == ""
			for _, one := range Judge(cfg, f) {
				switch {
				case one.Check != c.check && one.Grade != OK && (c.grade != "" || one.Check == c.check):
					t.Errorf("also %+v", one)
				case (one.Grade == OK) != (one.Do == "") || one.Seen == "":
					t.Errorf("no remedy: %+v", one)
				case one.Check == c.check && c.grade == "":
					t.Errorf("not wanted: %+v", one)
				case one.Check == c.check && one.Grade == c.grade && strings.Contains(one.Seen, c.seen) && strings.Contains(one.Do, c.do):
					hit = true
				}
			}
			if !hit {
				t.Errorf("no %s %s with %q and %q in %+v", c.grade, c.check, c.seen, c.do, Judge(cfg, f))
			}
		})
	}
}

// taken makes the ports those of the daemon.
func taken(f *Facts) {
	for i := range f.Ports {
		f.Ports[i].Err = syscall.EADDRINUSE
	}
}

func logTo(c *config.Config) { c.Log.File = "/log/x" }

func secret(mode fs.FileMode, err error) func(*Facts) {
	return func(f *Facts) {
		f.Secrets = []SecretFacts{{Key: "auth.jwt.secret_file", Path: "/k", Mode: mode, Err: err}}
	}
}

func ends(days int) func(*Facts) {
	return func(f *Facts) {
		f.TLS.Until = f.Now.Add(time.Duration(days)*24*time.Hour + time.Hour*time.Duration(min(days, 1)))
	}
}

func TestTextAndJSON(t *testing.T) {
	all := []Finding{ok("a", "one"), ok("long", "two\nlines").do(Warn, "this\nand that"), ok("b", "three").do(Bad, "more")}
	var b strings.Builder
	if err := WriteText(&b, all); err != nil {
		t.Fatal(err)
	}
	want := `ok    a     one
warn  long  two
            lines
            -> this
               and that
bad   b     three
            -> more
1 ok, 1 warnings, 1 bad
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := WriteJSON(&b, all[:2]); err != nil || !strings.HasPrefix(b.String(), "{\n  \"ok\": true,") || !strings.Contains(b.String(), `"do": "this\nand that"`) {
		t.Errorf("%v\n%s", err, b.String())
	}
	if Worst(all) != Bad || Worst(all[:2]) != Warn || Worst(all[:1]) != OK {
		t.Error("the worst is another")
	}
}

// Who may not enter the data folder knows nothing of the database in it.
func TestAnotherUsersDatabase(t *testing.T) {
	for root, want := range map[bool]Grade{false: Warn, true: Bad} {
		f := healthy()
		f.Root, f.Data.Err, f.SQL.Err = root, fs.ErrPermission, errors.New("unable to open database file")
		for _, one := range Judge(config.Default(), f) {
			if one.Check == "store.sql" && one.Grade != want {
				t.Errorf("root %v: %+v", root, one)
			}
		}
	}
}
