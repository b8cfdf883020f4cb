package wire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// addSeeds gives a fuzzer everything that the other tests know.
func addSeeds(add func([]byte)) {
	for _, c := range checkCases {
		add([]byte(c.in))
	}
	for _, c := range goodMessages {
		add([]byte(c.in))
	}
	for _, c := range claims {
		if len(c) < 1000 {
			add([]byte(c))
		}
	}
	add(everyForm())
	add(AppendClosing(nil, Closing{Code: Kicked, RetryAfter: 5}))
	add(AppendErrorResponse(nil, 1, &Error{Code: Internal, Data: Raw("\x05"), RetryAfter: 5}))
}

// FuzzCheck compares Check with the reference, and Skip and Reader where the value is valid.
func FuzzCheck(f *testing.F) {
	addSeeds(func(b []byte) { f.Add(b, uint16(1000)); f.Add(b, uint16(3)) })
	f.Fuzz(func(t *testing.T, b []byte, maxElements uint16) {
		v, refErr := parseReference(b, int(maxElements))
		valid := refErr == nil && len(v.bytes) == len(b)
		err := Check(b, int(maxElements))
		if valid != (err == nil) {
			t.Fatalf("% x: Check says %v, the reference %v of %d bytes", b, err, refErr, len(v.bytes))
		}
		var syntax *SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(b)) {
			t.Fatalf("% x: %v", b, err)
		}
		if n := Skip(b); n < 0 || n > len(b) || valid && n != len(b) {
			t.Fatalf("% x: Skip %d", b, n)
		}
		if valid {
			r := NewReader(b)
			compareNode(t, &r, v)
			if len(r.Rest()) != 0 {
				t.Fatalf("% x: %d bytes left", b, len(r.Rest()))
			}
		}
	})
}

// compareNode reads the next value of r and compares it with what the reference found there.
func compareNode(t *testing.T, r *Reader, v node) {
	t.Helper()
	if got := TypeName(r.Rest()); got != v.kind {
		t.Fatalf("% x: %s, want %s", v.bytes, got, v.kind)
	}
	if whole := *r; !bytes.Equal(whole.Raw(), v.bytes) {
		t.Fatalf("% x: Raw differs", v.bytes)
	}
	switch v.kind {
	case "array", "map":
		n, err := r.Array()
		if v.kind == "map" {
			n, err = r.Map()
			n *= 2
		}
		if err != nil || n != len(v.children) {
			t.Fatalf("% x: %d, %v", v.bytes, n, err)
		}
		for _, c := range v.children {
			compareNode(t, r, c)
		}
	case "string", "binary":
		if s, err := r.Str(); err != nil || !bytes.Equal(s, v.payload) {
			t.Fatalf("% x: %q, %v", v.bytes, s, err)
		}
	case "integer":
		copied := *r
		u, err := copied.Uint64()
		if v.negative {
			i, err2 := r.Int64()
			if err == nil || err2 != nil || i >= 0 {
				t.Fatalf("% x: %d, %d, %v", v.bytes, u, i, err2)
			}
			return
		}
		if err != nil || u != v.unsigned {
			t.Fatalf("% x: %d, %v", v.bytes, u, err)
		}
		*r = copied
	default:
		r.Raw()
	}
}

// FuzzWalker cuts the bytes where cuts says: whatever the cuts are, the end and the errors are those of the reference.
func FuzzWalker(f *testing.F) {
	addSeeds(func(b []byte) { f.Add(b, []byte{1}, uint16(1000)); f.Add(b, []byte{0, 3, 1, 7}, uint16(3)) })
	f.Fuzz(func(t *testing.T, b, cuts []byte, maxElements uint16) {
		var w Walker
		w.Reset(int(maxElements))
		for seen, i := 0, 0; ; i++ {
			v, refErr := parseReference(b[:seen], int(maxElements))
			n, err := w.Walk(b[:seen:seen])
			switch {
			case refErr == nil:
				if n != len(v.bytes) || err != nil || w.Need() != n {
					t.Fatalf("% x: %d, %v, want %d; needs %d", b[:seen], n, err, len(v.bytes), w.Need())
				}
				if err := Check(b[:n], int(maxElements)); err != nil {
					t.Fatalf("% x: %v", b[:n], err)
				}
				return
			case errors.Is(refErr, errRefInvalid):
				if err == nil || n != 0 {
					t.Fatalf("% x: %d, %v, want an error", b[:seen], n, err)
				}
				return
			case n != 0 || err != nil || w.Need() < seen-3:
				t.Fatalf("% x: %d, %v, want more; needs %d", b[:seen], n, err, w.Need())
			}
			if seen == len(b) {
				return
			}
			step := 1
			if len(cuts) > 0 {
				step = int(cuts[i%len(cuts)])
			}
			seen = min(seen+step, len(b))
			if i > 2*len(b)+len(cuts) { // all cuts are 0
				seen = len(b)
			}
		}
	})
}

// FuzzMessage compares Parse with the reference; what Parse took apart is put together again.
func FuzzMessage(f *testing.F) {
	addSeeds(func(b []byte) { f.Add(b, uint16(1000)) })
	f.Add([]byte("\x94\x02\xa1f\x90\x82\xa1k\x91\x01\xc4\x01k\x02"), uint16(1000))
	f.Fuzz(func(t *testing.T, b []byte, maxElements uint16) {
		v, refErr := parseReference(b, int(maxElements))
		valid := refErr == nil && len(v.bytes) == len(b) && v.message()
		var m Message
		err := m.Parse(b, int(maxElements))
		if valid != (err == nil) {
			t.Fatalf("% x: Parse says %v, the reference %v", b, err, valid)
		}
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(b) {
				t.Fatalf("% x: %v", b, err)
			}
			return
		}
		ParseMeta(m.Meta)
		if m.Params != nil {
			_, _ = ParseClosing(m.Params)
		}
		if (ParseError(m.Err) == nil) != (m.Err == nil) {
			t.Fatalf("% x: error % x", b, m.Err)
		}
		var again Message
		if err := again.Parse(appendMessage(nil, &m), int(maxElements)); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("% x: %+v became %+v, %v", b, m, again, err)
		}
	})
}

func appendMessage(b []byte, m *Message) []byte {
	switch m.Kind {
	case Request:
		if m.Meta != nil {
			return append(append(AppendRequestMeta(b, m.ID, string(m.Method)), m.Params...), m.Meta...)
		}
		return append(AppendRequest(b, m.ID, string(m.Method)), m.Params...)
	case Notification:
		b = append(AppendNotification(b, string(m.Method)), m.Params...)
		if m.Meta != nil {
			b[0] = 0x94
			b = append(b, m.Meta...)
		}
		return b
	}
	b = AppendResult(b, m.ID)
	if m.Err != nil {
		b = append(b[:len(b)-1], m.Err...)
	}
	return append(b, m.Result...)
}

// FuzzUnmarshal decodes into many types: no panic, nothing out of proportion, and what an any got survives a round trip.
func FuzzUnmarshal(f *testing.F) {
	addSeeds(func(b []byte) { f.Add(b) })
	if raw, err := Marshal(kit{At: new(point), Extra: []any{1, map[string]any{"a": 1}}, Sub: Raw("\x91\x05")}); err == nil {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, refErr := parseReference(b, DefaultMaxElements)
		valid := refErr == nil && len(v.bytes) == len(b) && !v.has("ext")
		for _, into := range targets() {
			var err error
			n := allocated(func() { err = Unmarshal(b, into) })
			// A kit is 300 bytes large, and a slice of them is made with room to grow; 1 MB is for other goroutines.
			if n > uint64(1<<20+2000*len(b)) {
				t.Fatalf("% x into %T: %d bytes allocated", b, into, n)
			}
			var syntax *SyntaxError
			if errors.As(err, &syntax) == valid {
				t.Fatalf("% x into %T: %v, valid is %v", b, into, err, valid)
			}
		}
		var got, again any
		if Unmarshal(b, &got) != nil {
			return
		}
		raw, err := Marshal(got)
		if errors.Is(err, errTooDeep) {
			return
		}
		if err != nil || len(raw) > 2*len(b)+8 {
			t.Fatalf("% x: % x, %v", b, raw, err)
		}
		if err := Unmarshal(raw, &again); err != nil {
			t.Fatalf("% x: % x, %v", b, raw, err)
		}
		if rawAgain, err := Marshal(again); err != nil || !bytes.Equal(rawAgain, raw) { // the bytes, since a NaN is not equal to itself
			t.Fatalf("% x: %#v became %#v, %v", b, got, again, err)
		}
	})
}

// FuzzReader calls every method on bytes that are not validated: it does not have to make sense, but it ends.
func FuzzReader(f *testing.F) {
	addSeeds(func(b []byte) { f.Add(b, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) })
	f.Fuzz(func(t *testing.T, b, calls []byte) {
		r := NewReader(b)
		for _, c := range calls {
			before := len(r.Rest())
			var err error
			switch c % 10 {
			case 0:
				_, err = r.Array()
			case 1:
				_, err = r.Map()
			case 2:
				_, err = r.Int64()
			case 3:
				_, err = r.Uint64()
			case 4:
				_, err = r.Float64()
			case 5:
				_, err = r.Bool()
			case 6:
				_, err = r.String()
			case 7:
				_, err = r.Bytes()
			case 8:
				r.Nil()
			case 9:
				r.Raw()
			}
			after := len(r.Rest())
			var typeErr *TypeError
			if err != nil && (!errors.As(err, &typeErr) || after != before) || after > before {
				t.Fatalf("% x: method %d: %v, %d bytes became %d", b, c%10, err, before, after)
			}
		}
		ParseMeta(b)
		ParseError(b)
		_, _ = ParseClosing(b)
	})
}
