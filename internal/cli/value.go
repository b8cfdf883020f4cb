package cli

import (
	"errors"
	"fmt"
	"strings"

	"gameserverd/internal/msgjson"
	"gameserverd/wire"
)

// ParseArg reads one argument of the command line: JSON, or a text that is not
// JSON and then stands for itself, so that names need no quotes inside quotes.
// Text that begins like an object, a list or a quoted string must be JSON. The
// value is one that wire.AppendAny takes; integers stay exact and must fit 64
// bits. Any goroutine.
func ParseArg(arg string) (any, error) {
	v, err := msgjson.Parse(arg)
	var syntax *msgjson.SyntaxError
	if !errors.As(err, &syntax) {
		return v, err
	}
	if trimmed := strings.TrimLeft(arg, " \t\r\n"); trimmed != "" && strings.Contains(`{["`, trimmed[:1]) {
		return nil, fmt.Errorf("%s is not JSON: %w", arg, err)
	}
	return arg, nil
}

// AppendJSON is msgjson.Append. Any goroutine.
func AppendJSON(b []byte, v wire.Raw) []byte { return msgjson.Append(b, v) }
