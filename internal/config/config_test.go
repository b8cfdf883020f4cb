package config

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write configs/gameserverd.yaml from the tags")

func TestMain(m *testing.M) {
	// A setting of the developer's own must not decide what the tests see.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, envPrefix) {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

const shippedFile = "../../" + DefaultFile

func TestDefaults(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	want := &Config{
		DataDir: "./data",
		Listen: Listen{TCP: []string{"127.0.0.1:5700"}, Admin: "127.0.0.1:5780", Protocols: []string{"frames", "stream", "websocket"},
			TLS: TLS{Plain: "allow"}, WebSocket: WebSocket{Origins: []string{}}, ProxyProtocolFrom: []string{}},
		Loop: Loop{SlowCallback: 100 * time.Millisecond, Workers: 64, WorkerQueue: 4096},
		Limits: Limits{
			MaxConnections: 100_000, MaxFrameBytes: 1 << 20, MaxElements: 100_000,
			MaxWriteBufferBytes: 4 << 20, MaxTotalWriteBufferBytes: 256 << 20,
			MaxTotalInputBytes: 256 << 20, RateBurst: 100, MaxHandshakes: 1000, HandshakeTimeout: 10 * time.Second,
			MaxMailbox: 128, MaxMailboxBytes: 1 << 20, MaxConcurrent: 32,
			LoginTimeout: 30 * time.Second, IdleTimeout: 90 * time.Second, FrameTimeout: 10 * time.Second,
		},
		Auth:     Auth{Mode: "dev", JWT: JWT{SecretFile: []string{}, PublicKeyFile: []string{}, Leeway: 30 * time.Second}},
		Shutdown: Shutdown{Deadline: 5 * time.Second},
		Log:      Log{Level: "info", Format: "console"},
		Store: Store{
			SQL:     SQL{Driver: "sqlite", MaxOpen: 16, MaxIdle: 5, MaxLifetime: 30 * time.Minute},
			Redis:   Redis{URL: "embedded", PoolSize: 500},
			Timeout: 2 * time.Second, StartTimeout: time.Minute, Queue: 20_000, CommitBatch: 500,
			PlayerLinger: 10 * time.Minute, LingerPlayers: 100_000, LingerBytes: 256 << 20,
		},
		Game: Game{
			StartGold: 100, MailTTL: 720 * time.Hour, Shop: []string{"potion:10", "bomb:25", "shield:60", "sword:120"},
			Boards: []string{"main"}, BoardsIndex: "memory",
			DuelTimeout: 10 * time.Second, RoomMaxTextBytes: 1024, MaxRoomsPerPlayer: 32,
			DailyReward: DailyReward{At: "21:00", Zone: "UTC", Gold: 50},
		},
		Worker:  Worker{Embedded: true, Concurrency: 16, Queues: []string{"critical:6", "default:3", "low:1"}},
		Tasks:   Tasks{CatchUp: 6 * time.Hour, Schedules: []string{}},
		Admin:   Admin{Console: true, Hosts: []string{}},
		Metrics: Metrics{Influx: Influx{Interval: 10 * time.Second, MaxBufferBytes: 8 << 20}},
		Tracing: Tracing{OneIn: 100, MaxPerSecond: 100},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("defaults are\n%+v, want\n%+v", c, want)
	}
	for _, v := range c.Values() {
		if v.Source != "default" {
			t.Errorf("%s comes from %q", v.Key, v.Source)
		}
	}
}

// The shipped file documents every key exactly once, with its default.
func TestShippedFile(t *testing.T) {
	if *update {
		if err := os.WriteFile(shippedFile, Example(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(shippedFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, Example()) {
		t.Error("the shipped file is stale: go test ./internal/config -run ShippedFile -update")
	}
	c, err := Load(shippedFile)
	if err != nil {
		t.Fatal(err)
	}
	fromFile := c.Values()
	for i, v := range Default().Values() {
		if fromFile[i].Value != v.Value {
			t.Errorf("%s is %s in the file, %s by default", v.Key, fromFile[i].Value, v.Value)
		}
		if !strings.HasPrefix(fromFile[i].Source, shippedFile+":") {
			t.Errorf("%s is not in the file: it comes from %s", v.Key, fromFile[i].Source)
		}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	found := commented(t, "", doc.Content[0])
	if !slices.Equal(found, keys()) {
		t.Errorf("keys in the file:\n%v, want\n%v", found, keys())
	}
}

// commented lists the keys in a section of the file, each of which must have a
// comment, as must the sections.
func commented(t *testing.T, prefix string, section *yaml.Node) (found []string) {
	for i := 0; i < len(section.Content); i += 2 {
		name, value := section.Content[i], section.Content[i+1]
		if name.HeadComment == "" {
			t.Errorf("%s%s has no comment", prefix, name.Value)
		}
		if value.Kind == yaml.MappingNode {
			found = append(found, commented(t, prefix+name.Value+".", value)...)
		} else {
			found = append(found, prefix+name.Value)
		}
	}
	return found
}

func TestEveryKeyHasItsWords(t *testing.T) {
	envs := map[string]string{}
	for _, f := range fields() {
		if f.doc == "" || !strings.HasSuffix(f.doc, ".") {
			t.Errorf("%s: doc %q is no sentence", f.key, f.doc)
		}
		if f.allowed() == "one of " {
			t.Errorf("%s does not say what is allowed", f.key)
		}
		if other := envs[f.env()]; other != "" {
			t.Errorf("%s and %s share %s", f.key, other, f.env())
		}
		envs[f.env()] = f.key
	}
}

func TestOrderOfSources(t *testing.T) {
	file := write(t, `
limits:
  max_connections: 5
  max_mailbox: 6
game:
`)
	t.Setenv("GAMESERVERD_LIMITS_MAX_MAILBOX", "7")
	t.Setenv("GAMESERVERD_LISTEN_ADMIN", "")
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.MaxConnections != 5 || c.Limits.MaxMailbox != 7 || c.Limits.MaxConcurrent != 32 || c.Listen.Admin != "" || c.Game.StartGold != 100 {
		t.Errorf("loaded %+v", c)
	}
	sources := map[string]string{}
	for _, v := range c.Values() {
		sources[v.Key] = v.Source
	}
	for key, want := range map[string]string{
		"limits.max_connections": file + ":3", "limits.max_mailbox": "GAMESERVERD_LIMITS_MAX_MAILBOX",
		"listen.admin": "GAMESERVERD_LISTEN_ADMIN", "limits.max_concurrent": "default", "game.start_gold": "default",
	} {
		if sources[key] != want {
			t.Errorf("%s comes from %q, want %q", key, sources[key], want)
		}
	}
}

// A bad value in the file does not matter when the environment is stronger.
func TestEnvironmentHidesAWrongFileValue(t *testing.T) {
	t.Setenv("GAMESERVERD_LOG_LEVEL", "debug")
	c, err := parse("f", []byte("log:\n  level: loud\n"))
	if err != nil || c.Log.Level != "debug" {
		t.Fatalf("level %+v, error %v", c, err)
	}
}

func TestAccepted(t *testing.T) {
	for _, c := range []struct {
		yaml string
		get  func(*Config) any
		want any
	}{
		{"listen: {tcp: 'localhost:0'}", tcp, []string{"localhost:0"}},
		{"listen: {tcp: '[::1]:5700'}", tcp, []string{"[::1]:5700"}},
		{"listen: {tcp: 'unix:/run/gs.sock'}", tcp, []string{"unix:/run/gs.sock"}},
		{"listen: {tcp: ['127.0.0.1:1', 'unix:a']}", tcp, []string{"127.0.0.1:1", "unix:a"}},
		{"listen: {tcp: '127.0.0.1:1, 127.9.9.9:2'}", tcp, []string{"127.0.0.1:1", "127.9.9.9:2"}},
		{"listen: {tcp: '[::ffff:127.0.0.1]:2'}", tcp, []string{"[::ffff:127.0.0.1]:2"}},
		{"listen: {protocols: stream}", func(c *Config) any { return c.Listen.Protocols }, []string{"stream"}},
		{"listen: {admin: ''}", func(c *Config) any { return c.Listen.Admin }, ""},
		{"limits: {max_frame_bytes: 64KiB}", frame, 64 << 10},
		{"limits: {max_frame_bytes: '1 MiB'}", frame, 1 << 20},
		{"limits: {max_frame_bytes: 1}", frame, 1},
		{"limits: {max_frame_bytes: 16777215}", frame, 1<<24 - 1},
		{"limits: {max_frame_bytes: '4096'}", frame, 4096},
		{"limits: {max_frame_bytes: 0x1000}", frame, 4096},
		{"limits: {idle_timeout: 1m30s}", func(c *Config) any { return c.Limits.IdleTimeout }, 90 * time.Second},
		{"loop: {slow_callback: 0}", func(c *Config) any { return c.Loop.SlowCallback }, time.Duration(0)},
		{"loop.count: 3", func(c *Config) any { return c.Loop.Count }, 3},
		{"game: {start_gold: 9007199254740991}", func(c *Config) any { return c.Game.StartGold }, int64(1<<53 - 1)},
		{"log: &l {level: warn}\n", func(c *Config) any { return c.Log.Level }, "warn"},
		{"---\n# nothing\n", func(c *Config) any { return c.Log.Level }, "info"},
		{"", func(c *Config) any { return c.Log.Level }, "info"},
		{"\ufefflog: {level: error}", func(c *Config) any { return c.Log.Level }, "error"},
	} {
		got, err := parse("f", []byte(c.yaml))
		if err != nil {
			t.Errorf("%q: %v", c.yaml, err)
		} else if v := c.get(got); !reflect.DeepEqual(v, c.want) {
			t.Errorf("%q gives %v, want %v", c.yaml, v, c.want)
		}
	}
}

func tcp(c *Config) any   { return c.Listen.TCP }
func frame(c *Config) any { return c.Limits.MaxFrameBytes }

func TestRefused(t *testing.T) {
	const sizes = `bytes from 1 to 16777215, written as 65536, 64KiB, 1MiB or 1GiB`
	for _, c := range []struct{ yaml, want string }{
		{"limits: {max_frame_bytes: 2GiB}", `limits.max_frame_bytes: "2GiB" (f:1): allowed: ` + sizes},
		{"limits: {max_frame_bytes: 0}", `limits.max_frame_bytes: 0 (f:1): allowed: ` + sizes},
		{"limits: {max_frame_bytes: 1MB}", `limits.max_frame_bytes: "1MB" (f:1): allowed: ` + sizes},
		{"limits: {max_frame_bytes: 99999999999999999999KiB}", `limits.max_frame_bytes: "99999999999999999999KiB" (f:1): allowed: ` + sizes},
		{"limits: {max_frame_bytes: 9007199254740993TiB}", `limits.max_frame_bytes: "9007199254740993TiB" (f:1): allowed: ` + sizes},
		{"limits: {max_frame_bytes: 1.5}", `limits.max_frame_bytes: 1.5 (f:1): allowed: ` + sizes},
		{"limits: {max_mailbox: true}", `limits.max_mailbox: true (f:1): allowed: an integer from 1 to 1000000`},
		{"limits: {max_mailbox: 18446744073709551615}", `limits.max_mailbox: 18446744073709551615 (f:1): allowed: an integer from 1 to 1000000`},
		{"limits:\n  max_mailbox:", `limits.max_mailbox: no value (f:2): allowed: an integer from 1 to 1000000`},
		{"limits: {max_mailbox: [1]}", `limits.max_mailbox: [1] (f:1): allowed: an integer from 1 to 1000000`},
		{"limits: {idle_timeout: 90}", `limits.idle_timeout: 90 (f:1): allowed: a duration from 1ms to 720h, written as 500ms, 5s or 1m30s`},
		{"limits: {idle_timeout: -1s}", `limits.idle_timeout: "-1s" (f:1): allowed: a duration from 1ms to 720h, written as 500ms, 5s or 1m30s`},
		{"log: {level: loud}", `log.level: "loud" (f:1): allowed: one of debug, info, warn, error`},
		{"log: {level: 5}", `log.level: 5 (f:1): allowed: one of debug, info, warn, error`},
		{"log: {level: {a: b}}", `log.level: a section (f:1): allowed: one of debug, info, warn, error`},
		{"log: {level: !!int x}", `log.level: x (f:1): allowed: one of debug, info, warn, error`},
		{"log: loud", `log: "loud" (f:1): allowed: a section with keys under it`},
		{"log: {level: info, level: warn}", `log.level: "warn" (f:1): allowed: once; it is also at f:1`},
		{"log: {level: info}\nlog: {format: json}", `log (f:2): allowed: once; it is also at f:1`},
		{"log.level: info\nlog: {level: warn}", `log.level: "warn" (f:2): allowed: once; it is also at f:1`},
		{"auth: {mode: oauth}", `auth.mode: "oauth" (f:1): allowed: one of dev, jwt`},
		{"listen: {protocols: [frames, http]}", `listen.protocols: ["frames", "http"] (f:1): allowed: a list of frames, stream, websocket`},
		{"listen: {tls: {cert_file: a.pem}}", `listen.tls.key_file: "": allowed: the file of the key to listen.tls.cert_file`},
		{"listen: {tls: {key_file: k.pem}}", `listen.tls.key_file: "k.pem" (f:1): allowed: "" while listen.tls.cert_file is "": there is no TLS without it`},
		{"listen: {tls: {plain: refuse}}", `listen.tls.plain: "refuse" (f:1): allowed: allow while listen.tls.cert_file is "": nobody could connect`},
		{"listen: {websocket: {origins: play.example.com}}", `listen.websocket.origins: "play.example.com" (f:1): allowed: ` + checks["origin"].allowed},
		{"listen: {websocket: {origins: ['https://a.b/']}}", `listen.websocket.origins: ["https://a.b/"] (f:1): allowed: ` + checks["origin"].allowed},
		{"listen: {proxy_protocol_from: 10.1.0.0/8}", `listen.proxy_protocol_from: "10.1.0.0/8" (f:1): allowed: ` + checks["network"].allowed},
		{"listen: {protocols: []}", `listen.protocols: [] (f:1): allowed: a list of frames, stream, websocket`},
		{"listen: {protocols: [stream, stream]}", `listen.protocols: ["stream", "stream"] (f:1): allowed: a list of frames, stream, websocket`},
		{"limit: {max_mailbox: 4}", `limit: a section (f:1): no such key, nearest is limits`},
		{"max_mailbox: 4", `max_mailbox: 4 (f:1): no such key, nearest is limits.max_mailbox`},
		{"Log: {level: info}", `Log: a section (f:1): no such key, nearest is log`},
		{"log: {levle: info}", `log.levle: "info" (f:1): no such key, nearest is log.level`},
		{"zzzzzzzzz: []", `zzzzzzzzz: a list (f:1): no such key`},
		{"[a]", `f:1: allowed: sections such as listen: with keys under them`},
		{"log: {}\n---\nlog: {}", `f: allowed: one YAML document`},
		{"log:\n  level: a: b", `line 2: mapping values are not allowed in this context (f): allowed: YAML; quote a value that begins with [ or {, or has ": " in it`},
		{"log:\n\tlevel: info", `line 2: found character that cannot start any token (f): allowed: YAML; indent with spaces, not tabs`},
		{"listen: {tcp: [::1]:5700}", `did not find expected node content (f): allowed: YAML; quote a value that begins with [ or {, or has ": " in it`},
	} {
		_, err := parse("f", []byte(c.yaml))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.yaml, err, c.want)
		}
	}
}

func TestRefusedListenAddresses(t *testing.T) {
	for _, address := range []string{
		"", "localhost", "5700", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:05", "127.0.0.1:+5",
		"::1:5700", "[::1]", "http://localhost:1", "a b:1", "unix:", "unix:/" + strings.Repeat("x", 107), "unix:/a\x00b",
	} {
		c := Default()
		c.Listen.TCP = []string{address}
		var problems Problems
		if err := c.Validate(); !errors.As(err, &problems) || problems[0].Key != "listen.tcp" || strings.Contains(problems[0].Allowed, "dev") {
			t.Errorf("listen.tcp %q: %v", address, err)
		}
	}
}

func TestDevLoginNeedsLoopback(t *testing.T) {
	for _, address := range []string{"0.0.0.0:5700", ":5700", "[::]:5700", "192.0.2.1:1", "example.com:1", "localhost.example.com:1", "127.0.0.1.example.com:1"} {
		c := Default()
		c.Listen.TCP = []string{"127.0.0.1:1", address}
		c.Listen.Admin, c.Worker.Admin = address, address
		var problems Problems
		if err := c.Validate(); !errors.As(err, &problems) || len(problems) != 3 {
			t.Fatalf("%s: %v", address, err)
		}
		for i, key := range []string{"listen.tcp", "listen.admin", "worker.admin"} {
			want := key + `: "` + address + `": allowed: 127.0.0.1, [::1], localhost or unix:/path while auth.mode is dev, which lets anyone be any player`
			if problems[i].String() != want {
				t.Errorf("got %s\nwant %s", problems[i], want)
			}
		}
	}
	t.Setenv("GAMESERVERD_LISTEN_TCP", "0.0.0.0:5700")
	if _, err := Load(""); err == nil || !strings.Contains(err.Error(), "(GAMESERVERD_LISTEN_TCP)") {
		t.Errorf("by environment: %v", err)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	file := write(t, `
listen:
  tcp: 0.0.0.0:5700
  admi: ""
limits:
  max_frame_bytes: 2GiB
  max_frame_bytes: 1
auth: dev
log:
  level: loud
`)
	t.Setenv("GAMESERVERD_LOOP_COUNT", "")
	t.Setenv("GAMESERVERD_LIMITS_MAX_FRAME", "7")
	_, err := Load(file)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Key)
	}
	slices.Sort(got)
	want := []string{"GAMESERVERD_LIMITS_MAX_FRAME", "auth", "limits.max_frame_bytes", "limits.max_frame_bytes", "listen.admi", "listen.tcp", "log.level", "loop.count"}
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v:\n%v", got, want, err)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(problems) {
		t.Errorf("%d problems in %d lines:\n%v", len(problems), len(lines), err)
	}
	if !strings.Contains(err.Error(), `GAMESERVERD_LIMITS_MAX_FRAME: "7" (environment): no such key, nearest is GAMESERVERD_LIMITS_MAX_FRAME_BYTES`) {
		t.Errorf("the unknown variable is not explained:\n%v", err)
	}
}

func TestLongAndBinaryValuesStayOneLine(t *testing.T) {
	t.Setenv("GAMESERVERD_LOG_LEVEL", "\n\x1b[31m"+strings.Repeat("x", 10_000))
	_, err := Load("")
	if err == nil || len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("error is %q", err)
	}
}

func TestUnreadableFiles(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "absent.yaml"), t.TempDir(), "/dev/zero"} {
		_, err := Load(path)
		var problems Problems
		if err == nil || errors.As(err, &problems) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"0s": 0, "1ms": time.Millisecond, "90s": 90 * time.Second, "10m": 10 * time.Minute, "1h": time.Hour,
		"1h5m": 65 * time.Minute, "10m30s": 630 * time.Second, "1.5s": 1500 * time.Millisecond, "20m": 20 * time.Minute, "1h20m": 80 * time.Minute,
	} {
		if got := formatDuration(d); got != text {
			t.Errorf("%v is written %q, want %q", int64(d), got, text)
		}
		if back, err := time.ParseDuration(text); err != nil || back != d {
			t.Errorf("%q is read as %v", text, back)
		}
	}
}

// Whatever a file holds, Load either gives a valid Config or says why not.
func FuzzFile(f *testing.F) {
	f.Add(Example())
	for _, s := range []string{
		"", "---", "a: [", "log: {level: {}}", "log: &a {level: *a}", "? [a]\n: b", "1: 2", "<<: {log: {level: info}}",
		"listen: {tcp: ['127.0.0.1:1', null]}", "limits: !!binary AA==", "log.level: debug", "game: {start_gold: -9223372036854775808}", "\x00", "a: b: c",
		"listen:\n  tcp: !!set {a, b}", "log: {level: !foo info}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4<<10 {
			return // the YAML library is slow on long nonsense
		}
		c, err := parse("f", raw)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Fatalf("loaded, but not valid: %v", err)
			}
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 || c != nil {
			t.Fatalf("config %v, error %v", c, err)
		}
		if n := strings.Count(err.Error(), "\n"); n != len(problems)-1 {
			t.Fatalf("%d problems in %d lines: %q", len(problems), n+1, err)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"0", "1", "64KiB", "1 MiB", "-1", "9223372036854775807", "4611686018427387904KiB", "KiB", "1KiBKiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseSize(s); ok && (n < 0 || n > math.MaxInt64/2+1) {
			t.Fatalf("parseSize(%q) = %d", s, n)
		}
	})
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
