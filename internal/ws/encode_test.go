package ws

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestFramesReadBack(t *testing.T) {
	long := strings.Repeat("é", 62) // 124 bytes: the last does not fit
	tests := []struct {
		name   string
		got    []byte
		opcode ws.OpCode
		body   string
	}{
		{"message of 0", AppendFrame(nil, Message, nil), ws.OpBinary, ""},
		{"message of 125", AppendFrame(nil, Message, make([]byte, 125)), ws.OpBinary, string(make([]byte, 125))},
		{"message of 126", AppendFrame(nil, Message, make([]byte, 126)), ws.OpBinary, string(make([]byte, 126))},
		{"message of 65535", AppendFrame(nil, Message, make([]byte, 65535)), ws.OpBinary, string(make([]byte, 65535))},
		{"message of 65536", AppendFrame(nil, Message, make([]byte, 65536)), ws.OpBinary, string(make([]byte, 65536))},
		{"header and body apart", append(AppendHeader(nil, 3), "abc"...), ws.OpBinary, "abc"},
		{"ping", AppendFrame(nil, Ping, []byte("p")), ws.OpPing, "p"},
		{"pong that is too long", AppendFrame(nil, Pong, make([]byte, 126)), ws.OpPong, string(make([]byte, 125))},
		{"close", AppendClose(nil, CodeGoingAway, "bye"), ws.OpClose, "\x03\xe9bye"},
		{"close without a code", AppendClose(nil, CodeNone, "not sent"), ws.OpClose, ""},
		{"close with a long reason", AppendClose(nil, CodePolicy, long), ws.OpClose, "\x03\xf0" + long[:122]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bytes.NewReader(tt.got)
			head, err := ws.ReadHeader(r)
			if err == nil {
				err = ws.CheckHeader(head, ws.StateClientSide)
			}
			body := tt.got[len(tt.got)-r.Len():]
			if err != nil || !head.Fin || head.OpCode != tt.opcode || head.Length != int64(len(body)) || string(body) != tt.body {
				t.Errorf("%v, %+v with %.40q", err, head, body)
			}
			if len(tt.got)-len(tt.body) > MaxHeader {
				t.Errorf("a header of %d bytes", len(tt.got)-len(tt.body))
			}
		})
	}
}
