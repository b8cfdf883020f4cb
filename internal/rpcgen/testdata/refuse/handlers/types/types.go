// Package types has types that cannot be sent.
package types

import (
	"context"
	"net/netip"
	"time"
	"unsafe"

	"gameserverd/internal/future"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpcgen/testdata/refuse/other"
)

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

type (
	hidden      struct{ A int }
	Loop        []Loop
	Page[T any] struct{ Items []T }
	Any         any
	Text        string
	Inner       struct{ N int }
)

// MarshalText makes Text encode itself.
func (t Text) MarshalText() ([]byte, error) { return []byte(t), nil }

// Bad is a struct with fields that cannot be sent.
type Bad struct {
	_msgpack struct{} `msgpack:",as_array"`
	Inner
	Chan  chan int
	Func  []func()
	Err   map[string]error
	Array [4]byte
	When  *time.Time
	Same  int `msgpack:"same"`
	Again int `msgpack:"same"`
	Old   int `msgpack:"old,alias:older"`
	Ptr   **int
	fine  chan int
	Fine  chan int `msgpack:"-"`
}

func (h *Handlers) Chan(c *rpc.Call, v chan int) error                          { return nil }
func (h *Handlers) Func(c *rpc.Call, v func()) error                            { return nil }
func (h *Handlers) Interface(c *rpc.Call, v context.Context) error              { return nil }
func (h *Handlers) NamedAny(c *rpc.Call, v Any) error                           { return nil }
func (h *Handlers) Method(c *rpc.Call, v interface{ M() }) error                { return nil }
func (h *Handlers) Error(c *rpc.Call, v error) error                            { return nil }
func (h *Handlers) Array(c *rpc.Call, v [3]int) error                           { return nil }
func (h *Handlers) Complex(c *rpc.Call, v complex128) error                     { return nil }
func (h *Handlers) Uintptr(c *rpc.Call, v uintptr) error                        { return nil }
func (h *Handlers) Unsafe(c *rpc.Call, v unsafe.Pointer) error                  { return nil }
func (h *Handlers) Unexported(c *rpc.Call, v hidden) error                      { return nil }
func (h *Handlers) Anonymous(c *rpc.Call, v struct{ A int }) error              { return nil }
func (h *Handlers) Keys(c *rpc.Call, v map[int64]string) error                  { return nil }
func (h *Handlers) Endless(c *rpc.Call, v Loop) error                           { return nil }
func (h *Handlers) Generic(c *rpc.Call, v Page[int]) error                      { return nil }
func (h *Handlers) Foreign(c *rpc.Call, v netip.Addr) error                     { return nil }
func (h *Handlers) Time(c *rpc.Call, v time.Time) error                         { return nil }
func (h *Handlers) Duration(c *rpc.Call, v time.Duration) error                 { return nil }
func (h *Handlers) Encodes(c *rpc.Call, v map[Text]int) error                   { return nil }
func (h *Handlers) Future(c *rpc.Call, v []future.Future[int]) error            { return nil }
func (h *Handlers) Pointer(c *rpc.Call, v **int) error                          { return nil }
func (h *Handlers) Deep(c *rpc.Call, v map[string][]chan int) error             { return nil }
func (h *Handlers) Fields(c *rpc.Call, v Bad) error                             { return nil }
func (h *Handlers) Letters(c *rpc.Call, v []other.Letter) error                 { return nil }
func (h *Handlers) SameLetter(c *rpc.Call, v other.Letter) error                { return nil }
func (h *Handlers) All(c *rpc.Call, a chan int, b func(), d complex64) chan int { return nil }
