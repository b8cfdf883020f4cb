// Package config is the daemon's configuration: one struct, filled at the
// start, and anew at each reload, from the built-in defaults, then a YAML file,
// then the environment, and read-only from then on. It does not act on any value
// and knows no other package of the daemon; whoever uses a value is handed it by
// internal/server.
//
// A key is one struct field, and a section of keys one struct: a field's tags
// hold the name, the default, what is allowed and what it does, and everything else is made from them: loading, the
// environment form, the list of problems, "check --show" and
// configs/gameserverd.yaml (after adding a field run
// `go test ./internal/config -run ShippedFile -update`).
//
// Invariant: a Config that Load returned holds only values that are allowed.
package config

import (
	"path/filepath"
	"time"
)

// The tags of a field, in this order:
//
//	key      name inside its section; the environment form is made from it
//	default  as one would write it in the file; a list is separated by commas
//	min max  bounds of a number, a size or a duration, inclusive
//	oneof    the only values allowed, separated by commas
//	check    a named check of text or of each item of a list, see checks
//	empty    "yes": a list may have no item
//	secret   "yes": may hold a password, which is never shown
//	unit     "bytes": sizes such as 64KiB are understood
//	live     "yes": a reload (SIGHUP) changes it; any other key needs a restart
//	doc      effect, unit and the meaning of 0; the comment in the file

// Config is every setting of the daemon. It is not changed after Load. Any
// goroutine.
type Config struct {
	DataDir  string   `key:"data_dir" default:"./data" check:"folder" doc:"Folder of all that the daemon writes, made at the start; relative to where the daemon is started. One daemon at a time uses it."`
	Listen   Listen   `key:"listen" doc:"Where the daemon listens."`
	Loop     Loop     `key:"loop" doc:"Event loops and the worker pool."`
	Limits   Limits   `key:"limits" doc:"What one connection, and all of them together, may use. What happens at each limit is in docs/protocol.md."`
	Auth     Auth     `key:"auth" doc:"Who may log in."`
	Shutdown Shutdown `key:"shutdown" doc:"SIGTERM and SIGINT."`
	Log      Log      `key:"log" doc:"The log."`
	Admin    Admin    `key:"admin" doc:"The pages for operators at listen.admin."`
	Metrics  Metrics  `key:"metrics" doc:"Numbers of how it runs: docs/metrics.md. Prometheus reads them at /metrics of listen.admin."`
	Tracing  Tracing  `key:"tracing" doc:"Spans of calls, for OpenTelemetry."`
	Store    Store    `key:"store" doc:"Where the players' state is kept: docs/storage.md."`
	Worker   Worker   `key:"worker" doc:"Who runs background tasks: docs/tasks.md."`
	Tasks    Tasks    `key:"tasks" doc:"Background tasks and their schedules: docs/tasks.md."`
	Game     Game     `key:"game" doc:"The built-in game."`

	sources map[string]string // immutable after Load; key to "FILE:LINE" or environment name, absent: default
}

// Listen says where the daemon accepts connections.
type Listen struct {
	TCP               []string  `key:"tcp" default:"127.0.0.1:5700" check:"listen" doc:"Addresses for clients: one, or a list. Port 0 takes a free port; without a host: all interfaces. Sockets that systemd hands over take their place."`
	Admin             string    `key:"admin" default:"127.0.0.1:5780" check:"address" doc:"Address of the admin HTTP server: /healthz, /readyz, /metrics, /debug/pprof/, and the console. Empty: off."`
	Protocols         []string  `key:"protocols" default:"frames,stream,websocket" oneof:"frames,stream,websocket" live:"yes" doc:"What clients may speak; the first byte of a connection selects one."`
	TLS               TLS       `key:"tls" doc:"TLS 1.2 and 1.3, on the same port as everything else: docs/operations.md."`
	WebSocket         WebSocket `key:"websocket" doc:"WebSocket, on the same port as everything else."`
	ProxyProtocolFrom []string  `key:"proxy_protocol_from" default:"" check:"network" empty:"yes" live:"yes" doc:"Load balancers that say whom they speak for, by the PROXY protocol, version 1 or 2. From these addresses a connection must begin with it; from others it is refused."`
}

// TLS says who the daemon is to its clients, and whom it takes for one.
type TLS struct {
	CertFile     string `key:"cert_file" default:"" check:"file" live:"yes" doc:"PEM file with the certificate, and those between it and the root behind it. Empty: no TLS. It is read again when it changes, and on SIGHUP."`
	KeyFile      string `key:"key_file" default:"" check:"file" live:"yes" doc:"PEM file with the certificate's key. A relative path is looked for in $CREDENTIALS_DIRECTORY first."`
	ClientCAFile string `key:"client_ca_file" default:"" check:"file" live:"yes" doc:"PEM file with the roots of clients' certificates: every TLS client must then have one. Empty: none is asked for."`
	Plain        string `key:"plain" default:"allow" oneof:"allow,refuse" live:"yes" doc:"refuse: where TLS is on, clients that do not speak it are refused, but for those on a unix socket."`
}

// WebSocket says which pages may connect.
type WebSocket struct {
	Origins []string `key:"origins" default:"" check:"origin" empty:"yes" live:"yes" doc:"Pages whose scripts may connect. Empty: only those of the host that is connected to. Clients that are no browsers send no origin, and may."`
}

// Loop sizes the event loops and the pool for blocking handlers.
type Loop struct {
	Count        int           `key:"count" default:"0" min:"0" max:"1024" doc:"Event loops. 0: one per CPU."`
	SlowCallback time.Duration `key:"slow_callback" default:"100ms" min:"0s" max:"1h" doc:"A handler that holds a loop longer than this is logged with its method and stack. 0s: off."`
	Workers      int           `key:"workers" default:"64" min:"1" max:"10000" doc:"Goroutines at most for handlers marked blocking; they start on demand."`
	WorkerQueue  int           `key:"worker_queue" default:"4096" min:"1" max:"10000000" doc:"Blocking calls that may wait for a worker; one more is answered resource_exhausted."`
}

// Limits bounds memory and time. All sizes are in bytes.
type Limits struct {
	MaxConnections           int           `key:"max_connections" default:"100000" min:"1" max:"10000000" live:"yes" doc:"Client connections at once; one more is closed with too_many_connections."`
	MaxConnectionsPerIP      int           `key:"max_connections_per_ip" default:"0" min:"0" max:"10000000" live:"yes" doc:"The same from one address; for IPv6 from one /64. 0: no limit."`
	ConnectionRatePerIP      int           `key:"connection_rate_per_ip" default:"0" min:"0" max:"1000000" live:"yes" doc:"New connections a second from one address, in the long run; ten times as many may come at once. One more is closed with too_many_connections. 0: no limit."`
	LoginRatePerIP           int           `key:"login_rate_per_ip" default:"0" min:"0" max:"1000000" live:"yes" doc:"Logins a second from one address, in the long run; ten times as many may come at once. One more is answered resource_exhausted. 0: no limit."`
	RatePerSecond            int           `key:"rate_per_second" default:"0" min:"0" max:"1000000" live:"yes" doc:"Requests and notifications a second of one session, in the long run. One more is answered resource_exhausted; a client of which as many again are refused, a burst of them or so many a second, is closed with rate_limited. 0: no limit."`
	RateBurst                int           `key:"rate_burst" default:"100" min:"1" max:"10000000" live:"yes" doc:"How many of them may come at once."`
	MaxFrameBytes            int           `key:"max_frame_bytes" default:"1MiB" min:"1" max:"16777215" unit:"bytes" live:"yes" doc:"Size of one message; a larger one closes the connection with frame_too_large."`
	MaxElements              int           `key:"max_elements" default:"100000" min:"16" max:"16777215" live:"yes" doc:"Values in one message, nested ones included; more is a protocol_error."`
	MaxFrameBytesBeforeLogin int           `key:"max_frame_bytes_before_login" default:"0" min:"0" max:"16777215" unit:"bytes" live:"yes" doc:"max_frame_bytes for connections that have not logged in. 0: the same."`
	MaxElementsBeforeLogin   int           `key:"max_elements_before_login" default:"0" min:"0" max:"16777215" live:"yes" doc:"max_elements for connections that have not logged in. 0: the same."`
	MaxWriteBufferBytes      int           `key:"max_write_buffer_bytes" default:"4MiB" min:"1KiB" max:"1GiB" unit:"bytes" live:"yes" doc:"Bytes that may wait to be sent to one client; over it the client is closed as slow_consumer."`
	MaxTotalWriteBufferBytes int           `key:"max_total_write_buffer_bytes" default:"256MiB" min:"1KiB" max:"1TiB" unit:"bytes" live:"yes" doc:"The same for all clients together. Near it connections are shed: docs/operations.md has the order."`
	MaxTotalInputBytes       int           `key:"max_total_input_bytes" default:"256MiB" min:"1KiB" max:"1TiB" unit:"bytes" live:"yes" doc:"Bytes received and not handled yet, of all clients together: half messages and mailboxes. Near it connections are shed as well."`
	MaxMailbox               int           `key:"max_mailbox" default:"128" min:"1" max:"1000000" live:"yes" doc:"Messages that may wait in one session; when full its socket is not read from."`
	MaxMailboxBytes          int           `key:"max_mailbox_bytes" default:"1MiB" min:"1KiB" max:"1GiB" unit:"bytes" live:"yes" doc:"The same in bytes."`
	MaxConcurrent            int           `key:"max_concurrent" default:"32" min:"1" max:"100000" live:"yes" doc:"Calls of methods marked concurrent under way in one session; one more is answered resource_exhausted."`
	MaxHandshakes            int           `key:"max_handshakes" default:"1000" min:"1" max:"1000000" live:"yes" doc:"TLS handshakes under way at once; one more is closed."`
	HandshakeTimeout         time.Duration `key:"handshake_timeout" default:"10s" min:"1ms" max:"24h" live:"yes" doc:"Time for all that comes before the first message: a PROXY header, a TLS handshake, a WebSocket upgrade; from when it began."`
	LoginTimeout             time.Duration `key:"login_timeout" default:"30s" min:"1ms" max:"24h" live:"yes" doc:"A connection that has not logged in by then is closed with login_timeout."`
	IdleTimeout              time.Duration `key:"idle_timeout" default:"90s" min:"1ms" max:"720h" live:"yes" doc:"A connection from which nothing came for so long is closed with idle_timeout."`
	FrameTimeout             time.Duration `key:"frame_timeout" default:"10s" min:"1ms" max:"24h" live:"yes" doc:"Time for the rest of a message once its first bytes came; after it the connection is closed."`
}

// Auth says how a login token is checked.
type Auth struct {
	Mode string `key:"mode" default:"dev" oneof:"dev,jwt" doc:"dev: the token dev:7 is player 7, without any proof, so every listener must be on loopback or a unix socket. jwt: a token is signed, by one of the keys below."`
	JWT  JWT    `key:"jwt" doc:"Signed tokens: docs/login.md. The files are read at the start and on SIGHUP; a relative path is looked for in $CREDENTIALS_DIRECTORY first."`
}

// JWT says who signs tokens, and what must be in them.
type JWT struct {
	SecretFile    []string      `key:"secret_file" default:"" check:"keyfile" empty:"yes" live:"yes" doc:"Files with the secrets of HS256, 32 bytes at least each. Whoever can read one can be any player."`
	PublicKeyFile []string      `key:"public_key_file" default:"" check:"keyfile" empty:"yes" live:"yes" doc:"PEM files with public keys: Ed25519 for EdDSA, RSA of 2048 to 3072 bits for RS256."`
	Leeway        time.Duration `key:"leeway" default:"30s" min:"0s" max:"10m" live:"yes" doc:"How far the clock of who signs may be off."`
	Issuer        string        `key:"issuer" default:"" check:"claim" live:"yes" doc:"What a token must have as iss. Empty: not checked."`
	Audience      string        `key:"audience" default:"" check:"claim" live:"yes" doc:"What a token must have in aud. Empty: not checked."`
}

// Shutdown bounds the drain.
type Shutdown struct {
	Deadline time.Duration `key:"deadline" default:"5s" min:"1ms" max:"1h" live:"yes" doc:"How long a drain may take; what is unanswered then is logged, and the exit code is 3."`
}

// Log says what is logged and how it looks.
type Log struct {
	File   string `key:"file" default:"" check:"file" doc:"File that the log is added to; it is opened again on SIGHUP, after whatever has moved it away. Empty: standard error."`
	Level  string `key:"level" default:"info" oneof:"debug,info,warn,error" live:"yes" doc:"The least level that is written."`
	Format string `key:"format" default:"console" oneof:"console,json" doc:"console: lines for people. json: one object a line."`
}

// Admin says who may use the console.
type Admin struct {
	Console   bool     `key:"console" default:"true" doc:"Whether the console is served. Beyond loopback it also needs token_file."`
	TokenFile string   `key:"token_file" default:"" check:"file" live:"yes" doc:"File with the token, 16 bytes at least, that signs in to the console, and that profiles ask for. Empty: on loopback whoever reaches the console may use it; elsewhere there is none. A relative path is looked for in $CREDENTIALS_DIRECTORY first."`
	Hosts     []string `key:"hosts" default:"" check:"host" empty:"yes" live:"yes" doc:"Names by which browsers may ask for the console, as they stand in its address: a proxy's, or this machine's. localhost and IP addresses always may; any other name is refused, since it may be an attacker's that leads here."`
	AuditFile string   `key:"audit_file" default:"" check:"file" doc:"File to which a line is added for all that is changed from the console. Empty: audit.log in data_dir."`
}

// Metrics says where numbers are sent, besides /metrics.
type Metrics struct {
	Instance string `key:"instance" default:"" check:"claim" doc:"Name of this process in what it sends. Empty: the host's name."`
	Influx   Influx `key:"influx" doc:"InfluxDB, or whatever takes its line protocol."`
}

// Influx says where line protocol is sent to.
type Influx struct {
	URL            string        `key:"url" default:"" check:"http" secret:"yes" doc:"Where to: http://host:8086/write?db=game for version 1, http://host:8086/api/v2/write?org=studio&bucket=game for version 2. Empty: nothing is sent."`
	TokenFile      string        `key:"token_file" default:"" check:"file" doc:"File with the token of version 2, or user:password of version 1. A relative path is looked for in $CREDENTIALS_DIRECTORY first. Empty: none."`
	Interval       time.Duration `key:"interval" default:"10s" min:"1s" max:"1h" doc:"How often."`
	MaxBufferBytes int           `key:"max_buffer_bytes" default:"8MiB" min:"64KiB" max:"1GiB" unit:"bytes" doc:"What is kept while it cannot be reached, compressed; over it the oldest is dropped."`
}

// Tracing says which calls are traced, and where spans are sent to.
type Tracing struct {
	Endpoint     string `key:"endpoint" default:"" check:"http" secret:"yes" doc:"Where spans are sent to, in OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces. Empty: no tracing."`
	OneIn        int    `key:"one_in" default:"100" min:"0" max:"1000000000" live:"yes" doc:"Of so many calls that come without a traceparent one is traced. 0: none. One that comes with a traceparent is traced if that says sampled."`
	MaxPerSecond int    `key:"max_per_second" default:"100" min:"1" max:"1000000" live:"yes" doc:"Calls traced a second at most, whatever clients ask for."`
}

// Store says where state is kept, and how much of it waits or stays in memory.
type Store struct {
	SQL           SQL           `key:"sql" doc:"The database that holds the truth. To move from one to another: gameserverd migrate copy."`
	Redis         Redis         `key:"redis" doc:"Caches, indexes and queues: all that is in it can be made again from SQL."`
	Timeout       time.Duration `key:"timeout" default:"2s" min:"10ms" max:"1m" doc:"How long a call may wait for a store, queueing included; then it is answered unavailable."`
	StartTimeout  time.Duration `key:"start_timeout" default:"60s" min:"10ms" max:"1h" doc:"How long the start waits for stores that do not answer; then the daemon gives up."`
	Queue         int           `key:"queue" default:"20000" min:"1" max:"10000000" doc:"Changes of all players that may wait for a commit; one more is answered resource_exhausted."`
	CommitBatch   int           `key:"commit_batch" default:"500" min:"1" max:"5000" doc:"Rows at most in one transaction."`
	PlayerLinger  time.Duration `key:"player_linger" default:"10m" min:"1ms" max:"720h" doc:"How long a player's state stays in memory once the player has gone."`
	LingerPlayers int           `key:"linger_players" default:"100000" min:"1" max:"100000000" doc:"Players who have gone whose state stays in memory, at most; the longest gone leave first."`
	LingerBytes   int64         `key:"linger_bytes" default:"256MiB" min:"1KiB" max:"1TiB" unit:"bytes" doc:"The same in bytes."`
}

// SQL names a database.
type SQL struct {
	Driver      string        `key:"driver" default:"sqlite" oneof:"sqlite,mysql" doc:"sqlite: a file of this machine, nothing to install. mysql: a MySQL or MariaDB server."`
	DSN         string        `key:"dsn" default:"" check:"dsn" secret:"yes" doc:"Where the database is. It may hold a password, so the environment form is often better than this file."`
	MaxOpen     int           `key:"max_open" default:"16" min:"2" max:"10000" doc:"Connections at most."`
	MaxIdle     int           `key:"max_idle" default:"5" min:"1" max:"10000" doc:"Connections that are kept when they have nothing to do; never more than max_open."`
	MaxLifetime time.Duration `key:"max_lifetime" default:"30m" min:"1s" max:"24h" doc:"Age at which a connection is replaced by a new one."`
}

// Redis names a Redis server, or the one inside the daemon.
type Redis struct {
	URL      string `key:"url" default:"embedded" check:"redis" secret:"yes" doc:"embedded: one inside the daemon, in memory, for one daemon. Otherwise a server, several behind Redis Sentinel, or a cluster."`
	PoolSize int    `key:"pool_size" default:"500" min:"1" max:"10000" doc:"Connections at most."`
}

// Worker sizes the running of background tasks in this process.
type Worker struct {
	Embedded    bool     `key:"embedded" default:"true" doc:"Whether serve runs tasks. Otherwise gameserverd worker does, in processes of its own; which queues those have is not checked here. Stores that no other process has (sqlite, or redis embedded) need it true while a schedule is set."`
	Concurrency int      `key:"concurrency" default:"16" min:"1" max:"10000" doc:"Tasks that run at once in one process."`
	Queues      []string `key:"queues" default:"critical:6,default:3,low:1" check:"queue" doc:"The queues and their weights: of ten tasks that are begun while all have some, so many come from each. One is default. Of a queue with weight 0 tasks can be applied here, and none is run. The queue of a task that has a schedule must be here."`
	Admin       string   `key:"admin" default:"" check:"address" doc:"Address of the admin HTTP server of gameserverd worker, which has no console; listen.admin is that of serve, so that both can have one file. Two workers on one machine need two: GAMESERVERD_WORKER_ADMIN. Empty: off."`
}

// Tasks says when tasks run by themselves.
type Tasks struct {
	CatchUp   time.Duration `key:"catch_up" default:"6h" min:"0s" max:"720h" doc:"How late a tick of a schedule runs that was missed while no process was there. Of several missed ones the last runs."`
	Schedules []string      `key:"schedules" default:"" check:"schedule" empty:"yes" live:"yes" doc:"Tasks that run by the clock: TASK=WHEN, or TASK=WHEN;ZONE. WHEN is @every 10m, @daily, or five fields as in cron: minute hour day month weekday; a blank may be written _. Without a zone it is UTC."`
}

// Game tunes the built-in game's rules.
type Game struct {
	StartGold         int64         `key:"start_gold" default:"100" min:"0" max:"9007199254740991" live:"yes" doc:"Gold of a new player."`
	WelcomeGold       int64         `key:"welcome_gold" default:"0" min:"0" max:"9007199254740991" live:"yes" doc:"Gold in a mail that a new player gets. 0: no mail."`
	MailTTL           time.Duration `key:"mail_ttl" default:"720h" min:"1s" max:"87600h" live:"yes" doc:"How long a mail can be claimed."`
	Shop              []string      `key:"shop" default:"potion:10,bomb:25,shield:60,sword:120" check:"shop" empty:"yes" live:"yes" doc:"What shop.buy sells, and its price in gold."`
	Boards            []string      `key:"boards" default:"main" check:"board" empty:"yes" doc:"The boards of rank.submit. Of a board that is taken away the scores stay in the database."`
	BoardsIndex       string        `key:"boards_index" default:"memory" oneof:"memory,redis" doc:"Where the boards are sorted. memory: in the daemon, for one daemon. redis: at store.redis.url, for several."`
	DuelTimeout       time.Duration `key:"duel_timeout" default:"10s" min:"1ms" max:"10m" live:"yes" doc:"How long duel.challenge waits for the other player's answer."`
	RoomMaxTextBytes  int           `key:"room_max_text_bytes" default:"1024" min:"1" max:"1MiB" unit:"bytes" live:"yes" doc:"Length of one text in room.say."`
	MaxRoomsPerPlayer int           `key:"max_rooms_per_player" default:"32" min:"1" max:"100000" live:"yes" doc:"Rooms that one player may be in at once."`
	DailyReward       DailyReward   `key:"daily_reward" doc:"A mail a day for every player seen in the seven days before."`
}

// DailyReward says what it is and when it comes.
type DailyReward struct {
	At   string `key:"at" default:"21:00" check:"clock" live:"yes" doc:"When, by the clock on the wall in zone. Empty: never."`
	Zone string `key:"zone" default:"UTC" check:"zone" live:"yes" doc:"A zone of the IANA database, such as Europe/Berlin."`
	Gold int64  `key:"gold" default:"50" min:"0" max:"9007199254740991" live:"yes" doc:"Gold in it. 0: no mail."`
}

// SQLFile is the name of the database in DataDir when the driver is sqlite and
// no DSN is given.
const SQLFile = "gameserverd.db"

// SQLDSN is what to open: store.sql.dsn, or the file in data_dir where that is
// empty. It may hold a password. Any goroutine.
func (c *Config) SQLDSN() string {
	if c.Store.SQL.DSN == "" && c.Store.SQL.Driver == "sqlite" {
		return filepath.Join(c.DataDir, SQLFile)
	}
	return c.Store.SQL.DSN
}

// SQLPlace is SQLDSN for people: without a password. Any goroutine.
func (c *Config) SQLPlace() string { return redact(c.SQLDSN()) }

// Default returns the built-in defaults. Any goroutine; the caller owns it.
func Default() *Config {
	c := new(Config)
	for _, f := range fields() {
		if !f.set(c, f.def) {
			panic("config: the default of " + f.key + " is not allowed") // a wrong tag; the tests load every default
		}
	}
	return c
}

// Values lists every key with its value and where the value came from, in the
// order of the file and without passwords. Any goroutine.
func (c *Config) Values() []Value {
	var out []Value
	for _, f := range fields() {
		source := c.sources[f.key]
		if source == "" {
			source = "default"
		}
		value := f.format(c)
		if f.secret {
			value = redact(value)
		}
		out = append(out, Value{Key: f.key, Value: value, Source: source})
	}
	return out
}

// Value is one setting as "check --show" prints it.
type Value struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // as one would write it in the file; lists with commas; *** for a password
	Source string `json:"source"` // "default", "FILE:LINE" or the environment variable's name
}
