// Package config is the daemon's configuration: one struct, filled once at the
// start from the built-in defaults, then a YAML file, then the environment, and
// read-only from then on. It does not act on any value and knows no other
// package of the daemon; whoever uses a value is handed it by internal/server.
//
// A key is one struct field: its tags hold the name, the default, what is
// allowed and what it does, and everything else is made from them: loading, the
// environment form, the list of problems, "check --show" and
// configs/gameserverd.yaml (after adding a field run
// `go test ./internal/config -run ShippedFile -update`).
//
// Invariant: a Config that Load returned holds only values that are allowed.
package config

import "time"

// The tags of a field, in this order:
//
//	key      name inside its section; the environment form is made from it
//	default  as one would write it in the file; a list is separated by commas
//	min max  bounds of a number, a size or a duration, inclusive
//	oneof    the only values allowed, separated by commas
//	check    a named check of text: "listen" or "address"
//	unit     "bytes": sizes such as 64KiB are understood
//	doc      effect, unit and the meaning of 0; the comment in the file

// Config is every setting of the daemon. It is not changed after Load. Any
// goroutine.
type Config struct {
	Listen   Listen   `key:"listen" doc:"Where the daemon listens."`
	Loop     Loop     `key:"loop" doc:"Event loops and the worker pool."`
	Limits   Limits   `key:"limits" doc:"What one connection, and all of them together, may use. What happens at each limit is in docs/protocol.md."`
	Auth     Auth     `key:"auth" doc:"Who may log in."`
	Shutdown Shutdown `key:"shutdown" doc:"SIGTERM and SIGINT."`
	Log      Log      `key:"log" doc:"The log, on standard error."`
	Game     Game     `key:"game" doc:"The built-in game."`

	sources map[string]string // immutable after Load; key to "FILE:LINE" or environment name, absent: default
}

// Listen says where the daemon accepts connections.
type Listen struct {
	TCP       []string `key:"tcp" default:"127.0.0.1:5700" check:"listen" doc:"Addresses for clients: one, or a list. Port 0 takes a free port; without a host: all interfaces."`
	Admin     string   `key:"admin" default:"127.0.0.1:5780" check:"address" doc:"Address of the admin HTTP server: /healthz, /readyz, /debug/pprof/. Empty: off."`
	Protocols []string `key:"protocols" default:"frames,stream" oneof:"frames,stream" doc:"Framings that clients may use; the first byte of a connection selects one."`
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
	MaxConnections           int           `key:"max_connections" default:"100000" min:"1" max:"10000000" doc:"Client connections at once; one more is closed with too_many_connections."`
	MaxFrameBytes            int           `key:"max_frame_bytes" default:"1MiB" min:"1" max:"16777215" unit:"bytes" doc:"Size of one message; a larger one closes the connection with frame_too_large."`
	MaxElements              int           `key:"max_elements" default:"100000" min:"16" max:"16777215" doc:"Values in one message, nested ones included; more is a protocol_error."`
	MaxWriteBufferBytes      int           `key:"max_write_buffer_bytes" default:"4MiB" min:"1KiB" max:"1GiB" unit:"bytes" doc:"Bytes that may wait to be sent to one client; over it the client is closed as slow_consumer."`
	MaxTotalWriteBufferBytes int           `key:"max_total_write_buffer_bytes" default:"256MiB" min:"1KiB" max:"1TiB" unit:"bytes" doc:"The same for all clients together; over it the client being written to is closed as slow_consumer."`
	MaxMailbox               int           `key:"max_mailbox" default:"128" min:"1" max:"1000000" doc:"Messages that may wait in one session; when full its socket is not read from."`
	MaxMailboxBytes          int           `key:"max_mailbox_bytes" default:"1MiB" min:"1KiB" max:"1GiB" unit:"bytes" doc:"The same in bytes."`
	MaxConcurrent            int           `key:"max_concurrent" default:"32" min:"1" max:"100000" doc:"Calls of methods marked concurrent under way in one session; one more is answered resource_exhausted."`
	LoginTimeout             time.Duration `key:"login_timeout" default:"30s" min:"1ms" max:"24h" doc:"A connection that has not logged in by then is closed with login_timeout."`
	IdleTimeout              time.Duration `key:"idle_timeout" default:"90s" min:"1ms" max:"720h" doc:"A connection from which nothing came for so long is closed with idle_timeout."`
	FrameTimeout             time.Duration `key:"frame_timeout" default:"10s" min:"1ms" max:"24h" doc:"Time for the rest of a message once its first bytes came; after it the connection is closed."`
}

// Auth says how a login token is checked.
type Auth struct {
	Mode string `key:"mode" default:"dev" oneof:"dev" doc:"dev: the token dev:7 is player 7, without any proof, so every listener must be on loopback or a unix socket."`
}

// Shutdown bounds the drain.
type Shutdown struct {
	Deadline time.Duration `key:"deadline" default:"5s" min:"1ms" max:"1h" doc:"How long a drain may take; what is unanswered then is logged, and the exit code is 3."`
}

// Log says what is logged and how it looks.
type Log struct {
	Level  string `key:"level" default:"info" oneof:"debug,info,warn,error" doc:"The least level that is written."`
	Format string `key:"format" default:"console" oneof:"console,json" doc:"console: lines for people. json: one object a line."`
}

// Game tunes the built-in game's rules.
type Game struct {
	StartGold         int64         `key:"start_gold" default:"100" min:"0" max:"9007199254740991" doc:"Gold of a new player."`
	DuelTimeout       time.Duration `key:"duel_timeout" default:"10s" min:"1ms" max:"10m" doc:"How long duel.challenge waits for the other player's answer."`
	RoomMaxTextBytes  int           `key:"room_max_text_bytes" default:"1024" min:"1" max:"1MiB" unit:"bytes" doc:"Length of one text in room.say."`
	MaxRoomsPerPlayer int           `key:"max_rooms_per_player" default:"32" min:"1" max:"100000" doc:"Rooms that one player may be in at once."`
}

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
// order of the file. Any goroutine.
func (c *Config) Values() []Value {
	var out []Value
	for _, f := range fields() {
		source := c.sources[f.key]
		if source == "" {
			source = "default"
		}
		out = append(out, Value{Key: f.key, Value: f.format(c), Source: source})
	}
	return out
}

// Value is one setting as "check --show" prints it.
type Value struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // as one would write it in the file; lists with commas
	Source string `json:"source"` // "default", "FILE:LINE" or the environment variable's name
}
