package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestErrorRoundTrip(t *testing.T) {
	for _, c := range []*Error{
		{Code: Internal},
		{Code: ResourceExhausted, Message: "slow down", RetryAfter: 250 * time.Millisecond},
		{Code: "of_the_game", Message: strings.Repeat("long ", 100), Data: Raw("\x81\xa5trace\xa3abc")},
		{Code: Unavailable, Message: "later", Data: Raw("\xc2"), RetryAfter: time.Hour},
	} {
		b := AppendErrorResponse(nil, 9, c)
		var m Message
		if err := m.Parse(b, 100); err != nil {
			t.Fatal(err)
		}
		got := ParseError(m.Err)
		clear(b) // what was parsed does not lie in it
		gotData, _ := got.Data.(Raw)
		wantData, _ := c.Data.(Raw)
		if got.Code != c.Code || got.Message != c.Message || got.RetryAfter != c.RetryAfter || string(gotData) != string(wantData) {
			t.Errorf("got %+v, want %+v", got, c)
		}
	}
}

func TestAppendErrorGolden(t *testing.T) {
	for _, c := range []struct {
		e    *Error
		want string
	}{
		{nil, "\xc0"},
		{&Error{}, "\x82\xa4code\xa0\xa7message\xa0"},
		{&Error{Code: "c", Message: "m", Data: map[string]any{"n": 1}, RetryAfter: 1},
			"\x84\xa4code\xa1c\xa7message\xa1m\xa4data\x81\xa1n\x01\xaeretry_after_ms\x01"},
		{&Error{Code: "c", Message: "m", RetryAfter: 2 * time.Millisecond}, "\x83\xa4code\xa1c\xa7message\xa1m\xaeretry_after_ms\x02"},
		{&Error{Code: "c", Message: "m", RetryAfter: -1}, "\x82\xa4code\xa1c\xa7message\xa1m"},
		{&Error{Code: "c", Message: "m", Data: make(chan int), RetryAfter: time.Second}, "\x83\xa4code\xa1c\xa7message\xa1m\xaeretry_after_ms\xcd\x03\xe8"},
		{&Error{Code: "c", Message: "m", Data: []any{1, func() {}}}, "\x82\xa4code\xa1c\xa7message\xa1m"},
		{&Error{Code: "c", Message: "m", Data: Raw(nil)}, "\x83\xa4code\xa1c\xa7message\xa1m\xa4data\xc0"},
	} {
		if got := AppendError([]byte("kept"), c.e); string(got) != "kept"+c.want {
			t.Errorf("%+v: %q, want %q", c.e, got, c.want)
		}
	}
}

func TestParseError(t *testing.T) {
	for in, want := range map[string]string{
		"\xa4oops":                         "internal: oops",
		"\x05":                             "internal: 5",
		"\x92\x01\xa1x":                    "internal: [1 x]",
		"\x80":                             "internal: map[]",
		"\x81\xa1k\xa1v":                   "internal: map[k:v]",
		"\x81\x01\x02":                     "internal: map",
		"\xd4\x01a":                        "internal: ext",
		"\x81\xa4code\xa1c":                "c: map[code:c]",
		"\x81\xa7message\xa1m":             "internal: m",
		"\x82\xa7message\xa1m\xa4code\x05": "internal: m",
		"\x82\xa7message\xa1m\xa4code\xa0": "internal: m",
		"\x82\xa4code\xa1c\xa7message\x05": "c: map[code:c message:5]",
		"\x83\x01\x02\xa4code\xa1c\xa7message\xa0":  "c: ",
		"\x82\xc4\x04code\xa1c\xa7message\xc4\x01m": "c: m",
	} {
		if got := ParseError(Raw(in)); got == nil || got.Error() != want {
			t.Errorf("% x: %v, want %s", in, got, want)
		}
	}
	for _, in := range []Raw{nil, {}, {0xc0}} {
		if got := ParseError(in); got != nil {
			t.Errorf("% x: %v", in, got)
		}
	}
	got := ParseError(Raw("\x82\xaeretry_after_ms\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa4data\xc0"))
	if got.RetryAfter < 290*365*24*time.Hour || got.Data != nil {
		t.Errorf("%+v", got)
	}
	if got := ParseError(Raw("\x81\xaeretry_after_ms\xff")); got.RetryAfter != 0 {
		t.Errorf("%+v", got)
	}
}

func TestCodeOf(t *testing.T) {
	var none *Error
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, ""},
		{Errorf(NotFound, "x"), NotFound},
		{fmt.Errorf("around: %w", Errorf(Aborted, "x")), Aborted},
		{context.DeadlineExceeded, DeadlineExceeded},
		{fmt.Errorf("around: %w", context.Canceled), Canceled},
		{errors.Join(io.EOF, context.DeadlineExceeded), DeadlineExceeded},
		{errors.Join(context.Canceled, Errorf(NotFound, "x")), NotFound},
		{io.EOF, Internal},
		{&Error{}, Internal},
		{none, Internal},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func TestErrorf(t *testing.T) {
	e := Errorf(OutOfRange, "page %d: %w", 3, io.EOF)
	if e.Error() != "out_of_range: page 3: EOF" {
		t.Errorf("%v", e)
	}
}
