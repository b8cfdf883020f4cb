package rpc

import "gameserverd/internal/future"

// Method is one remote procedure as the registry holds it. The generated code of
// an area makes them; nobody writes one by hand but tests.
type Method struct {
	Name   string  // the wire name, "area.name" or a bare name
	Doc    string  // what it does, for people
	Params []Param // positional, optional ones last
	Result string  // the result's type in the words of the wire; "nil" for none

	Public     bool // answers before login
	Concurrent bool // exempt from the session's order
	Durable    bool // responds only after its effect is committed
	Waits      bool // for a client's answer: how long it takes is not the server's doing

	Where string // "internal/handlers/room/room.go:31", for people

	index int // in Registry.Methods, once the registry is frozen

	// Exactly one of the three is set. Each decodes its params from a first.

	// Sync runs on the loop, must not block, and appends the result to out.
	Sync func(c *Call, a *Args, out []byte) ([]byte, error)
	// Async starts on the loop; the result follows from the future it waits for.
	Async func(c *Call, a *Args) (Pending, error)
	// Blocking decodes on the loop, keeping nothing of a, and returns what then
	// runs on a worker goroutine, where blocking is fine.
	Blocking func(c *Call, a *Args) (func(out []byte) ([]byte, error), error)
}

// Param is one positional parameter.
type Param struct {
	Name     string
	Type     string // in the words of the wire: "int", "str", "{name str, gold int}"
	Optional bool
}

// MethodInfo is what sys.methods, the routes command and the API page tell about
// a method.
type MethodInfo struct {
	Name       string      `msgpack:"name" json:"name"`
	Params     []ParamInfo `msgpack:"params" json:"params"`
	Result     string      `msgpack:"result" json:"result"`
	Doc        string      `msgpack:"doc" json:"doc"`
	Public     bool        `msgpack:"public" json:"public"`
	Durable    bool        `msgpack:"durable" json:"durable"`
	Concurrent bool        `msgpack:"concurrent" json:"concurrent"`
	Waits      bool        `msgpack:"-" json:"waits,omitempty"`
	Where      string      `msgpack:"-" json:"where,omitempty"`
}

// ParamInfo is the public form of Param.
type ParamInfo struct {
	Name     string `msgpack:"name" json:"name"`
	Type     string `msgpack:"type" json:"type"`
	Optional bool   `msgpack:"optional,omitempty" json:"optional,omitempty"`
}

func (m *Method) info() MethodInfo {
	params := make([]ParamInfo, len(m.Params))
	for i, p := range m.Params {
		params[i] = ParamInfo(p)
	}
	return MethodInfo{
		Name: m.Name, Params: params, Result: m.Result, Doc: m.Doc,
		Public: m.Public, Durable: m.Durable, Concurrent: m.Concurrent, Waits: m.Waits, Where: m.Where,
	}
}

// Pending is a call whose result is still to come; Await makes one.
type Pending interface {
	// whenDone arranges for finish to run once, on the loop of c's session.
	whenDone(c *Call)
}

type awaited[T any] struct {
	f      *future.Future[T]
	encode func(out []byte, v T) ([]byte, error)
}

// Await makes the call's result the future's: encode appends its value once it
// is there. Loop only.
func Await[T any](f *future.Future[T], encode func(out []byte, v T) ([]byte, error)) Pending {
	return awaited[T]{f, encode}
}

func (w awaited[T]) whenDone(c *Call) {
	if w.f == nil {
		c.AddCallback(func() { c.finish(nil, Errorf(Internal, "the method returned no future")) })
		return
	}
	w.f.Then(c, func(v T, err error) {
		c.finish(func(out []byte) ([]byte, error) { return w.encode(out, v) }, err)
	})
}
