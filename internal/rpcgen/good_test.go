package rpcgen_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"gameserverd/internal/rpc"
	"gameserverd/internal/rpcgen/testdata/good/api"
	"gameserverd/internal/rpcgen/testdata/good/handlers"
	"gameserverd/internal/rpctest"
	"gameserverd/wire"
)

// The typed client compiles, and its copies have the structs' names on the wire.
var _ = api.API{Kinds: api.KindsClient{}, DailyReward: api.DailyRewardClient{}}

type adder struct{}

func (adder) Double(n int64) int64 { return 2 * n }
func (adder) Other()               {}

// newGood serves the generated methods of testdata/good, all of them public.
func newGood(t testing.TB) (*rpctest.Server, *rpctest.Client) {
	s := rpctest.New(t, func(*rpctest.Server) []rpc.Method {
		methods := handlers.Methods(&handlers.Parts{Adder: adder{}})
		for i := range methods {
			methods[i].Public = true
		}
		return methods
	})
	return s, s.Connect()
}

type m = map[string]any

var calls = []struct {
	method string
	params []any
	want   any // the result, or the error as text
}{
	{"kinds.bool", []any{true}, true},
	{"kinds.int", []any{math.MinInt64}, int64(math.MinInt64)},
	{"kinds.int8", []any{-128}, int64(-128)},
	{"kinds.int8", []any{128}, "invalid_argument: kinds.int8: v must be an integer from -128 to 127, got 128"},
	{"kinds.int16", []any{-32768}, int64(-32768)},
	{"kinds.int16", []any{32768}, "invalid_argument: kinds.int16: v must be an integer from -32768 to 32767, got 32768"},
	{"kinds.int32", []any{math.MaxInt32}, int64(math.MaxInt32)},
	{"kinds.int32", []any{math.MaxInt32 + 1}, "invalid_argument: kinds.int32: v must be an integer from -2147483648 to 2147483647, got 2147483648"},
	{"kinds.rune", []any{'x'}, int64('x')},
	{"kinds.int64", []any{-7}, int64(-7)},
	{"kinds.uint", []any{uint64(math.MaxUint64)}, uint64(math.MaxUint64)},
	{"kinds.uint8", []any{255}, int64(255)},
	{"kinds.uint8", []any{256}, "invalid_argument: kinds.uint8: v must be an integer from 0 to 255, got 256"},
	{"kinds.byte", []any{-1}, "invalid_argument: kinds.byte: v must be an integer from 0 to 255, got -1"},
	{"kinds.uint16", []any{65535}, int64(65535)},
	{"kinds.uint32", []any{math.MaxUint32}, int64(math.MaxUint32)},
	{"kinds.uint64", []any{uint64(math.MaxUint64)}, uint64(math.MaxUint64)},
	{"kinds.float32", []any{0.5}, 0.5},
	{"kinds.float64", []any{math.Pi}, math.Pi},
	{"kinds.float64", []any{3}, 3.0},
	{"kinds.string", []any{"ä"}, "ä"},
	{"kinds.string", []any{7}, "invalid_argument: kinds.string: v must be a string, got integer"},
	{"kinds.bytes", []any{[]byte{0, 1}}, []byte{0, 1}},
	{"kinds.any", []any{m{"a": []any{int64(1), nil}}}, m{"a": []any{int64(1), nil}}},
	{"kinds.any", []any{nil}, nil},
	{"kinds.slice", []any{[]any{1, 2}}, []any{int64(1), int64(2)}},
	{"kinds.slice", []any{nil}, []any{}},
	{"kinds.map", []any{m{"a": true}}, m{"a": true}},
	{"kinds.struct", []any{m{"name": "n", "kids": []any{m{"name": "k"}}, "raw": 9, "any": "x", "unknown": 1}}, m{
		"name": "n", "raw": int64(9), "any": "x",
		"kids": []any{m{"name": "k", "kids": nil, "raw": nil, "any": nil}},
	}},
	{"kinds.struct", []any{"no struct"}, "invalid_argument: kinds.struct: v"},
	{"kinds.namedBool", []any{true}, true},
	{"kinds.namedInt", []any{-5}, int64(-5)},
	{"kinds.namedUint", []any{5}, int64(5)},
	{"kinds.namedUint", []any{65536}, "invalid_argument: kinds.namedUint: v must be an integer from 0 to 65535, got 65536"},
	{"kinds.namedFloat", []any{1.5}, 1.5},
	{"kinds.namedString", []any{"main"}, "main"},
	{"kinds.namedBytes", []any{[]byte("x")}, []byte("x")},
	{"kinds.namedOctets", []any{[]byte("x")}, []byte("x")},
	{"kinds.namedOctets", []any{nil}, []byte{}},
	{"kinds.namedSlice", []any{[]any{1}}, []any{int64(1)}},
	{"kinds.namedMap", []any{m{"main": 1}}, m{"main": int64(1)}},
	{"kinds.elsewhere", []any{2.5}, 2.5},
	{"kinds.points", []any{[]any{m{"X": 1}}}, []any{}},
	{"kinds.nil", nil, m{}},
	{"kinds.nothing", []any{true}, nil},
	{"kinds.noRaw", nil, nil},
	{"kinds.raw", []any{m{"a": []byte("b")}}, m{"a": []byte("b")}},
	{"kinds.later", []any{3}, int64(3)},
	{"kinds.later", []any{"x"}, "invalid_argument: kinds.later: v must be an integer"},
	{"kinds.laterNothing", nil, nil},
	{"kinds.laterRaw", []any{"kept until later"}, "kept until later"},
	{"kinds.laterPoint", nil, m{"X": int64(1), "Y": int64(0)}},
	{"kinds.laterNone", []any{[]any{"a"}}, "internal: "},
	{"kinds.fail", []any{"it"}, "not_found: it is not there"},
	{"kinds.work", []any{"kept for the worker"}, "kept for the worker"},
	{"kinds.work", []any{"kept", "x"}, "invalid_argument: kinds.work: n must be an integer"},
	{"kinds.workOnly", []any{false}, nil},
	{"kinds.workOnly", []any{true}, "internal: "},
	{"kinds.names", []any{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.5, 0.5, nil}, int64(2 * 2 * 9)},
	{"daily_reward.claim", nil, m{"gold": int64(5), "items": nil, "next": nil}},
	{"daily_reward.httpStatus", []any{7}, nil},
	{"optional.params", []any{1}, "1"},
	{"optional.params", []any{1, 2}, "1 version 2"},
	{"optional.params", []any{1, nil, 3}, "1 score 3"},
	{"optional.params", []any{1, nil, nil, []any{"a"}, m{"X": 4}}, "1 tags [a] point 4"},
	{"optional.params", []any{1, nil, nil, nil, nil}, "1"},
	{"optional.params", []any{1, "x"}, "invalid_argument: optional.params: if_version must be an integer from 0 to 4294967295, got string"},
	{"optional.params", []any{1, nil, nil, 5}, "invalid_argument: optional.params: tags"},
	{"optional.params", nil, "invalid_argument: optional.params takes 1 to 5 params (must, [if_version], [score], [tags], [p]), got 0"},
	{"optional.params", []any{1, 2, 3, nil, nil, 6}, "invalid_argument: optional.params takes 1 to 5 params (must, [if_version], [score], [tags], [p]), got 6"},
	{"kinds.nil", []any{1}, "invalid_argument: kinds.nil takes no params, got 1"},
}

// TestGeneratedCode calls the generated methods of testdata/good as a client
// does. Text wanted of a failed call is its beginning.
func TestGeneratedCode(t *testing.T) {
	_, c := newGood(t)
	called := make(map[string]bool)
	for _, call := range calls {
		called[call.method] = true
		raw, rpcErr := c.Call(call.method, call.params...)
		if rpcErr != nil {
			if want, ok := call.want.(string); !ok || !strings.HasPrefix(rpcErr.Error(), want) {
				t.Errorf("%s%v failed with %q, want %v", call.method, call.params, rpcErr, call.want)
			}
			continue
		}
		var got any
		if err := wire.Unmarshal(raw, &got); err != nil {
			t.Errorf("%s%v answered %x: %v", call.method, call.params, raw, err)
		} else if !reflect.DeepEqual(got, call.want) {
			t.Errorf("%s%v = %#v, want %#v", call.method, call.params, got, call.want)
		}
	}
	for _, method := range handlers.Methods(&handlers.Parts{}) {
		if !called[method.Name] {
			t.Errorf("no test calls %s", method.Name)
		}
	}
}

// TestMetadata looks at what sys.methods tells.
func TestMetadata(t *testing.T) {
	s, _ := newGood(t)
	got := make(map[string]rpc.MethodInfo)
	for _, info := range s.Registry.Methods() {
		got[info.Name] = info
	}
	optional := got["optional.params"]
	if optional.Doc != "Optional says what it got." {
		t.Errorf("the doc is %q, want the first paragraph", optional.Doc)
	}
	want := []rpc.ParamInfo{
		{Name: "must", Type: "int"},
		{Name: "if_version", Type: "uint", Optional: true},
		{Name: "score", Type: "int", Optional: true},
		{Name: "tags", Type: "array of str", Optional: true},
		{Name: "p", Type: "Point {X int, Y int, label str}", Optional: true},
	}
	if !reflect.DeepEqual(optional.Params, want) {
		t.Errorf("the params are %v, want %v", optional.Params, want)
	}
	if !strings.HasPrefix(optional.Where, "internal/rpcgen/testdata/good/handlers/kinds/kinds.go:") {
		t.Errorf("it is at %q", optional.Where)
	}
	flags := func(name string) string {
		i := got[name]
		return fmt.Sprint(i.Result, " ", i.Concurrent, " ", i.Durable, " ", i.Waits)
	}
	for name, want := range map[string]string{
		"daily_reward.claim":      "Gift {gold int, items map of int, next Gift or nil} false true false",
		"daily_reward.httpStatus": "nil true false false",
		"kinds.struct":            "Tree {name str, kids array of Tree, by map of Tree or nil, raw any, any any} false false false",
		"kinds.laterNothing":      "nil false false true",
	} {
		if flags(name) != want {
			t.Errorf("%s: result, concurrent, durable, waits are %s, want %s", name, flags(name), want)
		}
	}
}

// TestCopiesMatch holds that a struct and its copy in the typed client have the
// same form on the wire.
func TestCopiesMatch(t *testing.T) {
	_, c := newGood(t)
	tree := api.KindsTree{
		Name: "root", Kids: []api.KindsTree{{Name: "kid", Kids: []api.KindsTree{}}}, Any: "x",
		Raw: wire.AppendInt(nil, 7), By: map[string]*api.KindsTree{"a": {Name: "by"}},
	}
	var got api.KindsTree
	c.Must(&got, "kinds.struct", tree)
	a, errA := wire.Marshal(got)
	b, errB := wire.Marshal(tree)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("got %+v, want %+v (%v, %v)", got, tree, errA, errB)
	}
}

// TestNoAllocation holds that decoding and answering basic types costs none.
func TestNoAllocation(t *testing.T) {
	var method rpc.Method
	for _, m := range handlers.Methods(&handlers.Parts{}) {
		if m.Name == "kinds.int64" {
			method = m
		}
	}
	out := make([]byte, 0, 64)
	server := rpctest.New(t, func(*rpctest.Server) []rpc.Method {
		run := method.Sync
		method.Public = true
		method.Sync = func(c *rpc.Call, a *rpc.Args, answer []byte) ([]byte, error) {
			saved := *a
			if n := testing.AllocsPerRun(100, func() {
				*a = saved
				if _, err := run(c, a, out); err != nil {
					t.Error(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations a call", n)
			}
			*a = saved
			return run(c, a, answer)
		}
		return []rpc.Method{method}
	})
	server.Connect().Must(nil, "kinds.int64", 1<<40)
}
