package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"gameserverd/wire"
)

// EncodeArgs turns JSON texts into the params of a call, one text a parameter. Numbers without fraction and exponent
// become integers. Any goroutine.
func EncodeArgs(args []string) (wire.Raw, error) {
	b := wire.AppendArray(nil, len(args))
	for i, arg := range args {
		v, err := encodeJSON(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		b = append(b, v...)
	}
	return b, wire.Check(b, wire.DefaultMaxElements)
}

// encodeJSON turns one JSON text into a MessagePack value.
func encodeJSON(text string) (wire.Raw, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("text after the value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not JSON (%v); a string needs its quotes: '\"text\"'", text, err)
	}
	if v, err = plain(v); err != nil {
		return nil, err
	}
	return wire.Marshal(v)
}

// plain replaces JSON numbers by Go's.
func plain(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i, nil
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return u, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = plain(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// decodeJSON turns a MessagePack value into JSON; nil if it has no JSON form.
func decodeJSON(b wire.Raw) json.RawMessage {
	if b == nil {
		return nil
	}
	var v any
	if wire.Unmarshal(b, &v) != nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}
