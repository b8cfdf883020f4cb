package config

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/viper"

	"gameserverd/internal/nearest"
)

// DefaultFile is read when no file is named and it is there.
const DefaultFile = "configs/gameserverd.yaml"

const envPrefix = "GAMESERVERD_"

// maxFile bounds the file: a wrong path may be anything, /dev/zero included.
const maxFile = 1 << 20

// Load returns the defaults, overlaid by the file at path (YAML; "": no file),
// overlaid by the environment. Everything that is wrong in the file, the
// environment or their combination is reported together: the error is then
// Problems. A file that cannot be read is any other error. Any goroutine.
func Load(path string) (*Config, error) {
	var raw []byte
	if path != "" {
		var err error
		if raw, err = read(path); err != nil {
			return nil, err
		}
	}
	return parse(path, raw)
}

// LoadFile is Load without the environment: where two files are compared, that
// would be stronger than both. Any goroutine.
func LoadFile(path string) (*Config, error) {
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	return parseFile(path, raw, nil)
}

// parse is Load with the file in memory.
func parse(path string, raw []byte) (*Config, error) {
	environment := map[string]string{}
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, envPrefix) {
			environment[name] = value
		}
	}
	return parseFile(path, raw, environment)
}

// parseFile reads the file, and the environment's variables with our prefix.
func parseFile(path string, raw []byte, environment map[string]string) (*Config, error) {
	v := viper.New()
	v.SetConfigType("yaml")
	for _, f := range fields() {
		v.SetDefault(f.key, f.def)
	}
	scan := scanner{path: path, lines: map[string]string{}, values: map[string]any{}}
	scan.document(raw)
	if err := v.MergeConfigMap(scan.values); err != nil {
		return nil, err
	}
	problems := append(scan.problems, unknownEnv(environment)...)

	// Values are taken key by key rather than unmarshalled together, so that
	// every bad one is found, and said in our words.
	c := Default()
	c.sources = map[string]string{}
	for _, f := range fields() {
		where, value := scan.lines[f.key], v.Get(f.key)
		if set, ok := environment[f.env()]; ok { // also when it is empty: GAMESERVERD_LISTEN_ADMIN= turns the admin server off
			where, value = f.env(), set
		}
		if where == "" || problems.has(f.key, where) {
			continue
		}
		if !f.set(c, value) {
			problems = append(problems, Problem{Key: f.key, Value: f.show(value), Where: where, Allowed: f.allowed()})
			continue
		}
		c.sources[f.key] = where
	}
	problems = append(problems, c.together()...)
	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

// Validate checks a Config that was not made by Load, or was changed after it,
// as Load does. The error is Problems. Any goroutine that owns c.
func (c *Config) Validate() error {
	var problems Problems
	scratch := new(Config)
	for _, f := range fields() {
		if s := f.format(c); !f.set(scratch, s) {
			problems = append(problems, Problem{Key: f.key, Value: f.show(s), Allowed: f.allowed()})
		}
	}
	problems = append(problems, c.together()...)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// together holds the rules that join several keys.
func (c *Config) together() Problems {
	return slices.Concat(c.devNeedsLoopback(), c.jwtNeedsKeys(), c.dsnFitsDriver(), c.tlsFilesTogether(), c.queuesAreOfUse())
}

// queuesAreOfUse: what names no queue waits in default, and somebody has to run
// something.
func (c *Config) queuesAreOfUse() (problems Problems) {
	if !slices.ContainsFunc(c.Worker.Queues, func(q string) bool { return strings.HasPrefix(q, "default:") }) {
		problems = append(problems, c.Wrong("worker.queues", "needs the queue default"))
	}
	if !slices.ContainsFunc(c.Worker.Queues, func(q string) bool { return !strings.HasSuffix(q, ":0") }) {
		problems = append(problems, c.Wrong("worker.queues", "all have the weight 0: nothing would be run; worker.embedded says whether serve runs tasks"))
	}
	return problems
}

func (c *Config) devNeedsLoopback() (problems Problems) {
	if c.Auth.Mode != "dev" {
		return nil
	}
	refuse := func(key, address string) {
		problems = append(problems, Problem{
			Key: key, Value: show(address), Where: c.sources[key],
			Allowed: "127.0.0.1, [::1], localhost or unix:/path while auth.mode is dev, which lets anyone be any player",
		})
	}
	for _, address := range c.Listen.TCP {
		if !isLocal(address) {
			refuse("listen.tcp", address)
		}
	}
	if c.Listen.Admin != "" && !isLocal(c.Listen.Admin) {
		refuse("listen.admin", c.Listen.Admin)
	}
	if c.Worker.Admin != "" && !isLocal(c.Worker.Admin) {
		refuse("worker.admin", c.Worker.Admin)
	}
	return problems
}

func (c *Config) dsnFitsDriver() Problems {
	dsn, allowed := c.Store.SQL.DSN, ""
	switch c.Store.SQL.Driver {
	case "mysql":
		if !isServerDSN(dsn) {
			allowed = "user:password@tcp(host:3306)/database or user:password@unix(/path)/database while store.sql.driver is mysql"
		}
	case "sqlite":
		if dsn != "" && !isDatabaseFile(dsn) {
			allowed = `a file's path, or "" for one in data_dir, while store.sql.driver is sqlite; a server needs store.sql.driver mysql`
		}
	}
	if allowed == "" {
		return nil
	}
	return Problems{{Key: "store.sql.dsn", Value: show(redact(dsn)), Where: c.sources["store.sql.dsn"], Allowed: allowed}}
}

// tlsFilesTogether refuses half a TLS configuration: clients would be served in
// plain that were to be protected.
func (c *Config) tlsFilesTogether() (problems Problems) {
	tls := c.Listen.TLS
	refuse := func(key, value, allowed string) {
		problems = append(problems, Problem{Key: key, Value: show(value), Where: c.sources[key], Allowed: allowed})
	}
	if tls.CertFile != "" && tls.KeyFile == "" {
		refuse("listen.tls.key_file", "", "the file of the key to listen.tls.cert_file")
	}
	if tls.CertFile != "" {
		return problems
	}
	for key, value := range map[string]string{"listen.tls.key_file": tls.KeyFile, "listen.tls.client_ca_file": tls.ClientCAFile} {
		if value != "" {
			refuse(key, value, `"" while listen.tls.cert_file is "": there is no TLS without it`)
		}
	}
	if tls.Plain == "refuse" {
		refuse("listen.tls.plain", tls.Plain, `allow while listen.tls.cert_file is "": nobody could connect`)
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return problems
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("config file: %s has more than %d bytes", path, maxFile)
	}
	return raw, nil
}

// unknownEnv reports variables with our prefix that name no key: most likely a
// setting that someone believes to be in force.
func unknownEnv(environment map[string]string) (problems Problems) {
	var known []string // without the prefix, which must not count as likeness
	for _, f := range fields() {
		known = append(known, strings.TrimPrefix(f.env(), envPrefix))
	}
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		rest := strings.TrimPrefix(name, envPrefix)
		if slices.Contains(known, rest) {
			continue
		}
		p := Problem{Key: name, Value: show(cleanFor(name)(environment[name])), Where: "environment", Allowed: noSuchKey}
		if near := nearest.Name(rest, known); near != "" {
			p.Nearest = envPrefix + near
		}
		problems = append(problems, p)
	}
	return problems
}
