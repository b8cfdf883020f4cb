package store

import (
	"errors"
	"fmt"
	"strings"
)

// ofConnection are the commands that would change what the connection's next user gets, or never end.
var ofConnection = map[string]bool{
	"ASKING": true, "AUTH": true, "CLIENT": true, "DISCARD": true, "EXEC": true, "HELLO": true, "MONITOR": true, "MULTI": true,
	"PSUBSCRIBE": true, "PSYNC": true, "PUNSUBSCRIBE": true, "QUIT": true, "READONLY": true, "READWRITE": true, "REPLCONF": true,
	"RESET": true, "SELECT": true, "SSUBSCRIBE": true, "SUBSCRIBE": true, "SUNSUBSCRIBE": true, "SYNC": true, "UNSUBSCRIBE": true,
	"UNWATCH": true, "WATCH": true,
}

var errNoCommand = errors.New("store: a redis command is a name and its arguments")

// checkCommand looks at everything of a command that go-redis would take badly, and adds its bytes to size.
func checkCommand(cmd Command, size *int) error {
	if len(cmd) == 0 {
		return errNoCommand
	}
	name, is := cmd[0].(string)
	if !is || name == "" {
		return errNoCommand
	}
	if ofConnection[strings.ToUpper(name)] {
		return fmt.Errorf("store: redis command %.20q belongs to a connection, and a call has none of its own", name)
	}
	for i, arg := range cmd {
		nan := false
		switch v := arg.(type) {
		case string:
			*size += len(v)
		case []byte:
			*size += len(v)
		case float32:
			nan = v != v
			*size += 20
		case float64:
			nan = v != v
			*size += 20
		case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, bool:
			*size += 20
		default:
			return fmt.Errorf("store: argument %d of redis command %.20q has the type %T; strings, bytes, numbers and bools are taken", i, name, arg)
		}
		if nan { // which the embedded server would keep as a score
			return fmt.Errorf("store: argument %d of redis command %.20q is not a number", i, name)
		}
	}
	if *size > maxCallBytes {
		return fmt.Errorf("store: the arguments of redis command %.20q have more than %d bytes", name, maxCallBytes)
	}
	return nil
}
