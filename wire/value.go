package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// maxValueDepth bounds what AppendAny writes: wherever a value may stand in a message, at most two containers are around it.
const maxValueDepth = MaxDepth - 2

var errTooDeep = fmt.Errorf("wire: value is nested deeper than %d (or contains itself)", maxValueDepth)

// AppendAny appends v in its smallest form; the keys of map[string]any, map[string]string and map[string]bool are sorted.
//
//	nil, bool, integers, floats, string, []byte (nil: MessagePack nil), Raw, *Error, []any, map[string]any
//
// are written directly; everything else, structs foremost, by msgpack/v5 under its rules (tags `msgpack:"name,omitempty"`).
// A nil map or slice becomes nil. Values nested more than 30 deep are an error, and so are values that become MessagePack
// ext, time.Time among them (say milliseconds). On an error b is returned as it was. A pointer cycle in what msgpack/v5 encodes
// exhausts the stack.
func AppendAny(b []byte, v any) ([]byte, error) { return appendAny(b, v, 0) }

func appendAny(b []byte, v any, depth uint) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return AppendNil(b), nil
	case Raw:
		return appendRaw(b, v), nil
	case bool:
		return AppendBool(b, v), nil
	case int:
		return AppendInt(b, int64(v)), nil
	case int8:
		return AppendInt(b, int64(v)), nil
	case int16:
		return AppendInt(b, int64(v)), nil
	case int32:
		return AppendInt(b, int64(v)), nil
	case int64:
		return AppendInt(b, v), nil
	case uint:
		return AppendUint(b, uint64(v)), nil
	case uint8:
		return AppendUint(b, uint64(v)), nil
	case uint16:
		return AppendUint(b, uint64(v)), nil
	case uint32:
		return AppendUint(b, uint64(v)), nil
	case uint64:
		return AppendUint(b, v), nil
	case float32:
		return AppendFloat32(b, v), nil
	case float64:
		return AppendFloat64(b, v), nil
	case string:
		return AppendString(b, v), nil
	case []byte:
		if v == nil {
			return AppendNil(b), nil
		}
		return AppendBytes(b, v), nil
	case []any:
		return appendSlice(b, v, depth)
	case map[string]any:
		return appendStringMap(b, v, depth)
	case *Error:
		return AppendError(b, v), nil
	}
	return appendReflected(b, v, depth)
}

func appendRaw(b []byte, v Raw) []byte {
	if len(v) == 0 {
		return AppendNil(b)
	}
	if invariants {
		if err := Check(v, math.MaxInt); err != nil {
			panic(fmt.Sprintf("wire: a Raw that is not one valid value: %v: % x", err, []byte(v)))
		}
	}
	return append(b, v...)
}

func appendSlice(b []byte, v []any, depth uint) ([]byte, error) {
	if v == nil {
		return AppendNil(b), nil
	}
	if depth >= maxValueDepth {
		return b, errTooDeep
	}
	out := AppendArray(b, len(v))
	for _, element := range v {
		var err error
		if out, err = appendAny(out, element, depth+1); err != nil {
			return b, err
		}
	}
	return out, nil
}

func appendStringMap(b []byte, v map[string]any, depth uint) ([]byte, error) {
	if v == nil {
		return AppendNil(b), nil
	}
	if depth >= maxValueDepth {
		return b, errTooDeep
	}
	var few [16]string
	keys := few[:0]
	for key := range v {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out := AppendMap(b, len(v))
	for _, key := range keys {
		var err error
		if out, err = appendAny(AppendString(out, key), v[key], depth+1); err != nil {
			return b, err
		}
	}
	return out, nil
}

// appendWriter lets an Encoder append to the caller's slice, so encoders can be pooled without buffers of their own.
type appendWriter struct{ b []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *appendWriter) WriteByte(c byte) error {
	w.b = append(w.b, c)
	return nil
}

type encoder struct {
	*msgpack.Encoder
	w appendWriter
}

var encoders = sync.Pool{New: func() any {
	return &encoder{Encoder: msgpack.NewEncoder(nil)}
}}

// appendReflected leaves v to msgpack/v5 and then walks what came out: a type may have an encoder of its own, which can
// write anything.
func appendReflected(b []byte, v any, depth uint) ([]byte, error) {
	e := encoders.Get().(*encoder)
	e.w.b = b
	e.Reset(&e.w) // also clears what an encoder of a type may have set
	e.UseCompactInts(true)
	e.SetSortMapKeys(true)
	checkNumbers(reflect.TypeOf(v))
	err := e.Encode(v)
	out := e.w.b
	e.w.b = nil
	encoders.Put(e)
	if err != nil {
		return b, fmt.Errorf("wire: encoding %T: %w", v, err)
	}
	var w Walker
	w.noExt = true
	w.start(len(b), MaxDepth-maxValueDepth+depth, math.MaxInt)
	if err := w.exactly(out); err != nil {
		return b, fmt.Errorf("wire: encoding %T: %w", v, err)
	}
	return out, nil
}

// Marshal is AppendAny to a new slice.
func Marshal(v any) (Raw, error) {
	b, err := AppendAny(nil, v)
	if err != nil {
		return nil, err
	}
	return b, nil
}

type decoder struct {
	*msgpack.Decoder
	r bytes.Reader
}

var decoders = sync.Pool{New: func() any {
	return &decoder{Decoder: msgpack.NewDecoder(nil)}
}}

// maxPooled is the longest input, in bytes, after which a decoder and the buffers it has grown are kept.
const maxPooled = 64 << 10

// Unmarshal validates b, with at most DefaultMaxElements, and decodes it into what v points to. Nothing decoded refers to b.
//
// *any, *[]any and *map[string]any get nil, bool, int64 (uint64 only above its range), float64, string, []byte, []any and
// map[string]any; a key that is no string is an error. *Raw gets a copy. Every other type is left to msgpack/v5 under its
// rules, except that a number which its type does not hold is an error that wraps a *TypeError (a nil becomes 0). An any inside
// of such a type gets what v5's loose decoding gives: string for bin, uint64 for the unsigned forms. An element of a slice
// takes one byte on the wire at least, whatever it takes in Go: mind it when the element is large.
//
// Ext values, timestamps among them, are an error: msgpack/v5 takes what is inside of an ext for the value itself where it
// expects a map, which would be bytes that nobody validated. It never panics.
func Unmarshal(b Raw, v any) (err error) {
	var w Walker
	w.Reset(DefaultMaxElements)
	w.noExt = true
	if err := w.exactly(b); err != nil {
		return err
	}
	switch v := v.(type) {
	case *Raw:
		if v != nil {
			*v = bytes.Clone(b)
			return nil
		}
	case *any:
		if v != nil {
			*v, err = decodeAny(b)
			return err
		}
	case *[]any:
		if v != nil && isArray(b[0]) {
			a, err := decodeAny(b)
			*v, _ = a.([]any)
			return err
		}
	case *map[string]any:
		if v != nil && isMap(b[0]) {
			a, err := decodeAny(b)
			*v, _ = a.(map[string]any)
			return err
		}
	}
	return decodeReflected(b, v)
}

func decodeReflected(b Raw, v any) (err error) {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("wire: decoding into %T: not a pointer, or nil", v)
	}
	checkNumbers(target.Type())
	defer func() { // a map[any]T panics on a key that cannot be one, an array for instance
		if p := recover(); p != nil {
			err = fmt.Errorf("wire: decoding into %T: %v", v, p)
		}
	}()
	d := decoders.Get().(*decoder)
	d.r.Reset(b)
	d.Reset(&d.r)
	d.UseLooseInterfaceDecoding(true)
	// Not Decode: for *int8 and its like that goes past what checkNumbers has registered.
	if err := d.DecodeValue(target.Elem()); err != nil {
		return fmt.Errorf("wire: decoding into %T: %w", v, err) // d may be in the middle of something: it is not kept
	}
	d.r.Reset(nil)
	if len(b) <= maxPooled {
		decoders.Put(d)
	}
	return nil
}

var errExt = errors.New("wire: ext values are not supported")

func decodeAny(b Raw) (any, error) {
	r := NewReader(b)
	return r.any()
}

// any reads the next value into the types that Unmarshal documents. The recursion is bounded by the validation.
func (r *Reader) any() (any, error) {
	c := r.b[r.off]
	switch {
	case isArray(c):
		return r.anySlice()
	case isMap(c):
		return r.anyMap()
	case isStr(c):
		return r.String()
	case isBin(c):
		v, err := r.Bytes()
		return bytes.Clone(v), err
	case isExt(c):
		return nil, errExt
	case c == 0xc0:
		r.off++
		return nil, nil
	case c == 0xc2, c == 0xc3:
		return r.Bool()
	case c == 0xca, c == 0xcb:
		return r.Float64()
	}
	v, negative, size := integer(r.b[r.off:])
	if size == 0 {
		return nil, r.mismatch("value")
	}
	r.off += size
	if !negative && v > math.MaxInt64 {
		return v, nil
	}
	return int64(v), nil
}

func (r *Reader) anySlice() (any, error) {
	n, err := r.Array()
	if err != nil {
		return nil, err
	}
	s := make([]any, n)
	for i := range s {
		if s[i], err = r.any(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (r *Reader) anyMap() (any, error) {
	n, err := r.Map()
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, n)
	for ; n > 0; n-- {
		key, err := r.String()
		if err != nil {
			return nil, fmt.Errorf("wire: key of a map: %w", err)
		}
		if m[key], err = r.any(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// EncodeMsgpack is for msgpack/v5, when a Raw is part of something else.
func (b Raw) EncodeMsgpack(e *msgpack.Encoder) error {
	if len(b) == 0 {
		return e.EncodeNil()
	}
	_, err := e.Writer().Write(b)
	return err
}

// DecodeMsgpack is for msgpack/v5, when a Raw is part of something else.
func (b *Raw) DecodeMsgpack(d *msgpack.Decoder) error {
	raw, err := d.DecodeRaw()
	*b = Raw(raw)
	return err
}
