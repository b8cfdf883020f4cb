package ws

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// MaxHeader is the longest header that AppendHeader appends.
const MaxHeader = 10

// AppendHeader appends what stands before the n bytes of a binary message to a
// client: 2, 4 or 10 bytes.
func AppendHeader(dst []byte, n int) []byte { return appendHeader(dst, Message, n) }

// AppendFrame appends a frame to a client: a whole message, or a Ping or Pong
// of at most 125 bytes; what a longer one has behind them is left out.
func AppendFrame(dst []byte, kind Kind, payload []byte) []byte {
	if kind >= Close {
		payload = payload[:min(len(payload), maxControl)]
	}
	dst = appendHeader(dst, kind, len(payload))
	return append(dst, payload...)
}

// AppendClose appends a Close frame to a client. The reason is cut to the 123
// bytes that fit, between characters. CodeNone, which may not be sent, gives a
// Close without code and reason.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == CodeNone {
		return appendHeader(dst, Close, 0)
	}
	n := len(reason)
	if n > maxControl-2 {
		n = maxControl - 2
		for n > 0 && !utf8.RuneStart(reason[n]) {
			n--
		}
	}
	dst = appendHeader(dst, Close, 2+n)
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason[:n]...)
}

func appendHeader(dst []byte, kind Kind, n int) []byte {
	dst = append(dst, 0x80|byte(kind))
	switch {
	case n <= maxControl:
		return append(dst, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
}
