package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestReplyAccessors(t *testing.T) {
	type want struct {
		i   int64
		f   float64
		s   string
		all []string
	}
	const none = -99 // the accessor fails
	for _, c := range []struct {
		value any
		want  want
	}{
		{int64(7), want{7, 7, "7", nil}},
		{int64(-1 << 63), want{-1 << 63, -1 << 63, "-9223372036854775808", nil}},
		{"12", want{12, 12, "12", nil}},
		{"", want{none, none, "", nil}},
		{"-1.5e3", want{none, -1500, "-1.5e3", nil}},
		{"99999999999999999999", want{none, 1e20, "99999999999999999999", nil}},
		{"\x00\xff", want{none, none, "\x00\xff", nil}},
		{[]any{}, want{none, none, "!", []string{}}},
		{[]any{"a", int64(2), nil}, want{none, none, "!", []string{"a", "2", ""}}},
		{[]any{"a", []any{}}, want{none, none, "!", nil}},
		{[]any{errors.New("WRONGTYPE x")}, want{none, none, "!", nil}},
	} {
		r := Reply{value: c.value}
		got := want{none, none, "!", nil}
		if v, err := r.Int(); err == nil {
			got.i = v
		}
		if v, err := r.Float(); err == nil {
			got.f = v
		}
		if v, err := r.String(); err == nil {
			got.s = v
		}
		if v, err := r.Strings(); err == nil {
			got.all = v
		}
		if !reflect.DeepEqual(got, c.want) || r.Nil() || !reflect.DeepEqual(r.Value(), c.value) {
			t.Errorf("%#v: %+v, want %+v", c.value, got, c.want)
		}
		b, err := r.Bytes()
		if (err == nil) != (got.s != "!") || err == nil && string(b) != got.s {
			t.Errorf("%#v: bytes %q, %v", c.value, b, err)
		}
	}
}

func TestReplyNilAndErr(t *testing.T) {
	refused := &ReplyError{Message: "ERR no"}
	for _, c := range []struct {
		reply Reply
		isNil bool
		want  error
	}{{Reply{}, true, ErrNilReply}, {Reply{Err: refused}, false, refused}} {
		if c.reply.Nil() != c.isNil {
			t.Errorf("%+v: Nil is %v", c.reply, c.reply.Nil())
		}
		_, i := c.reply.Int()
		_, f := c.reply.Float()
		_, s := c.reply.String()
		_, b := c.reply.Bytes()
		_, all := c.reply.Strings()
		_, array := c.reply.Array()
		for _, err := range []error{i, f, s, b, all, array} {
			if err != c.want {
				t.Errorf("%+v: %v", c.reply, err)
			}
		}
	}
	nested, err := Reply{value: []any{int64(1), nil, []any{"x"}, errors.New("ERR in it")}}.Array()
	if err != nil || len(nested) != 4 || !nested[1].Nil() {
		t.Fatalf("%+v, %v", nested, err)
	}
	if all, err := nested[2].Strings(); err != nil || !reflect.DeepEqual(all, []string{"x"}) {
		t.Errorf("%q, %v", all, err)
	}
	var said *ReplyError
	if _, err := nested[3].Int(); !errors.As(err, &said) || said.Message != "ERR in it" {
		t.Errorf("%v", err)
	}
	if _, err := (Reply{value: "hidden"}).Int(); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("an error that quotes the reply: %v", err)
	}
}
