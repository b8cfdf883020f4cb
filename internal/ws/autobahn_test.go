package ws

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The cases of the Autobahn test suite that apply to a server of binary
// messages without extensions, by their numbers there. Where a case sends text
// that is beside its point, binary is sent instead; 1.1.x, which is about text,
// is answered with 1003, and 6.x (text) and 12.x, 13.x (compression) are left out. An
// expected "..." stands for whatever came before an error.
type autobahnCase struct {
	number string
	input  []byte
	want   []string
	step   int // bytes at a time; 0: all cuts of them
}

const limit16M = 16 << 20

func TestAutobahn(t *testing.T) {
	for _, tt := range slices.Concat(framingCases(), fragmentCases(), closeCases(), sizeCases()) {
		t.Run(tt.number, func(t *testing.T) {
			steps := []int{tt.step}
			if tt.step == 0 {
				steps = []int{1, 2, 3, 5, 7, 64, len(tt.input)}
			}
			for _, step := range steps {
				got := decode(t, bytes.Clone(tt.input), step, limit16M)
				if !slices.Equal(got, tt.want) {
					t.Fatalf("%d bytes at a time: %s\nwant %s", step, strings.Join(got, ", "), strings.Join(tt.want, ", "))
				}
			}
		})
	}
}

func framingCases() []autobahnCase {
	hello := "Hello, world!"
	text := func(n int) string { return strings.Repeat("*", n) }
	message := func(n int) []string { return []string{shown(Event{Kind: Message, Payload: []byte(text(n))})} }
	pings := bytes.Repeat(frame(finPing, "payload"), 10)
	tenPings := slices.Repeat([]string{`ping "payload"`}, 10)
	helloThen := func(more ...string) []string { return append([]string{`message "Hello, world!"`}, more...) }
	refused := []string{"error 1002"}
	return []autobahnCase{
		{number: "1.1.1", input: frame(finText, ""), want: []string{"error 1003"}},
		{number: "1.1.2", input: frame(finText, text(125)), want: []string{"error 1003"}},
		{number: "1.2.1", input: frame(finBinary, ""), want: message(0)},
		{number: "1.2.2", input: frame(finBinary, text(125)), want: message(125)},
		{number: "1.2.3", input: frame(finBinary, text(126)), want: message(126)},
		{number: "1.2.4", input: frame(finBinary, text(127)), want: message(127)},
		{number: "1.2.5", input: frame(finBinary, text(128)), want: message(128)},
		{number: "1.2.6", input: frame(finBinary, text(65535)), want: message(65535)},
		{number: "1.2.7", input: frame(finBinary, text(65536)), want: message(65536)},
		{number: "1.2.8", input: frame(finBinary, text(65536)), want: message(65536), step: 997},

		{number: "2.1", input: frame(finPing, ""), want: []string{`ping ""`}},
		{number: "2.2", input: frame(finPing, hello), want: []string{`ping "Hello, world!"`}},
		{number: "2.3", input: frame(finPing, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), want: []string{`ping "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"`}},
		{number: "2.4", input: frame(finPing, text(125)), want: []string{"ping of 125"}},
		{number: "2.5", input: frame(finPing, text(126)), want: refused},
		{number: "2.6", input: frame(finPing, text(125)), want: []string{"ping of 125"}, step: 1},
		{number: "2.7", input: frame(finPong, ""), want: []string{`pong ""`}},
		{number: "2.8", input: frame(finPong, "unsolicited"), want: []string{`pong "unsolicited"`}},
		{number: "2.9", input: join(frame(finPong, "unsolicited"), frame(finPing, "ping")), want: []string{`pong "unsolicited"`, `ping "ping"`}},
		{number: "2.10", input: pings, want: tenPings},
		{number: "2.11", input: pings, want: tenPings, step: 1},

		{number: "3.1", input: frame(finBinary|0x10, hello), want: refused},
		{number: "3.2", input: join(frame(finBinary, hello), frame(finBinary|0x20, hello), frame(finPing, "")), want: helloThen("error 1002")},
		{number: "3.3", input: join(frame(finBinary, hello), frame(finBinary|0x30, hello), frame(finPing, "")), want: helloThen("error 1002")},
		{number: "3.4", input: join(frame(finBinary, hello), frame(finBinary|0x40, hello), frame(finPing, "")), want: helloThen("error 1002"), step: 1},
		{number: "3.5", input: frame(finBinary|0x50, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), want: refused},
		{number: "3.6", input: frame(finPing|0x60, hello), want: refused},
		{number: "3.7", input: frame(finClose|0x70, ""), want: refused},

		{number: "4.1.1", input: frame(0x83, ""), want: refused},
		{number: "4.1.2", input: frame(0x84, "reserved opcode payload"), want: refused},
		{number: "4.1.3", input: join(frame(finBinary, hello), frame(0x85, ""), frame(finPing, "")), want: helloThen("error 1002")},
		{number: "4.1.4", input: join(frame(finBinary, hello), frame(0x86, hello), frame(finPing, "")), want: helloThen("error 1002")},
		{number: "4.1.5", input: join(frame(finBinary, hello), frame(0x87, hello), frame(finPing, "")), want: helloThen("error 1002"), step: 1},
		{number: "4.2.1", input: frame(0x8b, ""), want: refused},
		{number: "4.2.2", input: frame(0x8c, "reserved opcode payload"), want: refused},
		{number: "4.2.3", input: join(frame(finBinary, hello), frame(0x8d, ""), frame(finPing, "")), want: helloThen("error 1002")},
		{number: "4.2.4", input: join(frame(finBinary, hello), frame(0x8e, hello), frame(finPing, "")), want: helloThen("error 1002")},
		{number: "4.2.5", input: join(frame(finBinary, hello), frame(0x8f, hello), frame(finPing, "")), want: helloThen("error 1002"), step: 1},
	}
}

func fragmentCases() []autobahnCase {
	const one, two = "fragment1", "fragment2"
	both := join(frame(startBinary, one), frame(finMore, two))
	pinged := join(frame(startBinary, one), frame(finPing, "ping"), frame(finMore, two))
	nothing := join(frame(finMore, "non-continuation payload"), frame(finBinary, "Hello, world!"))
	goesOn := join(frame(more, "non-continuation payload"), frame(finBinary, "Hello, world!"))
	five := join(frame(startBinary, "fragment1"), frame(more, "fragment2"), frame(finPing, "pongme 1!"),
		frame(more, "fragment3"), frame(more, "fragment4"), frame(finPing, "pongme 2!"), frame(finMore, "fragment5"))
	whole := []string{`message "fragment1fragment2"`}
	withPing := append([]string{`ping "ping"`}, whole...)
	fiveEvents := []string{`ping "pongme 1!"`, `ping "pongme 2!"`, `message "fragment1fragment2fragment3fragment4fragment5"`}
	refused := []string{"error 1002"}
	return []autobahnCase{
		{number: "5.1", input: join(frame(0x09, one), frame(finMore, two)), want: refused},
		{number: "5.2", input: join(frame(0x0a, one), frame(finMore, two)), want: refused},
		{number: "5.3", input: both, want: whole},
		{number: "5.4", input: both, want: whole, step: len(both) / 2},
		{number: "5.5", input: both, want: whole, step: 1},
		{number: "5.6", input: pinged, want: withPing},
		{number: "5.7", input: pinged, want: withPing, step: 15},
		{number: "5.8", input: pinged, want: withPing, step: 1},
		{number: "5.9", input: nothing, want: refused},
		{number: "5.10", input: nothing, want: refused, step: 30},
		{number: "5.11", input: nothing, want: refused, step: 1},
		{number: "5.12", input: goesOn, want: refused},
		{number: "5.13", input: goesOn, want: refused, step: 30},
		{number: "5.14", input: goesOn, want: refused, step: 1},
		{number: "5.15", input: join(both, frame(more, "fragment3"), frame(finBinary, "fragment4")), want: append(slices.Clone(whole), "error 1002")},
		{number: "5.16", input: bytes.Repeat(join(frame(more, one), both), 2), want: refused},
		{number: "5.17", input: bytes.Repeat(join(frame(finMore, one), both), 2), want: refused},
		{number: "5.18", input: join(frame(startBinary, one), frame(finBinary, two)), want: refused},
		{number: "5.18 text", input: join(frame(startBinary, one), frame(finText, two)), want: refused},
		{number: "5.19", input: five, want: fiveEvents},
		{number: "5.20", input: five, want: fiveEvents, step: 15},
	}
}

func closeCases() []autobahnCase {
	hello, normal := frame(finBinary, "Hello World!"), closeFrame(1000, "")
	refused := []string{"error 1002"}
	closed := []string{`close 1000 ""`}
	cases := []autobahnCase{
		{number: "7.1.1", input: join(hello, normal), want: []string{`message "Hello World!"`, `close 1000 ""`}},
		{number: "7.1.2", input: join(normal, normal), want: closed},
		{number: "7.1.3", input: join(normal, frame(finPing, "")), want: closed},
		{number: "7.1.4", input: join(normal, hello), want: closed},
		{number: "7.1.5", input: join(frame(startBinary, "fragment1"), normal, frame(finMore, "fragment2")), want: closed},
		{number: "7.1.6", input: join(frame(finBinary, strings.Repeat("BAsd7&jh23", 26214)), hello, normal, frame(finPing, "")),
			want: []string{"message of 262140", `message "Hello World!"`, `close 1000 ""`}},
		{number: "7.3.1", input: frame(finClose, ""), want: []string{`close 1005 ""`}},
		{number: "7.3.2", input: frame(finClose, "a"), want: refused},
		{number: "7.3.3", input: normal, want: closed},
		{number: "7.3.4", input: closeFrame(1000, "Hello World!"), want: []string{`close 1000 "Hello World!"`}},
		{number: "7.3.5", input: closeFrame(1000, strings.Repeat("*", 123)), want: []string{fmt.Sprintf("close 1000 %q", strings.Repeat("*", 123))}},
		{number: "7.3.6", input: closeFrame(1000, strings.Repeat("*", 124)), want: refused},
		{number: "7.5.1", input: closeFrame(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64"), want: []string{"error 1007"}},
	}
	for i, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases = append(cases, autobahnCase{number: fmt.Sprint("7.7.", i+1), input: closeFrame(code, ""), want: []string{fmt.Sprintf(`close %d ""`, code)}})
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		cases = append(cases, autobahnCase{number: fmt.Sprint("7.9.", i+1), input: closeFrame(code, ""), want: refused})
	}
	for i, code := range []uint16{5000, 65535} {
		cases = append(cases, autobahnCase{number: fmt.Sprint("7.13.", i+1), input: closeFrame(code, ""), want: refused})
	}
	return cases
}

// sizeCases are 9.x, whose point is that size and fragments do not change a
// message, and 10.1.1. 8 MiB and more in small pieces is left to 9.2.6.
func sizeCases() (cases []autobahnCase) {
	const k, m = 1 << 10, 1 << 20
	message := func(n int) []string { return []string{fmt.Sprintf("message of %d", n)} }
	add := func(group, i, step int, input []byte, want []string) {
		cases = append(cases, autobahnCase{number: fmt.Sprintf("9.%d.%d", group, i+1), input: input, want: want, step: step})
	}
	for i, n := range []int{64 * k, 256 * k, m, 4 * m, 8 * m, 16 * m} {
		add(2, i, 64*k, frame(finBinary, strings.Repeat("*", n)), message(n))
	}
	for i, n := range []int{64, 256, k, 4 * k, 16 * k, 64 * k, 256 * k, m, 4 * m} {
		add(4, i, 64*k, fragments(4*m, n), message(4*m))
	}
	for i, step := range []int{64, 128, 256, 512, k, 2 * k} {
		add(6, i, step, frame(finBinary, strings.Repeat("*", m)), message(m))
	}
	for i, n := range []int{0, 16, 64, 256, k, 4 * k} {
		want := slices.Repeat([]string{shown(Event{Kind: Message, Payload: bytes.Repeat([]byte("*"), n)})}, 1000)
		add(8, i, 64*k, bytes.Repeat(frame(finBinary, strings.Repeat("*", n)), 1000), want)
	}
	return append(cases, autobahnCase{number: "10.1.1", input: fragments(65536, 1300), want: message(65536)})
}

// fragments is a message of total bytes in frames of at most size.
func fragments(total, size int) (b []byte) {
	for first := byte(startBinary); total > 0; first = more {
		n := min(size, total)
		if total -= n; total == 0 {
			first |= 0x80
		}
		b = append(b, frame(first, strings.Repeat("*", n))...)
	}
	return b
}
