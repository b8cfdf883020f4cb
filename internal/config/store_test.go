package config

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every key, at whatever depth, can be set by its environment form, and that is
// stronger than the file.
func TestEveryKeyHasAnEnvironmentForm(t *testing.T) {
	other := map[string]string{ // where the default's neighbour is not allowed
		"data_dir": "/var/lib/gs", "listen.tcp": "127.0.0.1:1", "listen.admin": "", "listen.protocols": "stream", "auth.mode": "dev",
		"auth.jwt.secret_file": "a=/x,/y", "auth.jwt.public_key_file": "./k.pem", "auth.jwt.issuer": "us", "auth.jwt.audience": "players",
		"listen.tls.plain": "allow", "listen.websocket.origins": "https://a.b,*", "listen.proxy_protocol_from": "10.0.0.0/8,::1,unix", "log.file": "/var/log/g.log",
		"log.level": "debug", "log.format": "json", "store.sql.driver": "mysql", "store.sql.dsn": "u@/db", "store.redis.url": "redis://h:1/2",
		"store.timeout": "30s", "game.shop": "axe:7", "game.boards": "lap:lowest,main", "game.boards_index": "redis",
		"worker.embedded": "false", "worker.queues": "default:2,slow:1", "tasks.schedules": "reward.x=0_21_*_*_*;Europe/Berlin",
		"game.daily_reward.at": "04:05", "game.daily_reward.zone": "Europe/Berlin",
		"admin.console": "false", "admin.token_file": "/run/console.token", "admin.audit_file": "/var/log/audit.log", "admin.hosts": "game1,play.example.com",
		"metrics.instance": "game-1", "metrics.influx.url": "http://h:8086/write?db=game", "metrics.influx.token_file": "influx.token",
		"tracing.endpoint": "https://h:4318/v1/traces",
	}
	for _, f := range fields() {
		value, ok := other[f.key]
		if !ok {
			value = f.maxText
		}
		t.Run(f.key, func(t *testing.T) {
			if strings.HasPrefix(f.key, "store.sql.d") { // one needs the other
				t.Setenv("GAMESERVERD_STORE_SQL_DRIVER", "mysql")
				t.Setenv("GAMESERVERD_STORE_SQL_DSN", "u@/db")
			}
			t.Setenv(f.env(), value)
			c, err := Load(shippedFile)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range c.Values() {
				if v.Key == f.key && (v.Value != f.format(c) || f.format(c) != value || v.Source != f.env()) {
					t.Errorf("%+v, want %s", v, value)
				}
			}
		})
	}
}

func TestAcceptedOfStoreAndGame(t *testing.T) {
	for _, c := range []struct {
		yaml string
		get  func(*Config) any
		want any
	}{
		{"data_dir: /var/lib/gs", func(c *Config) any { return c.DataDir }, "/var/lib/gs"},
		{"store: {sql: {dsn: /srv/gs@1/players.db}}", dsn, "/srv/gs@1/players.db"},
		{"store: {sql: {driver: mysql, dsn: 'u:p@tcp(h:3306)/db?tls=true'}}", dsn, "u:p@tcp(h:3306)/db?tls=true"},
		{"store: {sql: {driver: mysql, dsn: 'u:p@unix(/run/my.sock)/db'}}", dsn, "u:p@unix(/run/my.sock)/db"},
		{"store: {sql: {driver: mysql, dsn: /db}}", dsn, "/db"},
		{"store.sql.max_open: 3", func(c *Config) any { return c.Store.SQL.MaxOpen }, 3},
		{"store.sql: {max_open: 3}", func(c *Config) any { return c.Store.SQL.MaxOpen }, 3},
		{"store: {sql.max_open: 3}", func(c *Config) any { return c.Store.SQL.MaxOpen }, 3},
		{"store: {sql: {max_open: 3}, queue: 4}\nstore.redis.pool_size: 5", func(c *Config) any {
			return []int{c.Store.SQL.MaxOpen, c.Store.Queue, c.Store.Redis.PoolSize, c.Store.CommitBatch}
		}, []int{3, 4, 5, 500}},
		{"store: {sql: }", dsn, ""},
		{"store: {redis: {url: 'rediss://:p@h'}}", redisURL, "rediss://:p@h"},
		{"store: {redis: {url: 'rediss-cluster://a:1,b:2'}}", redisURL, "rediss-cluster://a:1,b:2"},
		{"store: {redis: {url: unix:///run/redis.sock}}", redisURL, "unix:///run/redis.sock"},
		{"store: {linger_bytes: 1GiB}", func(c *Config) any { return c.Store.LingerBytes }, int64(1 << 30)},
		{"game: {mail_ttl: 36h}", func(c *Config) any { return c.Game.MailTTL }, 36 * time.Hour},
		{"game: {shop: [potion:10, 12:30, a_b.c-d:9007199254740991]}", shop, []string{"potion:10", "12:30", "a_b.c-d:9007199254740991"}},
		{"game: {shop: 'potion:10, bomb:2'}", shop, []string{"potion:10", "bomb:2"}},
		{"game: {shop: axe:1}", shop, []string{"axe:1"}},
		{"game: {shop: []}", shop, []string(nil)},
		{"game: {shop: [" + strings.Repeat("x", 64) + ":1]}", shop, []string{strings.Repeat("x", 64) + ":1"}},
		{"game: {boards: [main, lap:lowest]}", boards, []string{"main", "lap:lowest"}},
		{"game: {boards: ''}", boards, []string{}},
	} {
		got, err := parse("f", []byte(c.yaml))
		if err != nil {
			t.Errorf("%q: %v", c.yaml, err)
		} else if v := c.get(got); !reflect.DeepEqual(v, c.want) {
			t.Errorf("%q gives %v, want %v", c.yaml, v, c.want)
		} else if err := got.Validate(); err != nil {
			t.Errorf("%q was loaded, but: %v", c.yaml, err)
		}
	}
}

func dsn(c *Config) any      { return c.Store.SQL.DSN }
func redisURL(c *Config) any { return c.Store.Redis.URL }
func shop(c *Config) any     { return c.Game.Shop }
func boards(c *Config) any   { return c.Game.Boards }

func TestRefusedOfStoreAndGame(t *testing.T) {
	const (
		items  = `item:price, one, a list or none, no item twice; an item is 1 to 64 characters of a-z, 0-9, _, . and -, a price an integer from 1 to 9007199254740991`
		names  = `board, or board:lowest where the lowest score is the best; one, a list or none, no board twice; a board is 1 to 64 characters of a-z, 0-9, _, . and -`
		server = `user:password@tcp(host:3306)/database or user:password@unix(/path)/database while store.sql.driver is mysql`
		file   = `a file's path, or "" for one in data_dir, while store.sql.driver is sqlite; a server needs store.sql.driver mysql`
		redis  = `embedded, or a URL such as redis://user:password@host:6379/0; it begins with redis://, rediss://, unix://, redis+unix://, redis-sentinel://, rediss-sentinel://, redis-cluster://, rediss-cluster://`
	)
	for _, c := range []struct{ yaml, want string }{
		{"data_dir: ''", `data_dir: "" (f:1): allowed: a folder's path`},
		{"data_dir: {a: b}", `data_dir: a section (f:1): allowed: a folder's path`},
		{"data_dir: [a]", `data_dir: ["a"] (f:1): allowed: a folder's path`},
		{"data_dri: x", `data_dri: "x" (f:1): no such key, nearest is data_dir`},
		{"store: {data_dir: x}", `store.data_dir: "x" (f:1): no such key, nearest is data_dir`},
		{"store: {sql: sqlite}", `store.sql: "sqlite" (f:1): allowed: a section with keys under it`},
		{"store: {sql: {drivr: mysql}}", `store.sql.drivr: "mysql" (f:1): no such key, nearest is store.sql.driver`},
		{"store: {sqll: {driver: mysql}}", `store.sqll: a section (f:1): no such key, nearest is store.sql`},
		{"store: {sql: {driver: postgres}}", `store.sql.driver: "postgres" (f:1): allowed: one of sqlite, mysql`},
		{"store: {sql: {max_open: 4}}\nstore.sql.max_open: 5", `store.sql.max_open: 5 (f:2): allowed: once; it is also at f:1`},
		{"store: {sql: {max_open: 4}, sql: {max_idle: 4}}", `store.sql (f:1): allowed: once; it is also at f:1`},
		{"store: {sql: {driver: mysql}}", `store.sql.dsn: "": allowed: ` + server},
		{"store: {sql: {driver: mysql, dsn: ''}}", `store.sql.dsn: "" (f:1): allowed: ` + server},
		{"store: {sql: {driver: mysql, dsn: 'u:secret@tcp(h:1)/'}}", `store.sql.dsn: "u:***@tcp(h:1)/" (f:1): allowed: ` + server},
		{"store: {sql: {driver: mysql, dsn: 'mysql://u:secret@h/db'}}", `store.sql.dsn: "mysql://u:***@h/db" (f:1): allowed: ` + server},
		{"store: {sql: {dsn: 'u:secret@tcp(h:1)/db'}}", `store.sql.dsn: "u:***@tcp(h:1)/db" (f:1): allowed: ` + file},
		{"store: {sql: {dsn: ':memory:'}}", `store.sql.dsn: "***" (f:1): allowed: ` + file},
		{"store: {sql: {dsn: 'x.db?mode=memory'}}", `store.sql.dsn: "x.db?mode=memory" (f:1): allowed: ` + file},
		{"store: {sql: {dsn: [a]}}", `store.sql.dsn: no text (f:1): allowed: ` + checks["dsn"].allowed},
		{"store: {redis: {url: ''}}", `store.redis.url: "" (f:1): allowed: ` + redis},
		{"store: {redis: {url: 'localhost:6379'}}", `store.redis.url: "***" (f:1): allowed: ` + redis},
		{"store: {redis: {url: 'http://u:secret@h'}}", `store.redis.url: "http://u:***@h" (f:1): allowed: ` + redis},
		{"store: {redis: {url: 'redis://'}}", `store.redis.url: "redis://" (f:1): allowed: ` + redis},
		{"game: {shop: [potion]}", `game.shop: ["potion"] (f:1): allowed: ` + items},
		{"game: {shop: [potion:0]}", `game.shop: ["potion:0"] (f:1): allowed: ` + items},
		{"game: {shop: [potion:9007199254740992]}", `game.shop: ["potion:9007199254740992"] (f:1): allowed: ` + items},
		{"game: {shop: [potion:+1]}", `game.shop: ["potion:+1"] (f:1): allowed: ` + items},
		{"game: {shop: [Potion:1]}", `game.shop: ["Potion:1"] (f:1): allowed: ` + items},
		{"game: {shop: [':1']}", `game.shop: [":1"] (f:1): allowed: ` + items},
		{"game: {shop: [a:1, b:2, a:3]}", `game.shop: ["a:1", "b:2", "a:3"] (f:1): allowed: ` + items},
		{"game: {shop: [{a: 1}]}", `game.shop: [map[a:1]] (f:1): allowed: ` + items},
		{"game: {shop: [" + strings.Repeat("x", 65) + ":1]}", `game.shop: ["` + strings.Repeat("x", 65) + `:1"] (f:1): allowed: ` + items},
		{"game: {boards: [main, main:lowest]}", `game.boards: ["main", "main:lowest"] (f:1): allowed: ` + names},
		{"game: {boards: [main:low]}", `game.boards: ["main:low"] (f:1): allowed: ` + names},
		{"game: {boards: ['']}", `game.boards: [""] (f:1): allowed: ` + names},
		{"game: {boards: [a b]}", `game.boards: ["a b"] (f:1): allowed: ` + names},
	} {
		_, err := parse("f", []byte(c.yaml))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.yaml, err, c.want)
		}
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"embedded":                            "embedded",
		"data/players.db":                     "data/players.db",
		"/a:b/players.db":                     "/a:b/players.db",
		"tcp(h:3306)/db":                      "tcp(h:3306)/db",
		"/db":                                 "/db",
		"root@/db":                            "root@/db",
		"u:secret@tcp(h:3306)/db?tls=true":    "u:***@tcp(h:3306)/db?tls=true",
		"u:se@c:r/e?t@unix(/s)/db":            "u:***@unix(/s)/db",
		"u:secret@/db?mail=a@b":               "u:***@b",
		"u:secret/db":                         "***",
		"redis://h:6379/0":                    "redis://h:6379/0",
		"redis://:se/cr@et@h:6379":            "redis://:***@h:6379",
		"rediss://u:secret@h:6379/0":          "rediss://u:***@h:6379/0",
		"redis://secret@h:6379/0":             "redis://***@h:6379/0",
		"redis://h/0?sentinel_password=s&x=y": "redis://h/0?sentinel_password=***&x=y",
		"redis://h/0?x=y&Pass=secret":         "redis://h/0?x=y&Pass=***",
		"redis-sentinel://u:secret@a:1,b:2/m": "redis-sentinel://u:***@a:1,b:2/m",
	} {
		if got := redact(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}

	c, err := parse("f", []byte("store: {sql: {driver: mysql, dsn: 'u:secret@tcp(h:1)/db'}, redis: {url: 'redis://:secret@h:1/0'}}"))
	if err != nil {
		t.Fatal(err)
	}
	if c.SQLDSN() != "u:secret@tcp(h:1)/db" || c.Store.Redis.URL != "redis://:secret@h:1/0" {
		t.Errorf("the settings themselves are %q and %q", c.SQLDSN(), c.Store.Redis.URL)
	}
	if raw, err := json.Marshal(c.Values()); err != nil || strings.Contains(string(raw), ":secret") || strings.Count(string(raw), hidden) != 2 {
		t.Errorf("%v in %s", err, raw)
	}
	c.Store.Redis.URL = "amqp://:secret@h"
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("changed: %v", err)
	}
}

// No way of misplacing or misspelling a DSN puts its password on the screen.
func TestProblemsShowNoPassword(t *testing.T) {
	const bad = "'u:secret@tcp(h:1)/db'"
	for _, yaml := range []string{
		"store: {sql: {dns: " + bad + "}}", "store: {sql: " + bad + "}", "store: " + bad, "dsn: " + bad, "store: {sql: {dsn: " + bad + ", dsn: " + bad + "}}",
		"store: {sql: {dsn: !!int " + bad + "}}", "store: {sql: {dsn: [" + bad + "]}}", "store: {redis: {url: " + bad + "}}",
		"store: {sql: {dsn: *secret }}",
	} {
		if _, err := parse("f", []byte(yaml)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", yaml, err)
		}
	}
	t.Setenv("GAMESERVERD_STORE_SQL_DNS", "u:secret@tcp(h:1)/db")
	t.Setenv("GAMESERVERD_STORE_REDIS_URL", "//u:secret@h")
	_, err := Load("")
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 2 || strings.Contains(err.Error(), "secret") {
		t.Errorf("by environment: %v", err)
	}
}

func TestSQLDSN(t *testing.T) {
	c := Default()
	c.DataDir = "/var/lib/gs"
	if got := c.SQLDSN(); got != filepath.Join("/var/lib/gs", SQLFile) {
		t.Errorf("by default %q", got)
	}
	c.Store.SQL.DSN = "/else/where.db"
	if got := c.SQLDSN(); got != "/else/where.db" || c.SQLPlace() != got {
		t.Errorf("with a DSN %q, called %q", got, c.SQLPlace())
	}
	c.Store.SQL = SQL{Driver: "mysql", DSN: "u:secret@/db"}
	if c.SQLDSN() != "u:secret@/db" || c.SQLPlace() != "u:***@/db" {
		t.Errorf("with a password %q, called %q", c.SQLDSN(), c.SQLPlace())
	}
}

func TestLoadFileDoesNotReadTheEnvironment(t *testing.T) {
	file := write(t, "data_dir: here\nlog: {level: warn}\n")
	t.Setenv("GAMESERVERD_DATA_DIR", "there")
	t.Setenv("GAMESERVERD_LOG_LEVEL", "loud")
	t.Setenv("GAMESERVERD_NONSENSE", "1")
	c, err := LoadFile(file)
	if err != nil || c.DataDir != "here" || c.Log.Level != "warn" || c.Loop.Workers != 64 {
		t.Errorf("loaded %+v, error %v", c, err)
	}
	if c.sources["data_dir"] != file+":1" {
		t.Errorf("data_dir comes from %s", c.sources["data_dir"])
	}
	if _, err := LoadFile(filepath.Join(t.TempDir(), "absent.yaml")); err == nil {
		t.Error("an absent file was loaded")
	}
}

func TestSectionsAtEveryDepth(t *testing.T) {
	for _, want := range []string{"listen", "store", "store.sql", "store.redis", "game"} {
		if !slices.Contains(sections(), want) {
			t.Errorf("no section %s in %v", want, sections())
		}
	}
}

func TestQueuesAreOfUse(t *testing.T) {
	for queues, want := range map[string]string{
		"default:1,low:0": "", "default:0,low:1": "", "low:1": "needs the queue default", "default:0,low:0": "nothing would be run",
		"default:-1": "a weight an integer from 0 to 1000", "default:00": "a weight", "default:1001": "a weight", "default:1,default:2": "none twice",
	} {
		t.Setenv("GAMESERVERD_WORKER_QUEUES", queues)
		_, err := Load("")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", queues, err, want)
		}
	}
}
