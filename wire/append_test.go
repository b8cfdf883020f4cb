package wire

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestAppendGolden(t *testing.T) {
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{AppendNil(nil), "c0"},
		{AppendBool(nil, false), "c2"},
		{AppendBool(nil, true), "c3"},
		{AppendInt(nil, 0), "00"},
		{AppendInt(nil, 127), "7f"},
		{AppendInt(nil, 128), "cc 80"},
		{AppendInt(nil, 255), "cc ff"},
		{AppendInt(nil, 256), "cd 01 00"},
		{AppendInt(nil, 65535), "cd ff ff"},
		{AppendInt(nil, 65536), "ce 00 01 00 00"},
		{AppendInt(nil, 1<<32-1), "ce ff ff ff ff"},
		{AppendInt(nil, 1<<32), "cf 00 00 00 01 00 00 00 00"},
		{AppendInt(nil, math.MaxInt64), "cf 7f ff ff ff ff ff ff ff"},
		{AppendUint(nil, math.MaxUint64), "cf ff ff ff ff ff ff ff ff"},
		{AppendInt(nil, -1), "ff"},
		{AppendInt(nil, -32), "e0"},
		{AppendInt(nil, -33), "d0 df"},
		{AppendInt(nil, -128), "d0 80"},
		{AppendInt(nil, -129), "d1 ff 7f"},
		{AppendInt(nil, -32768), "d1 80 00"},
		{AppendInt(nil, -32769), "d2 ff ff 7f ff"},
		{AppendInt(nil, math.MinInt32), "d2 80 00 00 00"},
		{AppendInt(nil, math.MinInt32-1), "d3 ff ff ff ff 7f ff ff ff"},
		{AppendInt(nil, math.MinInt64), "d3 80 00 00 00 00 00 00 00"},
		{AppendFloat32(nil, 1.5), "ca 3f c0 00 00"},
		{AppendFloat64(nil, 1.5), "cb 3f f8 00 00 00 00 00 00"},
		{AppendFloat64(nil, 2), "cb 40 00 00 00 00 00 00 00"},
		{AppendString(nil, ""), "a0"},
		{AppendString(nil, "sum"), "a3 73 75 6d"},
		{AppendBytes(nil, nil), "c4 00"},
		{AppendBytes(nil, []byte("ab")), "c4 02 61 62"},
		{AppendArray(nil, 0), "90"},
		{AppendArray(nil, 15), "9f"},
		{AppendArray(nil, 16), "dc 00 10"},
		{AppendArray(nil, 65535), "dc ff ff"},
		{AppendArray(nil, 65536), "dd 00 01 00 00"},
		{AppendArray(nil, 1<<32-1), "dd ff ff ff ff"},
		{AppendMap(nil, 0), "80"},
		{AppendMap(nil, 15), "8f"},
		{AppendMap(nil, 16), "de 00 10"},
		{AppendMap(nil, 65535), "de ff ff"},
		{AppendMap(nil, 65536), "df 00 01 00 00"},

		{AppendRequest(nil, 12345, "sum"), "94 00 cd 30 39 a3 73 75 6d"},
		{AppendRequest(nil, 1<<32-1, "f"), "94 00 ce ff ff ff ff a1 66"},
		{AppendRequestMeta(nil, 1, "sum"), "95 00 01 a3 73 75 6d"},
		{AppendNotification(nil, "sum"), "93 02 a3 73 75 6d"},
		{AppendInt(AppendResult(nil, 12345), 3), "94 01 cd 30 39 c0 03"},
		{AppendErrorResponse(nil, 7, &Error{Code: "x", Message: "y"}),
			"94 01 07 82 a4 63 6f 64 65 a1 78 a7 6d 65 73 73 61 67 65 a1 79 c0"},
		{AppendMeta(nil, Meta{}), "80"},
		{AppendMeta(nil, Meta{TimeoutMS: 5, HasTimeout: true}), "81 aa 74 69 6d 65 6f 75 74 5f 6d 73 05"},
		{AppendMeta(nil, Meta{Traceparent: []byte("00")}), "81 ab 74 72 61 63 65 70 61 72 65 6e 74 a2 30 30"},
	} {
		if got := fmt.Sprintf("% x", c.got); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestAppendLengths has the heads of str and bin on both sides of every boundary.
func TestAppendLengths(t *testing.T) {
	for _, c := range []struct {
		n        int
		str, bin string
	}{
		{31, "bf", "c4 1f"},
		{32, "d9 20", "c4 20"},
		{255, "d9 ff", "c4 ff"},
		{256, "da 01 00", "c5 01 00"},
		{65535, "da ff ff", "c5 ff ff"},
		{65536, "db 00 01 00 00", "c6 00 01 00 00"},
	} {
		s := strings.Repeat("x", c.n)
		for _, v := range []struct {
			got  []byte
			want string
		}{{AppendString(nil, s), c.str}, {AppendBytes(nil, []byte(s)), c.bin}} {
			head, rest := v.got[:len(v.got)-c.n], v.got[len(v.got)-c.n:]
			if fmt.Sprintf("% x", head) != v.want || string(rest) != s {
				t.Errorf("length %d: % x, want %s", c.n, head, v.want)
			}
			if err := Check(v.got, 0); err != nil {
				t.Errorf("length %d: %v", c.n, err)
			}
		}
	}
}

func TestFrame(t *testing.T) {
	b := BeginFrame([]byte("before"))
	b = append(b, "\x93\x02\xa1f\x90"...)
	EndFrame(b, 6)
	if want := "before\x00\x00\x00\x05\x93\x02\xa1f\x90"; string(b) != want {
		t.Errorf("frame % x, want % x", b, want)
	}
	if n := FrameLen(b[6:]); n != 5 {
		t.Errorf("length %d", n)
	}
	if n := FrameLen([]byte{0xff, 0xff, 0xff, 0xff}); n != 1<<32-1 {
		t.Errorf("length %d", n)
	}
}

func TestClosingGolden(t *testing.T) {
	got := AppendClosing(nil, Closing{Code: Kicked, Message: "out", Reconnect: true, RetryAfter: 1500*time.Millisecond + 1})
	want := "\x93\x02\xabsys.closing\x91\x84\xa4code\xa6kicked\xa7message\xa3out\xa9reconnect\xc3\xaeretry_after_ms\xcd\x05\xdd"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got = AppendClosing(nil, Closing{Code: ProtocolError})
	want = "\x93\x02\xabsys.closing\x91\x83\xa4code\xaeprotocol_error\xa7message\xa0\xa9reconnect\xc2"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestClosingRoundTrip(t *testing.T) {
	for _, c := range []Closing{
		{},
		{Code: ServerShutdown, Message: "bye", Reconnect: true, RetryAfter: 3 * time.Second},
		{Code: ProtocolError, Message: strings.Repeat("long ", 100)},
	} {
		var m Message
		if err := m.Parse(AppendClosing(nil, c), 100); err != nil {
			t.Fatal(err)
		}
		got, err := ParseClosing(m.Params)
		if err != nil || got != c || string(m.Method) != ClosingMethod || m.Kind != Notification {
			t.Errorf("got %+v (%v), want %+v", got, err, c)
		}
	}
}

func TestParseClosing(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"\x91\x80", ""},
		{"\x91\x82\xa1x\x91\x01\xa4code\xa1c", ""}, // unknown keys
		{"\x91\x82\x05\x01\xa4code\xa1c", ""},      // and keys of other types
		{"\x92\x80\x01", ""},
		{"\x90", "want map, got nothing"},
		{"\x80", "want array, got map"},
		{"\x91\x01", "want map, got integer"},
		{"\x91\x81\xa4code\x01", "want string, got integer"},
		{"\x91\x81\xa9reconnect\x01", "want bool, got integer"},
		{"\x91\x81\xaeretry_after_ms\xff", "want integer (uint64), got -1"},
		{"", "want array, got nothing"},
	} {
		got := ""
		if _, err := ParseClosing(Raw(c.in)); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("% x: %q, want %q", c.in, got, c.want)
		}
	}
	got, err := ParseClosing(Raw("\x91\x81\xaeretry_after_ms\xcf\xff\xff\xff\xff\xff\xff\xff\xff"))
	if err != nil || got.RetryAfter < 290*365*24*time.Hour {
		t.Errorf("a retry_after_ms that no Duration holds: %v, %v", got.RetryAfter, err)
	}
}

// TestAppendKeepsWhatIsThere: append functions write behind what is there and nothing else.
func TestAppendKeepsWhatIsThere(t *testing.T) {
	b := append(make([]byte, 0, 100), "kept"...)
	for _, got := range [][]byte{
		AppendInt(b, -70000), AppendString(b, "x"), AppendBytes(b, nil), AppendClosing(b, Closing{}),
		AppendErrorResponse(b, 1, Errorf(Internal, "x")), BeginFrame(b),
	} {
		if !bytes.HasPrefix(got, []byte("kept")) || len(got) == 4 {
			t.Errorf("got %q", got)
		}
	}
}
