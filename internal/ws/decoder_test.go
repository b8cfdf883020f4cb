package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// frame returns a frame as a client sends it. b0 is its first byte.
func frame(b0 byte, payload string) []byte {
	b := []byte{b0}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, testKey[:]...)
	body := []byte(payload)
	ws.Cipher(body, testKey, 0)
	return append(b, body...)
}

// First bytes of frames.
const (
	finBinary, startBinary = 0x82, 0x02
	finMore, more          = 0x80, 0x00
	finClose               = 0x88
	finPing, finPong       = 0x89, 0x8a
	finText, startText     = 0x81, 0x01
)

func closeFrame(code uint16, reason string) []byte {
	return frame(finClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// shown is an Event as tests compare it.
func shown(ev Event) string {
	if ev.Kind == Close {
		return fmt.Sprintf("close %d %q", ev.Code, ev.Payload)
	}
	name := map[Kind]string{Message: "message", Ping: "ping", Pong: "pong"}[ev.Kind]
	if len(ev.Payload) > 64 {
		return fmt.Sprintf("%s of %d", name, len(ev.Payload))
	}
	return fmt.Sprintf("%s %q", name, ev.Payload)
}

func shownError(e *ProtocolError) string { return fmt.Sprintf("error %d", e.Code) }

// decode feeds input to a Decoder as a connection would, step bytes at a time,
// and returns its events, the last of them an error if there was one.
func decode(t testing.TB, input []byte, step, limit int) (events []string) {
	t.Helper()
	var d Decoder
	var kept []byte
	for len(input) > 0 {
		n := min(step, len(input))
		kept, input = append(kept, input[:n]...), input[n:]
		for len(kept) > 0 {
			ev, used, err := d.Next(kept, limit)
			if used < 0 || used > len(kept) {
				t.Fatalf("used %d of %d bytes", used, len(kept))
			}
			if bad := (*ProtocolError)(nil); errors.As(err, &bad) {
				return append(events, shownError(bad))
			} else if err != nil {
				t.Fatalf("an error of type %T", err)
			}
			if ev.Kind == Message {
				if got := len(ev.Framed) - len(ev.Payload); got != RoomLen {
					t.Fatalf("%d bytes of room in front of a message", got)
				}
				copy(ev.Framed, "room") // belongs to the caller
			}
			if ev.Kind != None {
				events = append(events, shown(ev))
			}
			if used == 0 {
				break
			}
			for i := range kept[:used] {
				kept[i] = 0xaa // a caller's buffer is used again
			}
			kept = kept[used:]
		}
		if len(kept) > max(limit, maxControl)+MaxHeader+RoomLen {
			t.Fatalf("%d bytes are waited on with a limit of %d", len(kept), limit)
		}
	}
	return events
}

func TestNeedSaysWhatIsAnnounced(t *testing.T) {
	var d Decoder
	whole := frame(finBinary, string(make([]byte, 300)))
	for n, want := range map[int]int{1: 1, 3: 1, 4: 300, 7: 300, 8: 300, 307: 300} {
		d = Decoder{}
		if _, used, err := d.Next(bytes.Clone(whole[:n]), 1<<20); used != 0 || err != nil || d.Need() != want {
			t.Errorf("%d bytes: used %d, %v, need %d; want %d", n, used, err, d.Need(), want)
		}
	}
	if _, used, _ := d.Next(bytes.Clone(whole), 1<<20); used != len(whole) || d.Need() != 0 {
		t.Errorf("a whole message: used %d, need %d", used, d.Need())
	}
	steps := []struct {
		input []byte
		need  int
	}{
		{frame(startBinary, ""), 1},
		{frame(more, "abc"), 3},
		{frame(finPing, "x")[:4], 3}, // a ping does not count
		{frame(finPing, "x"), 3},
		{frame(finMore, "defg")[:6], 7},
		{frame(finMore, "defg"), 0},
		{frame(finPing, "x")[:4], 0},
	}
	for i, step := range steps {
		if _, _, err := d.Next(step.input, 1<<20); err != nil || d.Need() != step.need {
			t.Errorf("step %d: %v, need %d, want %d", i, err, d.Need(), step.need)
		}
	}
}

// A length is refused before anything is reserved or waited for.
func TestLimit(t *testing.T) {
	const limit = 200
	huge := []byte{finBinary, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}
	tests := []struct {
		name  string
		input []byte
		want  string
	}{
		{"at it", frame(finBinary, string(make([]byte, limit))), "[message of 200]"},
		{"one more", frame(finBinary, string(make([]byte, limit+1)))[:8], "[error 1009]"},
		{"before the mask", frame(finBinary, string(make([]byte, limit+1)))[:4], "[error 1009]"},
		{"63 bits", huge, "[error 1009]"},
		{"64 bits", []byte{finBinary, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, "[error 1002]"},
		{"63 bits behind a fragment", join(frame(startBinary, "abc"), []byte{more}, huge[1:]), "[error 1009]"},
		{"together", join(frame(startBinary, string(make([]byte, 150))), frame(finMore, string(make([]byte, 50)))), "[message of 200]"},
		{"together one more", join(frame(startBinary, string(make([]byte, 150))), frame(finMore, string(make([]byte, 51)))[:6]), "[error 1009]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for step := 1; step <= len(tt.input); step++ {
				if got := fmt.Sprint(decode(t, tt.input, step, limit)); got != tt.want {
					t.Fatalf("step %d: %s, want %s", step, got, tt.want)
				}
			}
		})
	}
	var d Decoder
	if _, _, err := d.Next(huge, limit); err == nil || d.Need() != 1<<31-1 {
		t.Errorf("%v, need %d", err, d.Need())
	}
	if _, used, err := d.Next([]byte("anything"), limit); used != 8 || err != nil {
		t.Errorf("behind an error: used %d, %v", used, err)
	}
}

func TestUnfragmentedMessageTakesNoMemory(t *testing.T) {
	small, large := frame(finBinary, "0123456789"), frame(finBinary, string(make([]byte, 70000)))
	ping := frame(finPing, "are you there")
	var d Decoder
	out := make([]byte, 0, 1<<17)
	allocs := testing.AllocsPerRun(100, func() {
		for _, b := range [][]byte{small, ping, large} {
			ev, used, err := d.Next(b, 1<<20)
			if used != len(b) || err != nil {
				t.Fatalf("used %d of %d, %v", used, len(b), err)
			}
			out = AppendFrame(out[:0], ev.Kind, ev.Payload)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestFramedLiesInTheInput(t *testing.T) {
	var d Decoder
	b := frame(finBinary, "hello")
	ev, _, _ := d.Next(b, 100)
	if &ev.Framed[0] != &b[2] || string(ev.Payload) != "hello" || cap(ev.Framed) != len(ev.Framed) {
		t.Errorf("%q of %d bytes of room", ev.Framed, cap(ev.Framed))
	}
}

func BenchmarkNext(b *testing.B) {
	var d Decoder
	one := frame(finBinary, string(make([]byte, 64)))
	in := make([]byte, len(one))
	b.ReportAllocs()
	for b.Loop() {
		copy(in, one)
		if _, used, err := d.Next(in, 1<<20); used == 0 || err != nil {
			b.Fatal(used, err)
		}
	}
}
