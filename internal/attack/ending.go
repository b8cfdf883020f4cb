package attack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"gameserverd/wire"
)

// How a connection ended, beside "sys.closing CODE", "http STATUS", "websocket
// close CODE" and "tls alert CODE".
const (
	stayedOpen = "open"   // until the scenario was over
	leftIt     = "left"   // by the attack
	hungUp     = "closed" // by the server, without a word
	wasReset   = "reset"
	noAnswer   = "no connection" // in time
)

// received is what came on a connection, as far as it tells how that ended: its
// beginning and its end.
type received struct {
	head, tail []byte
}

const (
	keptHead = 64
	keptTail = 8 << 10
)

// add takes b in.
func (r *received) add(b []byte) {
	if room := keptHead - len(r.head); room > 0 {
		r.head = append(r.head, b[:min(room, len(b))]...)
	}
	r.tail = append(r.tail, b[max(0, len(b)-keptTail):]...)
	if len(r.tail) > keptTail {
		r.tail = append(r.tail[:0], r.tail[len(r.tail)-keptTail:]...)
	}
}

// closingStart is [2, "sys.closing", ...]: how it begins in every framing.
var closingStart = append([]byte{0x93, 0x02, 0xa0 | byte(len(wire.ClosingMethod))}, wire.ClosingMethod...)

// ending says in a few words how a connection ended, of what came on it and the
// error of the last read.
func (r *received) ending(err error) string {
	if code := r.closing(); code != "" {
		return "sys.closing " + code
	}
	if status, ok := bytes.CutPrefix(r.head, []byte("HTTP/1.1 ")); ok && len(status) >= 3 && string(status[:3]) != "101" {
		return "http " + string(status[:3])
	}
	if code := r.closeFrame(); code != 0 {
		return fmt.Sprint("websocket close ", code)
	}
	if len(r.head) >= 7 && r.head[0] == 0x15 && r.head[1] == 0x03 {
		return fmt.Sprint("tls alert ", r.head[6])
	}
	return ofError(err)
}

func (r *received) closing() string {
	at := bytes.LastIndex(r.tail, closingStart)
	if at < 0 {
		return ""
	}
	params := wire.NewReader(r.tail[at+len(closingStart):])
	c, err := wire.ParseClosing(params.Raw())
	if err != nil {
		return "(unreadable)"
	}
	return c.Code
}

// closeFrame finds a WebSocket Close at the end of what came.
func (r *received) closeFrame() uint16 {
	if !bytes.HasPrefix(r.head, []byte("HTTP/1.1 101")) {
		return 0
	}
	for size := 4; size <= min(len(r.tail), 127); size++ {
		if f := r.tail[len(r.tail)-size:]; f[0] == 0x88 && int(f[1]) == size-2 {
			return binary.BigEndian.Uint16(f[2:])
		}
	}
	return 0
}

// ofError is how a connection ended by an error alone.
func ofError(err error) string {
	var dial *net.OpError
	var wait net.Error
	switch {
	case errors.Is(err, errLeave):
		return leftIt
	case errors.As(err, &dial) && dial.Op == "dial" && dial.Timeout():
		return noAnswer
	case err == nil, errors.Is(err, net.ErrClosed), errors.As(err, &wait) && wait.Timeout():
		return stayedOpen
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return hungUp
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return wasReset
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &dial) && dial.Op == "remote error":
		return strings.Replace(dial.Err.Error(), "tls: ", "tls alert: ", 1)
	}
	return "failed: " + err.Error()
}
