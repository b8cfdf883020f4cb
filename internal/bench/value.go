package bench

import (
	"encoding/json"
	"fmt"

	"gameserverd/internal/cli"
	"gameserverd/wire"
)

// EncodeArgs turns arguments of the command line, which are read as `gameserverd call` reads them, into the params of a
// call. Any goroutine.
func EncodeArgs(args []string) (wire.Raw, error) {
	b := wire.AppendArray(nil, len(args))
	for i, arg := range args {
		v, err := encodeArg(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		b = append(b, v...)
	}
	return b, wire.Check(b, wire.DefaultMaxElements)
}

func encodeArg(arg string) (wire.Raw, error) {
	v, err := cli.ParseArg(arg)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(v)
}

// asJSON is a validated value as JSON; nil stays nil.
func asJSON(v wire.Raw) json.RawMessage {
	if v == nil {
		return nil
	}
	return cli.AppendJSON(nil, v)
}
