package tasks

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/zap"

	"gameserverd/internal/game"
	"gameserverd/wire"
)

// arguments are parameters of the kinds that functions have.
type arguments struct {
	Text  string
	Int   int64
	Small uint8
	Float float64
	Bytes []byte
	List  []string
	Any   any
	Map   map[string]int64
	Mail  game.Mail
}

func (a *arguments) list() []Arg {
	return []Arg{{"text", &a.Text}, {"int", &a.Int}, {"small", &a.Small}, {"float", &a.Float}, {"bytes", &a.Bytes}, {"list", &a.List}, {"any", &a.Any}, {"map", &a.Map}, {"mail", &a.Mail}}
}

func (a *arguments) values() []any {
	return []any{a.Text, a.Int, a.Small, a.Float, a.Bytes, a.List, a.Any, a.Map, a.Mail}
}

var fuzzed = &Definition{Name: "fuzz.args", Params: make([]string, len(new(arguments).list())), Bind: func(args []byte) (func(*Call) ([]byte, error), error) {
	return nil, Decode("fuzz.args", args, new(arguments).list()...)
}}

// Whatever arguments are, they fit or are refused, and what fits can be applied and fits
// again.
func FuzzArguments(f *testing.F) {
	good := arguments{"x", -1, 255, 1.5, []byte{0}, []string{"a", "b"}, map[string]any{"k": []any{nil, true}}, map[string]int64{"m": 1}, game.Mail{Title: "t", Gold: 5, Items: map[string]int64{"bomb": 1}}}
	f.Add(newJob(fuzzed, good.values()).args)
	f.Add(newJob(fuzzed, new(arguments).values()).args)
	f.Add([]byte{})
	f.Add([]byte{0x90})
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0x91}, 100))
	f.Add([]byte{0x99, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0})
	f.Fuzz(func(t *testing.T, args []byte) {
		var a arguments
		err := Decode("fuzz.args", args, a.list()...)
		var refused *wire.Error
		if err != nil {
			if !errors.As(err, &refused) || refused.Code != wire.InvalidArgument {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again := newJob(fuzzed, a.values())
		if again.err != nil {
			return // a list of values may be in what a message cannot hold, such as a map with keys of its own kind
		}
		if j := bind(fuzzed, again.args); j.err != nil && len(again.args) <= maxArgs {
			t.Fatalf("% x fits, but not % x: %v", args, again.args, j.err)
		}
	})
}

// Whatever Redis has for an ephemeral task, it is a task within all bounds or refused.
func FuzzEnvelope(f *testing.F) {
	for _, e := range []envelope{
		{}, {Name: "fuzz.args", Args: newJob(fuzzed, new(arguments).values()).args, RunMS: 1, Retries: 3, BackoffMS: 1000, TimeoutMS: 60_000},
		{Name: "a.b", BackoffMS: -1, TimeoutMS: -1, Retries: -1, RunMS: -1},
		{Name: "a.b", BackoffMS: 1 << 62, TimeoutMS: 1 << 62, Retries: 1 << 62, RunMS: 1 << 62},
	} {
		payload, err := msgpack.Marshal(&e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := readEnvelope(payload)
		if err != nil {
			return
		}
		if d := (&row{backoffMS: e.BackoffMS}).backoff(5); d < 0 || d > 2*maxBackoff {
			t.Errorf("a backoff of %v", d)
		}
		if d := time.Duration(e.TimeoutMS) * time.Millisecond; d <= 0 || d > maxTimeout {
			t.Errorf("a timeout of %v", d)
		}
		if at := time.UnixMilli(e.RunMS); e.RunMS < 0 || time.Until(at) < -200*365*24*time.Hour || at.Year() > 2300 {
			t.Errorf("it runs at %v", at)
		}
		if e.Retries < 0 || e.Retries > maxRetries {
			t.Errorf("%d retries", e.Retries)
		}
		if len(e.Args) > maxArgs {
			t.Errorf("%d bytes of arguments", len(e.Args))
		}
	})
}

// Whatever another process says, it is done or dropped.
func FuzzBus(f *testing.F) {
	mail, err := msgpack.Marshal(&game.Mail{ID: 1, Title: "t", Gold: 5, Items: map[string]int64{"bomb": 1}})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []message{
		{Kind: kindRevoke, Task: "5"}, {Kind: kindRevoke, Task: "e5"}, {Kind: kindRevoke}, {Kind: kindMail, Player: 7, Body: mail}, {Kind: kindMail, Player: 7, Body: mail, From: "self"},
		{Kind: kindPush, Player: 7, Method: "a.b", Body: []byte{0x92, 0x01, 0xa1, 'x'}}, {Kind: kindPush, Player: 7, Body: []byte{0xdd, 0xff, 0xff, 0xff, 0xff}}, {Kind: "of a newer version"},
	} {
		data, err := msgpack.Marshal(&m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{})
	f.Add([]byte{0x81, 0xa1, 'k', 0xc0})
	f.Fuzz(func(t *testing.T, data []byte) {
		done := 0
		b := &bus{self: "self", tasks: &Tasks{gate: newGate(nil, true), running: map[int64]*run{}, ephemeral: map[string]*run{}, o: Options{Log: zap.NewNop(), Bus: BusHandler{
			Push: func(_ uint64, method string, params []any) {
				done++
				if _, err := wire.AppendAny(nil, params); err != nil {
					t.Errorf("%s(%v) cannot be sent to a player: %v", method, params, err)
				}
			},
			Mail: func(uint64, game.Mail) { done++ },
		}}}}
		ended := 0
		for _, id := range []string{"5", "e5"} {
			r := &run{key: ID(id), stop: func(error) { ended++ }}
			if n, ok := r.key.row(); ok {
				b.tasks.running[n] = r
			} else {
				b.tasks.ephemeral[id] = r
			}
		}
		b.receive(data)
		if done+ended > 1 {
			t.Errorf("one message did %d things", done+ended)
		}
	})
}
