// Package ctl is how an operator talks to a running daemon: HTTP with JSON over a
// unix socket in data_dir, and the client of it. It decides nothing about the
// daemon, which is a struct of functions here, and carries no game traffic.
//
// Invariant: whoever can open the socket may do everything, so it has mode 0600
// from the moment when it can be opened, and all that changes something is logged
// with who did it.
package ctl

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	"gameserverd/wire"
)

// SocketName is the socket's name in data_dir.
const SocketName = "ctl.sock"

// SocketPath is where the daemon with this data_dir has its socket. Any goroutine.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, SocketName) }

// WorkerDir is the folder of the worker of that name in a data_dir: several workers,
// and a daemon that serves, may have the same. Any goroutine.
func WorkerDir(dataDir, name string) string { return filepath.Join(dataDir, workersDir, name) }

const workersDir = "workers"

// Workers are the names of the workers that have, or have had, their socket under a
// data_dir. Any goroutine.
func Workers(dataDir string) (names []string) {
	found, _ := filepath.Glob(filepath.Join(dataDir, workersDir, "*", SocketName)) // fails for bad patterns only
	for _, path := range found {
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	return names
}

// Daemon is what a Server can ask and tell. The functions are called on HTTP
// goroutines: any goroutine. An error that is an *Error reaches the operator with
// its code, any other as internal.
type Daemon struct {
	Status    func() Status
	Sessions  func(ctx context.Context) ([]Session, error)
	Kick      func(ctx context.Context, uid uint64, why wire.Closing) (online bool, err error)
	Broadcast func(method string, params []any) (sessions int, err error)
	Drain     func(why string) // begins it, and returns
	Trace     func(uid uint64, sink func(Message)) (stop func(), err error)
	SetLevel  func(level string) error // of the log
	Reload    func() (Reloaded, error)
	Tasks     Tasks
}

// Status is the answer of /status.
type Status struct {
	Role           string           `json:"role"`  // serve or worker
	State          string           `json:"state"` // starting, serving (also of a worker), draining, drained
	Ready          bool             `json:"ready"`
	Reason         string           `json:"reason,omitempty"` // why not ready
	Version        string           `json:"version"`
	PID            int              `json:"pid"`
	Started        time.Time        `json:"started"`
	Listen         []string         `json:"listen"`
	Admin          string           `json:"admin"` // "": off
	LogLevel       string           `json:"log_level"`
	Loops          int              `json:"loops"`
	Connections    int              `json:"connections"`
	MaxConnections int              `json:"max_connections"`
	Online         int              `json:"online"`   // connections with a player
	Underway       int              `json:"underway"` // calls that have begun and not ended
	Goroutines     int              `json:"goroutines"`
	HeapBytes      uint64           `json:"heap_bytes"`
	ResidentBytes  uint64           `json:"resident_bytes"` // 0: not known
	Stores         []Store          `json:"stores"`
	Counters       map[string]int64 `json:"counters"` // since the start; those that are 0 are left out
	Tasks          TasksStatus      `json:"tasks"`
	Drain          *Drain           `json:"drain,omitempty"`
}

// TasksStatus is how background tasks are, as far as that is known without asking SQL.
type TasksStatus struct {
	Running int         `json:"running"` // in this process
	Most    int         `json:"most"`    // that may run in it at once; 0: it runs none
	Queues  []TaskQueue `json:"queues"`  // as Redis has them for all processes; null: it does not answer
}

// Store is a store as the daemon's calls and pings found it.
type Store struct {
	Name  string    `json:"name"`
	Up    bool      `json:"up"`
	Why   string    `json:"why,omitempty"` // it is not up
	Since time.Time `json:"since"`         // it is so
}

// Drain is how far a drain has come.
type Drain struct {
	Why         string `json:"why"`
	TookMS      int64  `json:"took_ms"`
	DeadlineMS  int64  `json:"deadline_ms"` // of all of it
	Connections int    `json:"connections"`
	Underway    int    `json:"underway"`
	Ended       bool   `json:"ended"`
	Clean       bool   `json:"clean"`     // once it has ended: everything was answered and flushed
	Abandoned   int    `json:"abandoned"` // calls that were not answered
}

// Session is one connection.
type Session struct {
	UID       uint64   `json:"uid"` // 0: not logged in
	Conn      uint64   `json:"conn"`
	Loop      int      `json:"loop"`
	Peer      string   `json:"peer"`
	Transport string   `json:"transport"`
	Framing   string   `json:"framing"`
	AgeMS     int64    `json:"age_ms"`
	SilentMS  int64    `json:"silent_ms"` // since something came
	Waiting   int      `json:"waiting_bytes"`
	Mailbox   int      `json:"mailbox"`  // messages
	Underway  int      `json:"underway"` // calls
	Rooms     int      `json:"rooms"`
	Messages  uint32   `json:"messages"`       // received so far; may have begun anew at 0
	Rate      *float64 `json:"rate,omitempty"` // messages received a second; nil: not measured
}

// Sessions is the answer of /sessions.
type Sessions struct {
	Total    int       `json:"total"` // of which Sessions are the first
	Sessions []Session `json:"sessions"`
}

// Kick is what /kick takes.
type Kick struct {
	UID          uint64 `json:"uid"`
	Code         string `json:"code"`    // "": kicked
	Message      string `json:"message"` // "": one that says nothing
	Reconnect    bool   `json:"reconnect"`
	RetryAfterMS int64  `json:"retry_after_ms"`
}

// Kicked is the answer of /kick.
type Kicked struct {
	Kicked bool `json:"kicked"` // false: the player is not online here
}

// Broadcast is what /broadcast takes. Params are JSON as package msgjson reads it.
type Broadcast struct {
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// Told is the answer of /broadcast.
type Told struct {
	Sessions int `json:"sessions"`
}

// Level is what /loglevel takes and answers.
type Level struct {
	Level string `json:"level"`
}

// Reloaded is the answer of /reload.
type Reloaded struct {
	Changed []Change `json:"changed"`
	Restart []string `json:"restart"` // keys that have another value and need a restart
}

// Change is one key that has another value now. Secrets are hidden in both.
type Change struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Message is one message of a player under trace.
type Message struct {
	At     time.Time
	In     bool // from the client
	Kind   wire.Kind
	ID     uint32 // 0 of a notification
	Method string // of a response that of its request
	Body   []byte // params, result or error; may end early; nil: not to be shown
	Failed bool   // of a response: Body is an error
	Size   int    // of the whole message, in bytes
	Took   time.Duration
}

// Error is an answer other than success:
//
//	{"error": {"code": str, "message": str}}
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error is the message alone; the codes are for programs.
func (e *Error) Error() string { return e.Message }

// The codes of an Error, of those that the wire has.
const (
	invalid     = string(wire.InvalidArgument)
	unavailable = string(wire.Unavailable)
	exhausted   = string(wire.ResourceExhausted)
	internal    = string(wire.Internal)
)
