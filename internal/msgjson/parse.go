package msgjson

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Parse reads one JSON value, and all of text, into one that wire.AppendAny takes;
// integers stay exact and must fit 64 bits. A *SyntaxError says that text is no
// JSON at all; any other error that it holds what MessagePack does not. Any
// goroutine.
func Parse(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more follows after the value")
		}
	}
	if err != nil {
		return nil, &SyntaxError{err}
	}
	return fromJSON(v)
}

// SyntaxError says why a text is not JSON.
type SyntaxError struct{ Err error }

// Error is what encoding/json says.
func (e *SyntaxError) Error() string { return e.Err.Error() }

// Unwrap gives Err.
func (e *SyntaxError) Unwrap() error { return e.Err }

// fromJSON replaces, in place, what only JSON has.
func fromJSON(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		return fromNumber(v.String())
	case []any:
		for i := range v {
			if v[i], err = fromJSON(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if special, ok, err := fromSpecial(v); ok {
			return special, err
		}
		for k := range v {
			if v[k], err = fromJSON(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func fromNumber(s string) (any, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%s does not fit a 64-bit float", s)
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	return nil, fmt.Errorf("%s does not fit a 64-bit integer", s)
}

// fromSpecial reads the objects that stand for values without a JSON form.
func fromSpecial(m map[string]any) (v any, ok bool, err error) {
	if len(m) != 1 {
		return nil, false, nil
	}
	for key, inside := range m {
		text, isText := inside.(string)
		if !isText || key != binKey && key != strKey && key != floatKey {
			return nil, false, nil
		}
		if key == floatKey {
			switch text {
			case "NaN", "+Inf", "-Inf":
				f, err := strconv.ParseFloat(text, 64)
				return f, true, err
			}
			return nil, true, fmt.Errorf(`%s must be "NaN", "+Inf" or "-Inf", got %q`, key, text)
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, true, fmt.Errorf("%s must be base64, got %q", key, text)
		}
		if key == strKey {
			return string(b), true, nil
		}
		return b, true, nil
	}
	return nil, false, nil
}
