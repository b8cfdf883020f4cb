package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// needRestart are the keys that a reload leaves as they are. A key is in this
// list or has the tag live.
var needRestart = []string{
	"data_dir", "listen.tcp", "listen.admin",
	"loop.count", "loop.slow_callback", "loop.workers", "loop.worker_queue",
	"auth.mode", "log.file", "log.format",
	"store.sql.driver", "store.sql.dsn", "store.sql.max_open", "store.sql.max_idle", "store.sql.max_lifetime",
	"store.redis.url", "store.redis.pool_size", "store.timeout", "store.start_timeout", "store.queue", "store.commit_batch",
	"store.player_linger", "store.linger_players", "store.linger_bytes", "game.boards", "game.boards_index",
	"worker.embedded", "worker.concurrency", "worker.queues", "worker.admin", "tasks.catch_up",
	"admin.console", "admin.audit_file", "metrics.instance", "metrics.influx.url", "metrics.influx.token_file", "metrics.influx.interval",
	"metrics.influx.max_buffer_bytes", "tracing.endpoint",
}

func TestEveryKeyIsLiveOrNeedsARestart(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal(Example(), &doc); err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	collect(comments, "", doc.Content[0])
	for _, f := range fields() {
		if f.live == slices.Contains(needRestart, f.key) {
			t.Errorf("%s: live is %v, named as needing a restart %v", f.key, f.live, !f.live)
		}
		words := strings.Join(strings.Fields(strings.ReplaceAll(comments[f.key], "#", "")), " ")
		if said := strings.HasSuffix(words, " Needs a restart."); said == f.live {
			t.Errorf("%s: live is %v, and the shipped file says: %s", f.key, f.live, words)
		}
	}
	for _, key := range needRestart {
		if !slices.Contains(keys(), key) {
			t.Errorf("there is no key %s", key)
		}
	}
}

// collect adds the comment above each key of a section of the file.
func collect(into map[string]string, prefix string, section *yaml.Node) {
	for i := 0; i < len(section.Content); i += 2 {
		name, value := section.Content[i], section.Content[i+1]
		into[prefix+name.Value] = name.HeadComment
		if value.Kind == yaml.MappingNode {
			collect(into, prefix+name.Value+".", value)
		}
	}
}

func load(t *testing.T, yaml string) *Config {
	t.Helper()
	c, err := parse("f", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDiff(t *testing.T) {
	before := load(t, `
limits: {max_frame_bytes: 64KiB, idle_timeout: 90s}
auth: {mode: jwt, jwt: {secret_file: [2025=/a/old, /a/nameless]}}
store: {sql: {driver: mysql, dsn: 'u:secret1@tcp(h:1)/db'}, redis: {url: 'redis://:secret1@h'}}
`)
	after := load(t, `
limits: {max_frame_bytes: 1MiB, idle_timeout: 1m30s}
auth: {mode: jwt, jwt: {secret_file: [2026=/a/new, 2025=/a/old, /a/nameless], public_key_file: /a/pub}}
store: {sql: {driver: mysql, dsn: 'u:secret2@tcp(h:1)/db'}, redis: {url: 'redis://:secret2@h2'}}
log: {level: debug}
`)
	want := []Change{
		{"limits.max_frame_bytes", "64KiB", "1MiB", true},
		{"auth.jwt.secret_file", "2025=***,***", "2026=***,2025=***,***", true},
		{"auth.jwt.public_key_file", "", "***", true},
		{"log.level", "info", "debug", true},
		{"store.sql.dsn", "u:***@tcp(h:1)/db", "u:***@tcp(h:1)/db (another one)", false},
		{"store.redis.url", "redis://:***@h", "redis://:***@h2", false},
	}
	if got := Diff(before, after); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got := Diff(before, before.clone()); got != nil {
		t.Errorf("of the same: %+v", got)
	}
}

// A reload takes over what is live, and nothing else, for every key there is.
func TestReloaded(t *testing.T) {
	before, other := Default(), Default()
	for _, f := range fields() {
		if f.kind == boolean {
			f.value(other).SetBool(!f.value(other).Bool())
		} else if f.kind >= integer { // a value unlike the default, whatever the key is
			if n := f.value(other).Int(); n == f.max {
				f.value(other).SetInt(n - 1)
			} else {
				f.value(other).SetInt(n + 1)
			}
		}
	}
	other.Game.Shop, other.Log.Level, other.DataDir = []string{"axe:1"}, "error", "elsewhere"
	after, err := before.Reloaded(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Diff(before, other) {
		if !c.Live && !slices.Contains(needRestart, c.Key) {
			t.Errorf("%s needs a restart", c.Key)
		}
	}
	for _, c := range Diff(before, after) {
		if !c.Live {
			t.Errorf("%s was taken over", c.Key)
		}
	}
	for _, c := range Diff(after, other) {
		if c.Live {
			t.Errorf("%s was not taken over", c.Key)
		}
	}
	if n := len(Diff(before, after)); n < 30 {
		t.Errorf("only %d keys were tried", n)
	}
	if before.Log.Level != "info" || after.Log.Level != "error" || after.DataDir != "./data" {
		t.Errorf("level %s, then %s; data in %s", before.Log.Level, after.Log.Level, after.DataDir)
	}
}

func TestReloadedKeepsWhereValuesComeFrom(t *testing.T) {
	before, after := load(t, "\ndata_dir: here\ngame: {mail_ttl: 1h}\n"), load(t, "data_dir: there\nlog: {level: warn}\n")
	got, err := before.Reloaded(after)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{"data_dir": "f:2", "log.level": "f:2"}
	if got.DataDir != "here" || got.Game.MailTTL != 720*time.Hour || !reflect.DeepEqual(got.sources, sources) {
		t.Errorf("%+v", got)
	}
}

// A change that only makes sense with a key that stays as it was is refused.
func TestReloadedRefusesHalfOfAChange(t *testing.T) {
	signed, dev := load(t, "auth: {mode: jwt, jwt: {secret_file: s}}"), load(t, "auth: {mode: dev}")
	var problems Problems
	if _, err := signed.Reloaded(dev); !errors.As(err, &problems) || problems[0].Key != "auth.mode" || problems[0].Where != "in force until a restart" {
		t.Errorf("no key is left, but: %v", err)
	}
	if _, err := dev.Reloaded(signed); err != nil {
		t.Error(err)
	}
}

func TestHoldsSecrets(t *testing.T) {
	for yaml, want := range map[string]bool{
		"": false, "store: {sql: {dsn: a.db}}": false, "store: {redis: {url: 'redis://h:1'}}": false,
		"store: {redis: {url: 'redis://:pass@h:1'}}":         true,
		"store: {redis: {url: 'redis://h:1?password=x'}}":    true,
		"store: {sql: {driver: mysql, dsn: 'u:secret@/db'}}": true,
		"store: {sql: {driver: mysql, dsn: 'u@/db'}}":        false,
		"auth: {mode: jwt, jwt: {secret_file: s}}":           true,
		"auth: {mode: jwt, jwt: {public_key_file: s}}":       false,
		"listen: {tls: {cert_file: /c, key_file: /k}}":       true,
	} {
		if got := load(t, yaml).HoldsSecrets(); got != want {
			t.Errorf("%s: %v", yaml, got)
		}
	}
}

// A TLS key where its file was wanted is not shown.
func TestAKeyInsteadOfItsFileIsNotShown(t *testing.T) {
	t.Setenv("GAMESERVERD_LISTEN_TLS_KEY_FILE", pemSecret)
	if _, err := Load(""); err == nil || strings.Contains(err.Error(), "MC4CAQ") {
		t.Errorf("%v", err)
	}
	if _, err := parse("f", []byte("listen: {tls: {cert_file: \""+strings.ReplaceAll(pemSecret, "\n", `\n`)+"\"}}")); err == nil || strings.Contains(err.Error(), "MC4CAQ") {
		t.Errorf("%v", err)
	}
}
