package tasks

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/game"
	"gameserverd/internal/players"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

// Definition is a task's function as the generated code describes it. Immutable.
type Definition struct {
	Name      string   // package and function: "reward.daily"
	Doc       string   // the first paragraph of its comment, in one line
	Where     string   // "FILE:LINE"
	Params    []string // "day string", as the source has them
	Queue     string   // where it waits unless an option says otherwise; "" is default
	Retries   int      // times that it is tried again; -1: DefaultRetries
	Timeout   time.Duration
	Ephemeral bool

	// Bind reads the arguments, a MessagePack array, and returns what runs the
	// function with them. Its error says what does not fit.
	Bind func(args []byte) (func(c *Call) (result []byte, err error), error)
}

// What holds where neither the function's directives nor an option says more.
const (
	DefaultQueue   = "default"
	DefaultRetries = 10
	DefaultTimeout = 10 * time.Minute
	DefaultBackoff = time.Second     // before the first retry; each further one waits twice as long
	defaultTimeout = 2 * time.Second // of Options
	maxBackoff     = 10 * time.Minute
	maxArgs        = 64 << 10 // bytes of a task's arguments
	maxResult      = 64 << 10
	maxProblem     = 16 << 10 // of an error with its stack
)

// Parts is what of the daemon a task can use; they are set before the first task
// runs and immutable after.
type Parts struct {
	Players *players.Players // the players' states; those who play on another process are better sent mail
	SQL     *store.SQL
	Log     *zap.Logger
	Clock   func() time.Time

	// Push notifies a player, on whichever process of the same Redis the player is
	// online; whoever is offline misses it. Any goroutine.
	Push func(uid uint64, method string, params ...any) error
	// Game is what of the game's configuration tasks need, as it is in force.
	Game func() Game
}

// Game is what of the game's configuration tasks need.
type Game struct {
	DailyGold int64         // gold in the mail of the daily reward
	DailyAt   string        // when it is due, such as 21:00; "": never
	DailyZone string        // by whose clock, a zone of the IANA database
	MailTTL   time.Duration // how long a mail can be claimed
}

// Call is one run of a task. Its context ends when the task's timeout is over, it is
// revoked, or the process shuts down; a function that heeds it gives its worker
// back in time. One goroutine, and those that the function starts and waits for.
type Call struct {
	context.Context
	*Parts

	ID      ID
	Name    string
	Attempt int    // from 1
	Tasks   *Tasks // to apply others
}

// Key is what to be idempotent by: the same each time this task runs, and of no
// other task. With it as the source of a mail, the mail is sent once.
func (c *Call) Key() string { return "task:" + string(c.ID) }

// Mail is a mail with gold in it, sent now, which can be claimed for as long as the
// configuration says.
func (c *Call) Mail(title string, gold int64) game.Mail {
	now := c.Clock()
	return game.Mail{Title: title, Gold: gold, SentMS: now.UnixMilli(), ExpiresMS: now.Add(c.Game().MailTTL).UnixMilli()}
}

// ID names a task: a durable one by the number of its row, an ephemeral one by "e"
// and random letters.
type ID string

func durableID(row int64) ID { return ID(strconv.FormatInt(row, 10)) }

// row is the number of a durable task's row.
func (id ID) row() (int64, bool) {
	n, err := strconv.ParseInt(string(id), 10, 64)
	return n, err == nil && n > 0
}

// Task is a durable task with its arguments, to be applied; R is what its function
// returns. The generated functions of an area make them.
type Task[R any] struct{ job }

// Ephemeral is a task that is in Redis alone, and lost when that is.
type Ephemeral[R any] struct{ job }

// job is a function with its arguments.
type job struct {
	def  *Definition
	args []byte
	err  error // why it cannot be applied
}

// Make makes a Task. For generated code. Any goroutine.
func Make[R any](def *Definition, args ...any) Task[R] { return Task[R]{newJob(def, args)} }

// MakeEphemeral makes an Ephemeral. For generated code. Any goroutine.
func MakeEphemeral[R any](def *Definition, args ...any) Ephemeral[R] {
	return Ephemeral[R]{newJob(def, args)}
}

func newJob(def *Definition, args []any) job {
	b := wire.AppendArray(nil, len(args))
	for i, arg := range args {
		var err error
		if b, err = wire.AppendAny(b, arg); err != nil {
			return job{def: def, err: wire.Errorf(wire.InvalidArgument, "task %s: argument %s: %v", def.Name, def.Params[i], err)}
		}
	}
	return job{def, b, tooLong(def, b)}
}

// bind makes a job of arguments that came from outside: they must fit.
func bind(def *Definition, args []byte) job {
	_, err := def.Bind(args)
	if err == nil {
		err = tooLong(def, args)
	}
	return job{def, args, err}
}

func tooLong(def *Definition, args []byte) error {
	if len(args) <= maxArgs {
		return nil
	}
	return wire.Errorf(wire.InvalidArgument, "task %s: its arguments have %d bytes, at most %d are allowed", def.Name, len(args), maxArgs)
}

// Arg is one parameter of a task's function: its name, and a pointer to where its
// value goes.
type Arg struct {
	Name string
	Into any
}

// Decode reads the arguments of the task called name into into. For generated
// code. Any goroutine.
func Decode(name string, args []byte, into ...Arg) error {
	if err := wire.Unmarshal(args, new(wire.Raw)); err != nil {
		return wire.Errorf(wire.InvalidArgument, "task %s: the arguments are no MessagePack: %v", name, err)
	}
	r := wire.NewReader(args)
	n, err := r.Array()
	if err != nil || n != len(into) {
		var names []string
		for _, a := range into {
			names = append(names, a.Name)
		}
		return wire.Errorf(wire.InvalidArgument, "task %s takes %d arguments (%s), got %d", name, len(into), strings.Join(names, ", "), n)
	}
	for _, a := range into {
		if err := wire.Unmarshal(r.Raw(), a.Into); err != nil {
			return wire.Errorf(wire.InvalidArgument, "task %s: argument %s does not fit %v: %v", name, a.Name, reflect.TypeOf(a.Into).Elem(), err)
		}
	}
	return nil
}

// EncodeResult makes of a function's result what is kept of it. For generated code.
// Any goroutine.
func EncodeResult(v any) ([]byte, error) {
	b, err := wire.AppendAny(nil, v)
	if err == nil && len(b) > maxResult {
		err = fmt.Errorf("the result has %d bytes, at most %d are kept", len(b), maxResult)
	}
	return b, err
}
