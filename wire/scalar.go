package wire

import (
	"encoding"
	"reflect"
	"strconv"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// msgpack/v5 cuts an integer to the width of the Go type (300 becomes an int8 of 44, -1 a huge uint64) and refuses a
// float64 for a float32. A count or a price must not change on the way, so number types get decodeNumber instead: v5 lets a
// decoder be registered per type, and since named types are types of their own, the types that a target consists of are
// looked through once, before v5 sees it for the first time. It must be before, because v5 remembers what it found then.

var checked struct {
	mu    sync.Mutex
	roots sync.Map // reflect.Type: everything that it consists of is registered
}

var ownDecoding = []reflect.Type{
	reflect.TypeFor[msgpack.CustomDecoder](),
	reflect.TypeFor[msgpack.Unmarshaler](),
	reflect.TypeFor[encoding.BinaryUnmarshaler](),
	reflect.TypeFor[encoding.TextUnmarshaler](),
}

func init() {
	// What an interface holds is not looked through; this way at least the plain number types are right there too.
	checkNumbers(reflect.TypeFor[struct {
		_ int
		_ int8
		_ int16
		_ int32
		_ int64
		_ uint
		_ uint8
		_ uint16
		_ uint32
		_ uint64
		_ float32
		_ float64
	}]())
}

// checkNumbers has the numbers in values of type t decoded with their range checked.
func checkNumbers(t reflect.Type) {
	if _, ok := checked.roots.Load(t); ok {
		return
	}
	checked.mu.Lock()
	defer checked.mu.Unlock()
	registerNumbers(t, map[reflect.Type]bool{})
	checked.roots.Store(t, nil)
}

func registerNumbers(t reflect.Type, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	for _, own := range ownDecoding {
		if t.Implements(own) || reflect.PointerTo(t).Implements(own) {
			return
		}
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		msgpack.Register(reflect.Zero(t).Interface(), nil, decodeNumber)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		registerNumbers(t.Elem(), seen)
	case reflect.Map:
		registerNumbers(t.Key(), seen)
		registerNumbers(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			registerNumbers(t.Field(i).Type, seen)
		}
	}
}

// decodeNumber decodes into v, of any integer or float kind. A nil becomes 0, as elsewhere in v5.
func decodeNumber(d *msgpack.Decoder, v reflect.Value) error {
	c, err := d.PeekCode()
	if err != nil {
		return err
	}
	switch c {
	case msgpcode.Nil:
		v.SetZero()
		return d.DecodeNil()
	case msgpcode.Float, msgpcode.Double:
		f, err := d.DecodeFloat64()
		if err == nil {
			err = setFloat(v, f)
		}
		return err
	case msgpcode.Uint8, msgpcode.Uint16, msgpcode.Uint32, msgpcode.Uint64:
		u, err := d.DecodeUint64()
		if err == nil {
			err = setUint(v, u)
		}
		return err
	}
	if msgpcode.IsFixedNum(c) || c >= msgpcode.Int8 && c <= msgpcode.Int64 {
		n, err := d.DecodeInt64()
		if err == nil {
			err = setInt(v, n)
		}
		return err
	}
	return &TypeError{Want: wantNumber(v), Got: TypeName(Raw{c})}
}

func wantNumber(v reflect.Value) string {
	if v.CanFloat() {
		return "number"
	}
	return "integer (" + v.Kind().String() + ")"
}

func setFloat(v reflect.Value, f float64) error {
	if !v.CanFloat() {
		return &TypeError{Want: wantNumber(v), Got: "float"}
	}
	if v.OverflowFloat(f) {
		return &TypeError{Want: "number (" + v.Kind().String() + ")", Got: strconv.FormatFloat(f, 'g', -1, 64)}
	}
	v.SetFloat(f)
	return nil
}

func setUint(v reflect.Value, u uint64) error {
	switch {
	case v.CanFloat():
		v.SetFloat(float64(u))
	case v.CanUint() && !v.OverflowUint(u):
		v.SetUint(u)
	case v.CanInt() && u <= 1<<63-1 && !v.OverflowInt(int64(u)):
		v.SetInt(int64(u))
	default:
		return &TypeError{Want: wantNumber(v), Got: strconv.FormatUint(u, 10)}
	}
	return nil
}

func setInt(v reflect.Value, n int64) error {
	switch {
	case v.CanFloat():
		v.SetFloat(float64(n))
	case v.CanInt() && !v.OverflowInt(n):
		v.SetInt(n)
	case v.CanUint() && n >= 0 && !v.OverflowUint(uint64(n)):
		v.SetUint(uint64(n))
	default:
		return &TypeError{Want: wantNumber(v), Got: strconv.FormatInt(n, 10)}
	}
	return nil
}
