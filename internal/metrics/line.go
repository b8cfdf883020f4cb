package metrics

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// lines writes InfluxDB's line protocol:
//
//	measurement,tag=value,tag=value field=1.0,field=2.5 1700000000000\n
//
// Commas, spaces and equal signs in names and tags get a backslash before them.
// What cannot be written, line ends and backslashes among it, becomes an underscore:
// InfluxDB knows no escape for them. Every field is a float, so that it never
// changes its type, which InfluxDB would refuse.
type lines struct {
	buf    []byte
	start  int // of the line that is written
	fields int // that it has
	count  int // lines that are complete
}

// reset empties it and keeps its memory.
func (l *lines) reset() { *l = lines{buf: l.buf[:0]} }

// begin begins a line.
func (l *lines) begin(measurement string) {
	l.start, l.fields = len(l.buf), 0
	if measurement == "" || measurement[0] == '#' { // that would be a comment
		l.buf = append(l.buf, '_')
		measurement = measurement[min(1, len(measurement)):]
	}
	l.text(measurement)
}

// tag adds a tag, before any field. One that is empty is left out, since it cannot be
// written, and to InfluxDB means the same.
func (l *lines) tag(name, value string) {
	if name == "" || value == "" {
		return
	}
	l.buf = append(l.buf, ',')
	l.text(name)
	l.buf = append(l.buf, '=')
	l.text(value)
}

// field adds a field, unless its value is none: NaN or infinite.
func (l *lines) field(name string, v float64) {
	if name == "" || math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if l.fields == 0 {
		l.buf = append(l.buf, ' ')
	} else {
		l.buf = append(l.buf, ',')
	}
	l.fields++
	l.text(name)
	l.buf = append(l.buf, '=')
	l.buf = appendFloat(l.buf, v)
}

// end ends the line, with its time in milliseconds since 1970. A line without fields
// is taken back.
func (l *lines) end(ms int64) {
	if l.fields == 0 {
		l.buf = l.buf[:l.start]
		return
	}
	l.buf = append(l.buf, ' ')
	l.buf = strconv.AppendInt(l.buf, ms, 10)
	l.buf = append(l.buf, '\n')
	l.count++
}

// text adds a name or a tag's value.
func (l *lines) text(s string) {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			if _, n := utf8.DecodeRuneInString(s[i:]); n > 1 {
				l.buf = append(l.buf, s[i:i+n]...)
				i += n
				continue
			}
			c = '_' // no UTF-8
		}
		switch {
		case c < ' ' || c == 0x7f || c == '\\':
			l.buf = append(l.buf, '_')
		case c == ',' || c == ' ' || c == '=':
			l.buf = append(l.buf, '\\', c)
		default:
			l.buf = append(l.buf, c)
		}
		i++
	}
}

// appendFloat writes v so that everybody takes it for a float: 1.0 and not 1.
func appendFloat(b []byte, v float64) []byte {
	if abs := math.Abs(v); abs != 0 && (abs < 1e-4 || abs >= 1e15) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	if v == math.Trunc(v) {
		b = append(b, '.', '0')
	}
	return b
}
