package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"gameserverd/internal/conn"
	"gameserverd/internal/ws"
	"gameserverd/wire"
)

// wsLayer is WebSocket on one connection. To the hub it is a client that speaks
// frames: a message in, with its length in front, is a frame, and each frame out
// becomes a message. Loop only.
type wsLayer struct {
	origins []string
	decoder ws.Decoder
	native  []byte // messages that the hub has not taken, as frames
	parts   int    // bytes that the decoder holds of a message in several frames
	code    uint16 // for our Close frame; 0: nothing special has happened
	closing bool   // the client has sent its Close frame
	broken  error  // its bytes are no frames any more
}

// maxControls is how many pings and the like one turn answers.
const maxControls = 64

// upgrade takes the HTTP request off b, and the frames behind it.
func (k *stack) upgrade(b []byte) (used int) {
	end := ws.HeaderEnd(b)
	switch {
	case end == 0 && len(b) < ws.MaxRequest:
		return 0
	case end == 0:
		end = len(b)
	}
	response, err := ws.CheckUpgrade(b[:end], k.ws.origins)
	k.send(response)
	if err != nil {
		k.fail(badUpgrade, conn.Broken, fmt.Errorf("WebSocket upgrade: %w", err))
		return len(b)
	}
	k.phase = phaseOpen
	// The hub learns from a first byte that this client speaks frames, before it
	// has sent one, and from nothing behind it that no message has begun. So
	// it can say why it closes a client that has not spoken yet.
	k.mux.up.Data(k.id, []byte{0})
	k.mux.up.Data(k.id, nil)
	return end + k.frames(b[end:])
}

// frames takes WebSocket frames off b. The messages in them are joined in place:
// where the mask of each was, four bytes before it, is room for its length.
func (k *stack) frames(b []byte) (used int) {
	w := k.ws
	if !k.offer(w.native) {
		return 0
	}
	from, to, controls, offered := 0, 0, 0, false
	for used < len(b) && !k.held() {
		ev, n, err := w.decoder.Next(b[used:], wire.MaxFrame)
		if n == 0 && err == nil {
			break
		}
		used += n
		if err != nil {
			w.broken, used = err, len(b)
			break
		}
		switch ev.Kind {
		case ws.Message:
			binary.BigEndian.PutUint32(ev.Framed, uint32(len(ev.Payload)))
			at := used - len(ev.Framed)
			if at < 0 || &b[at] != &ev.Framed[0] { // it came in several frames
				k.offer(b[from:to])
				k.offer(ev.Framed)
				from, to = used, used
			} else if from == to {
				from, to = at, used
			} else {
				to += copy(b[to:], ev.Framed)
			}
			offered, w.parts = true, 0
		case ws.Ping, ws.Pong, ws.None:
			if ev.Kind == ws.None {
				w.parts = w.decoder.Need()
			}
			if ev.Kind == ws.Ping {
				k.send(ws.AppendFrame(nil, ws.Pong, ev.Payload))
			}
			if controls++; controls == maxControls {
				k.mux.Yield(k.id)
			}
		case ws.Close:
			w.closing, w.code = true, ev.Code
		}
	}
	if !k.offer(b[from:to]) {
		return used
	}
	k.noteRest(b[used:], offered)
	return used
}

// offer gives the hub messages, behind those that it has not taken; what it does
// not take now is kept. It returns whether all was taken.
func (k *stack) offer(b []byte) bool {
	w := k.ws
	if k.has(ended) {
		return false
	}
	if len(b) == 0 {
		return len(w.native) == 0
	}
	if len(w.native) > 0 && &w.native[0] != &b[0] {
		w.native = append(w.native, b...)
		return false
	}
	rest := b[k.mux.up.Data(k.id, b):]
	switch {
	case k.has(ended):
		return false
	case len(rest) == 0:
		w.native = nil
	default:
		w.native = append([]byte(nil), rest...)
	}
	return len(rest) == 0
}

// noteRest tells the hub what there is besides whole messages: bytes that are no
// frames; the end; a message that has begun in rest or before, by its length
// alone, so that the hub's limits of size and time hold; or nothing, so that it
// has heard of the client.
func (k *stack) noteRest(rest []byte, offered bool) {
	var head [wire.HeaderLen]byte
	switch n := k.ws.decoder.Need(); {
	case k.ws.broken != nil:
		k.refuseFrame(k.ws.broken)
	case k.ws.closing:
		k.eof()
	case k.held():
	case n > 0:
		binary.BigEndian.PutUint32(head[:], uint32(n))
		k.mux.up.Data(k.id, head[:])
	case len(rest) > 0:
		k.mux.up.Data(k.id, head[:1])
	case !offered:
		k.mux.up.Data(k.id, nil)
	}
}

// refuseFrame ends a client whose bytes break the protocol.
func (k *stack) refuseFrame(err error) {
	why := wire.Closing{Code: wire.ProtocolError, Message: err.Error()}
	var bad *ws.ProtocolError
	if errors.As(err, &bad) {
		k.ws.code = bad.Code
		if bad.Code == ws.CodeTooLarge {
			why.Code = wire.FrameTooLarge
		}
	}
	k.mux.countEnd(k.id, brokenWebSocket)
	k.mux.up.Refuse(k.id, why)
}

var closingNotification = wire.AppendNotification(nil, wire.ClosingMethod)

// writeMessage sends one frame of the hub's as a binary message.
func (k *stack) writeMessage(frame []byte) bool {
	if len(frame) < wire.HeaderLen {
		return false
	}
	message := frame[wire.HeaderLen:]
	if bytes.HasPrefix(message, closingNotification) {
		k.noteClosing(message)
	}
	m := k.mux
	m.scratch = append(ws.AppendHeader(m.scratch[:0], len(message)), message...)
	ok := k.send(m.scratch)
	if cap(m.scratch) > maxCollected {
		m.scratch = nil
	}
	return ok
}

// noteClosing reads from the hub's goodbye with which code to close.
func (k *stack) noteClosing(message []byte) {
	why, err := wire.ParseClosing(message[len(closingNotification):])
	if err != nil || k.ws.code != 0 && !k.ws.closing {
		return // what was wrong with a frame is more than the hub knows
	}
	switch why.Code {
	case wire.ServerShutdown:
		k.ws.code = ws.CodeGoingAway
	case wire.ProtocolError:
		k.ws.code = ws.CodeProtocol
	case wire.FrameTooLarge:
		k.ws.code = ws.CodeTooLarge
	default:
		k.ws.code = ws.CodePolicy
	}
}

// writeClose sends our Close frame: for our own reason, or with the client's
// code, as RFC 6455 has it, or because there is no more to say.
func (k *stack) writeClose() {
	code := k.ws.code
	if code == 0 {
		code = ws.CodeNormal
	}
	k.send(ws.AppendClose(nil, code, ""))
}
