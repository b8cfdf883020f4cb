package metrics

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// point is a line, read back.
type point struct {
	measurement string
	tags        [][2]string
	fields      map[string]float64
	ms          int64
}

// readLine is a reader of line protocol that shares nothing with the writer: it goes
// by InfluxDB's page about it.
func readLine(t testing.TB, line string) point {
	t.Helper()
	fail := func(why string) { t.Helper(); t.Fatalf("%s: %q", why, line) }
	if strings.HasPrefix(line, "#") {
		fail("a comment")
	}
	// until returns what is before the first of the ends that no backslash stands before.
	until := func(ends string) (text string, end byte) {
		var b strings.Builder
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case c == '\\' && i+1 < len(line) && strings.IndexByte(", =", line[i+1]) >= 0:
				i++
				b.WriteByte(line[i])
			case c == '\\':
				fail("a backslash before nothing")
			case strings.IndexByte(ends, c) >= 0:
				line = line[i+1:]
				return b.String(), c
			default:
				b.WriteByte(c)
			}
		}
		fail("it ends too early")
		return
	}
	p := point{fields: map[string]float64{}}
	var end byte
	if p.measurement, end = until(", "); p.measurement == "" {
		fail("no measurement")
	}
	for end == ',' {
		var tag [2]string
		tag[0], _ = until("=")
		if tag[1], end = until(", "); tag[0] == "" || tag[1] == "" {
			fail("an empty tag")
		}
		p.tags = append(p.tags, tag)
	}
	for end = ','; end == ','; {
		var text string
		name, _ := until("=")
		text, end = until(", ")
		v, err := strconv.ParseFloat(text, 64)
		if _, twice := p.fields[name]; name == "" || twice || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			fail("a wrong field " + name + " " + text)
		}
		if !strings.ContainsAny(text, ".e") {
			fail("a field that may be taken for an integer")
		}
		p.fields[name] = v
	}
	ms, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		fail("no time")
	}
	p.ms = ms
	return p
}

// written is what of s can be written.
func written(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' || r == 0x7f || r == '\\' {
			r = '_'
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

func TestLines(t *testing.T) {
	var l lines
	l.begin("gameserverd_rpc_calls_total")
	l.tag("method", "a b,c=d")
	l.tag("empty", "")
	l.field("value", 3)
	l.end(1700000000000)
	l.begin("nothing")
	l.tag("method", "x")
	l.field("value", math.NaN())
	l.end(1)
	l.begin("floats")
	for i, v := range []float64{0, -1, 0.1, 1e6, 123456789012345, 1e15, 1e300, 5e-324, 1e-5, math.Inf(1), math.Copysign(0, -1)} {
		l.field("f"+strconv.Itoa(i), v)
	}
	l.end(-5)
	l.begin("#odd\nname\\")
	l.field("a", 1.5)
	l.end(0)
	want := `gameserverd_rpc_calls_total,method=a\ b\,c\=d value=3.0 1700000000000
floats f0=0.0,f1=-1.0,f2=0.1,f3=1000000.0,f4=123456789012345.0,f5=1e+15,f6=1e+300,f7=5e-324,f8=1e-05,f10=-0.0 -5
_odd_name_ a=1.5 0
`
	if got := string(l.buf); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if l.count != 3 {
		t.Errorf("%d lines, want 3", l.count)
	}
}

// FuzzLine: whatever the names, tags and values, the line reads back as what was
// written, and as one line.
func FuzzLine(f *testing.F) {
	f.Add("calls", "method", "a b", "code", `x\,y=`, "value", 1.5, int64(1))
	f.Add("#c", "", "", "m", "\xff\n\x00", "count", math.NaN(), int64(-1))
	f.Add("", "é=", "ü ", "a", `\`, "", 1e300, int64(0))
	f.Fuzz(func(t *testing.T, measurement, tag1, value1, tag2, value2, field string, v float64, ms int64) {
		var l lines
		l.begin("before")
		l.field("value", 1)
		l.end(1)
		l.begin(measurement)
		l.tag(tag1, value1)
		l.tag(tag2, value2)
		l.field(field, v)
		l.field("x"+field, 2)
		l.field(field+"y", math.Inf(-1))
		l.end(ms)
		if l.count != 2 || strings.Count(string(l.buf), "\n") != 2 {
			t.Fatalf("%d lines: %q", l.count, l.buf)
		}
		_, rest, _ := strings.Cut(string(l.buf), "\n")
		p := readLine(t, strings.TrimSuffix(rest, "\n"))
		wanted := written(measurement)
		if wanted == "" {
			wanted = "_"
		} else if wanted[0] == '#' {
			wanted = "_" + wanted[1:]
		}
		if p.measurement != wanted || p.ms != ms {
			t.Errorf("%q at %d, want %q at %d", p.measurement, p.ms, wanted, ms)
		}
		var tags [][2]string
		for _, pair := range [][2]string{{tag1, value1}, {tag2, value2}} {
			if pair[0] != "" && pair[1] != "" {
				tags = append(tags, [2]string{written(pair[0]), written(pair[1])})
			}
		}
		if len(tags) != len(p.tags) {
			t.Fatalf("tags %q, want %q", p.tags, tags)
		}
		for i := range tags {
			if tags[i] != p.tags[i] {
				t.Errorf("tag %q, want %q", p.tags[i], tags[i])
			}
		}
		got, there := p.fields[written(field)]
		if want := field != "" && !math.IsNaN(v) && !math.IsInf(v, 0); there != want || there && got != v {
			t.Errorf("field %v %v, want %v %v", got, there, v, want)
		}
		if p.fields[written("x"+field)] != 2 {
			t.Errorf("fields %v", p.fields)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	var l lines
	for b.Loop() {
		l.reset()
		l.begin("gameserverd_rpc_calls_total")
		l.tag("method", "game.player.play")
		l.tag("instance", "game-1")
		l.field("value", 123456)
		l.end(1700000000000)
	}
}
