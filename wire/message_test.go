package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

var sumRequest = []byte("\x94\x00\xcd\x30\x39\xa3sum\x92\x01\x02") // [0, 12345, "sum", [1, 2]]

var goodMessages = []struct {
	name string
	in   string
	want Message
}{
	{"request", string(sumRequest), Message{Kind: Request, ID: 12345, Method: []byte("sum"), Params: Raw("\x92\x01\x02")}},
	{"request, meta", "\x95\x00\x01\xa3sum\x90\x81\xaatimeout_ms\x05",
		Message{ID: 1, Method: []byte("sum"), Params: Raw("\x90"), Meta: Raw("\x81\xaatimeout_ms\x05")}},
	{"request, empty meta", "\x95\x00\x01\xa3sum\x90\x80", Message{ID: 1, Method: []byte("sum"), Params: Raw("\x90"), Meta: Raw("\x80")}},
	{"notification", "\x93\x02\xa1f\x91\xc0", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x91\xc0")}},
	{"notification, meta", "\x94\x02\xa1f\x90\x80", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90"), Meta: Raw("\x80")}},
	{"response", "\x94\x01\x07\xc0\x03", Message{Kind: Response, ID: 7, Result: Raw("\x03")}},
	{"response, nil", "\x94\x01\x07\xc0\xc0", Message{Kind: Response, ID: 7, Result: Raw("\xc0")}},
	{"response, error", "\x94\x01\x07\x81\xa4code\xa1x\xc0", Message{Kind: Response, ID: 7, Err: Raw("\x81\xa4code\xa1x"), Result: Raw("\xc0")}},
	{"response, error of another form", "\x94\x01\x07\xa4oops\xc0", Message{Kind: Response, ID: 7, Err: Raw("\xa4oops"), Result: Raw("\xc0")}},
	{"response, both", "\x94\x01\x07\xc3\x05", Message{Kind: Response, ID: 7, Err: Raw("\xc3"), Result: Raw("\x05")}},
	{"method as str8", "\x93\x02\xd9\x01f\x90", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90")}},
	{"method as str16", "\x93\x02\xda\x00\x01f\x90", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90")}},
	{"method as str32", "\x93\x02\xdb\x00\x00\x00\x01f\x90", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90")}},
	{"method as bin8", "\x93\x02\xc4\x01f\x90", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90")}},
	{"method as bin16", "\x93\x02\xc5\x00\x01f\x90", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90")}},
	{"method as bin32", "\x93\x02\xc6\x00\x00\x00\x01f\x90", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90")}},
	{"empty method", "\x93\x02\xa0\x90", Message{Kind: Notification, Method: []byte{}, Params: Raw("\x90")}},
	{"array16 message and params", "\xdc\x00\x03\x02\xa1f\xdc\x00\x01\x05", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\xdc\x00\x01\x05")}},
	{"array32 message and params", "\xdd\x00\x00\x00\x03\x02\xa1f\xdd\x00\x00\x00\x00", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\xdd\x00\x00\x00\x00")}},
	{"map16 meta", "\x94\x02\xa1f\x90\xde\x00\x01\xa1k\x91\x01", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x90"), Meta: Raw("\xde\x00\x01\xa1k\x91\x01")}},
	{"ext in params", "\x93\x02\xa1f\x91\xd4\x01a", Message{Kind: Notification, Method: []byte("f"), Params: Raw("\x91\xd4\x01a")}},
	{"longest method", "\x93\x02\xd9\xff" + strings.Repeat("m", 255) + "\x90",
		Message{Kind: Notification, Method: []byte(strings.Repeat("m", 255)), Params: Raw("\x90")}},
	{"deepest params", "\x93\x02\xa1f" + nested(31, "\x01"), Message{Kind: Notification, Method: []byte("f"), Params: Raw(nested(31, "\x01"))}},
}

func TestParse(t *testing.T) {
	for _, c := range goodMessages {
		m := Message{Kind: 77, ID: 1, Method: []byte("old"), Params: Raw("old"), Meta: Raw("old"), Err: Raw("old"), Result: Raw("old")}
		if err := m.Parse([]byte(c.in), 100); err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !reflect.DeepEqual(m, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, m, c.want)
		}
		// No part of it will do, and nothing may follow.
		for cut := range len(c.in) {
			if err := m.Parse([]byte(c.in[:cut]), 100); err == nil || !strings.Contains(err.Error(), "truncated") {
				t.Errorf("%s, cut at %d: %v", c.name, cut, err)
			}
		}
		if err := m.Parse([]byte(c.in+"\xc0"), 100); err == nil || !strings.Contains(err.Error(), "bytes after") {
			t.Errorf("%s, and more: %v", c.name, err)
		}
	}
}

// TestParseIntegerForms: type and msgid in every width, signed and unsigned.
func TestParseIntegerForms(t *testing.T) {
	forms := func(v byte) []string {
		s := string([]byte{v})
		return []string{s, "\xcc" + s, "\xcd\x00" + s, "\xce\x00\x00\x00" + s, "\xcf\x00\x00\x00\x00\x00\x00\x00" + s,
			"\xd0" + s, "\xd1\x00" + s, "\xd2\x00\x00\x00" + s, "\xd3\x00\x00\x00\x00\x00\x00\x00" + s}
	}
	var m Message
	for _, kind := range forms(0) {
		for _, id := range forms(99) {
			in := "\x94" + kind + id + "\xa1f\x90"
			if err := m.Parse([]byte(in), 100); err != nil || m.ID != 99 || m.Kind != Request {
				t.Errorf("% x: %+v, %v", in, m, err)
			}
		}
	}
	if err := m.Parse([]byte("\x94\x00\xcf\x00\x00\x00\x00\xff\xff\xff\xff\xa1f\x90"), 100); err != nil || m.ID != 1<<32-1 {
		t.Errorf("largest msgid: %d, %v", m.ID, err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		offset         int
	}{
		{"empty", "", "truncated", 0},
		{"no array", "\x80", "a message must be an array", 0},
		{"text", "GET / HTTP/1.1", "a message must be an array", 0},
		{"0xc1", "\xc1", "0xc1", 0},
		{"empty array", "\x90", "3 to 5 elements", 0},
		{"two elements", "\x92\x00\x01", "3 to 5 elements", 0},
		{"six elements", "\x96\x00\x01\xa1f\x90\x80\x80", "3 to 5 elements", 0},
		{"array32 bomb", "\xdd\xff\xff\xff\xff", "3 to 5 elements", 0},
		{"type 3", "\x93\x03\xa1f\x90", "0, 1 or 2", 1},
		{"type 256", "\x93\xcd\x01\x00\xa1f\x90", "0, 1 or 2", 1},
		{"type 2^32", "\x93\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa1f\x90", "0, 1 or 2", 1},
		{"type -1", "\x93\xff\xa1f\x90", "must be an integer", 1},
		{"type float", "\x93\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xa1f\x90", "must be an integer", 1},
		{"type 0xc1", "\x93\xc1", "0xc1", 1},
		{"request of 3", "\x93\x00\x01\xa1f", "4 or 5", 0},
		{"response of 3", "\x93\x01\x01\xc0", "must have 4", 0},
		{"response of 5", "\x95\x01\x01\xc0\xc0\xc0", "must have 4", 0},
		{"notification of 5", "\x95\x02\xa1f\x90\x80\x80", "3 or 4", 0},
		{"msgid -1", "\x94\x00\xff\xa1f\x90", "msgid", 2},
		{"msgid 2^32", "\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa1f\x90", "msgid", 2},
		{"msgid int64 -1", "\x94\x00\xd3\xff\xff\xff\xff\xff\xff\xff\xff\xa1f\x90", "msgid", 2},
		{"msgid nil", "\x94\x00\xc0\xa1f\x90", "msgid", 2},
		{"msgid float", "\x94\x01\xca\x00\x00\x00\x00\xc0\xc0", "msgid", 2},
		{"method integer", "\x94\x00\x01\x05\x90", "method must be", 3},
		{"method nil", "\x93\x02\xc0\x90", "method must be", 2},
		{"method too long", "\x93\x02\xda\x01\x00" + strings.Repeat("m", 256) + "\x90", "255", 2},
		{"method bin too long", "\x93\x02\xc5\x01\x00" + strings.Repeat("m", 256) + "\x90", "255", 2},
		{"params map", "\x93\x02\xa1f\x80", "params must be", 4},
		{"params nil", "\x93\x02\xa1f\xc0", "params must be", 4},
		{"meta nil", "\x94\x02\xa1f\x90\xc0", "meta must be", 5},
		{"meta array", "\x94\x02\xa1f\x90\x90", "meta must be", 5},
		{"meta integer key", "\x94\x02\xa1f\x90\x81\x01\x01", "a key of meta", 6},
		{"meta second key bin", "\x94\x02\xa1f\x90\x82\xa1k\x91\x01\xc4\x01k\x02", "a key of meta", 10},
		{"0xc1 in params", "\x93\x02\xa1f\x91\xc1", "0xc1", 5},
		{"0xc1 in meta", "\x94\x02\xa1f\x90\x81\xa1k\xc1", "0xc1", 8},
		{"0xc1 as error", "\x94\x01\x01\xc1\xc0", "0xc1", 3},
		{"0xc1 as result", "\x94\x01\x01\xc0\xc1", "0xc1", 4},
		{"params too deep", "\x93\x02\xa1f" + nested(32, "\x01"), "deeper than 32", 35},
		{"meta too deep", "\x94\x02\xa1f\x90\x81\xa1k" + nested(31, "\x01"), "deeper than 32", 38},
		{"result too deep", "\x94\x01\x01\xc0" + nested(32, "\x90"), "deeper than 32", 35},
		{"bomb in params", "\x93\x02\xa1f\x91\xdd\xff\xff\xff\xff", "too many elements", 5},
	} {
		var m Message
		err := m.Parse([]byte(c.in), 100)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(syntax.Msg, c.want) || syntax.Offset != c.offset {
			t.Errorf("%s: got %v, want %q at byte %d", c.name, err, c.want, c.offset)
		}
	}
}

// TestParseCountsAsCheck: the limit means the same whether a message came in a frame or was found in a stream.
func TestParseCountsAsCheck(t *testing.T) {
	for _, c := range goodMessages {
		for limit := -1; limit < 45; limit++ {
			var m Message
			parse, check := m.Parse([]byte(c.in), limit), Check([]byte(c.in), limit)
			if (parse == nil) != (check == nil) {
				t.Errorf("%s, %d elements: Parse %v, Check %v", c.name, limit, parse, check)
			}
		}
	}
}

// TestParsedSlicesAreBounded: appending to a part must not overwrite what lies behind it.
func TestParsedSlicesAreBounded(t *testing.T) {
	b := []byte("\x95\x00\x01\xa3sum\x90\x80")
	before := string(b)
	var m Message
	if err := m.Parse(b, 100); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][]byte{m.Method, m.Params, m.Meta} {
		_ = append(s, 0xff)
	}
	if string(b) != before {
		t.Errorf("% x became % x", before, b)
	}
}

func TestParseMeta(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Meta
	}{
		{"", Meta{}},
		{"\x80", Meta{}},
		{"\xc0", Meta{}},
		{"\x81\xaatimeout_ms\x05", Meta{TimeoutMS: 5, HasTimeout: true}},
		{"\x81\xaatimeout_ms\x00", Meta{HasTimeout: true}},
		{"\x81\xaatimeout_ms\xd3\x00\x00\x00\x00\x00\x00\x00\x05", Meta{TimeoutMS: 5, HasTimeout: true}},
		{"\x81\xaatimeout_ms\xff", Meta{}},
		{"\x81\xaatimeout_ms\xa15", Meta{}},
		{"\x81\xaatimeout_ms\xcb\x00\x00\x00\x00\x00\x00\x00\x00", Meta{}},
		{"\x82\xaatimeout_ms\x05\xaatimeout_ms\x06", Meta{TimeoutMS: 6, HasTimeout: true}},
		{"\x83\xa1x\x91\x80\xabtraceparent\xa2ab\xaatimeout_ms\x07", Meta{TimeoutMS: 7, HasTimeout: true, Traceparent: []byte("ab")}},
		{"\x81\xabtraceparent\x05", Meta{}},
		{"\x82\xabtraceparent\x91\x01\xaatimeout_ms\x07", Meta{TimeoutMS: 7, HasTimeout: true}},
	} {
		if got := ParseMeta(Raw(c.in)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.in, got, c.want)
		}
	}
	full := Meta{TimeoutMS: 1 << 40, HasTimeout: true, Traceparent: []byte(strings.Repeat("0", 55))}
	if got := ParseMeta(AppendMeta(nil, full)); !reflect.DeepEqual(got, full) {
		t.Errorf("round trip: %+v", got)
	}
}

func TestKindString(t *testing.T) {
	for kind, want := range map[Kind]string{Request: "request", Response: "response", Notification: "notification", 9: "unknown"} {
		if kind.String() != want {
			t.Errorf("%d: %s", kind, kind)
		}
	}
}
