package handlers_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/handlers/save"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/wire"
)

// put keeps a value and holds which version it has then.
func put(t *testing.T, c *rpctest.Client, version int64, params ...any) {
	t.Helper()
	var got save.Written
	if c.Must(&got, "save.put", params...); got.Version != version {
		t.Errorf("put %.30v: version %d, want %d", params, got.Version, version)
	}
}

// saved holds what is kept under a key.
func saved(t *testing.T, c *rpctest.Client, key string, version int64, value wire.Raw) {
	t.Helper()
	got := save.Saved{}
	c.Must(&got, "save.get", key)
	if got.Value == nil {
		got.Value = wire.Raw{0xc0} // a nil decodes to no Raw
	}
	if got.Version != version || !bytes.Equal(got.Value, value) {
		t.Errorf("under %q is %.30x, version %d, want %.30x, version %d", key, []byte(got.Value), got.Version, []byte(value), version)
	}
}

// text is a str of n bytes as MessagePack, its head included.
func text(n int) wire.Raw {
	return append(wire.Raw{0xdb, 0, byte((n - 5) >> 16), byte((n - 5) >> 8), byte(n - 5)}, bytes.Repeat([]byte{'x'}, n-5)...)
}

// nested is an array in an array, so many deep.
func nested(depth int) wire.Raw {
	return append(bytes.Repeat([]byte{0x91}, depth-1), 0x90)
}

func TestSavesComeBackByteForByte(t *testing.T) { onStores(t, testSavesComeBackByteForByte) }

func testSavesComeBackByteForByte(t *testing.T, s *server) {
	c := login(t, s, 7)
	values := []wire.Raw{
		{0xc0}, {0x00}, {0xc2}, {0xd3, 0, 0, 0, 0, 0, 0, 0, 1}, // an integer in a wider form than it needs
		{0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1},                  // a NaN with a payload
		{0xdf, 0, 0, 0, 1, 0xda, 0, 1, 'k', 0xdd, 0, 0, 0, 0}, // wide heads
		{0x82, 0xa1, 'k', 0x01, 0xa1, 'k', 0x02},              // a key twice
		{0x81, 0x90, 0xc3},                                    // a key that is an array
		{0xd9, 0x02, 0xff, 0xfe}, {0xc4, 0x02, 0xff, 0xfe}, {0xc4, 0}, {0xa0},
		text(65536), nested(29),
	}
	for i, v := range values {
		key := fmt.Sprint("key ", i)
		put(t, c, 1, key, v)
		saved(t, c, key, 1, v)
		put(t, c, 1, "again "+key, v)
		put(t, c, 2, "again "+key, wire.Raw{0x07})
		put(t, c, 3, "again "+key, v)
	}
	c = login(t, s.restart(0), 7)
	for i, v := range values {
		saved(t, c, fmt.Sprint("key ", i), 1, v)
		saved(t, c, fmt.Sprint("again key ", i), 3, v)
	}
}

func TestSaveVersions(t *testing.T) { onStores(t, testSaveVersions) }

func testSaveVersions(t *testing.T, s *server) {
	c := login(t, s, 7)
	a, b := wire.Raw{1}, wire.Raw{2}
	stale := func(current int64, method string, params ...any) {
		t.Helper()
		before := s.everything()
		raw, err := c.Call(method, params...)
		wantError(t, raw, err, rpc.Aborted, "version")
		var data struct {
			Version int64 `msgpack:"version"`
		}
		if err == nil || err.Data == nil || wire.Unmarshal(err.Data.(wire.Raw), &data) != nil || data.Version != current {
			t.Fatalf("%s %v: %+v, want version %d", method, params, err, current)
		}
		if after := s.everything(); !reflect.DeepEqual(after, before) {
			t.Errorf("%s %v changed %v into %v", method, params, before, after)
		}
	}
	stale(0, "save.put", "slot", a, 1)
	put(t, c, 1, "slot", a, 0)
	stale(1, "save.put", "slot", b, 0)
	stale(1, "save.put", "slot", b, 2)
	put(t, c, 2, "slot", b, 1)
	stale(2, "save.put", "slot", a, 1)
	put(t, c, 3, "slot", a)
	put(t, c, 4, "slot", b, nil)
	saved(t, c, "slot", 4, b)
	stale(4, "save.delete", "slot", 3)
	stale(4, "save.delete", "slot", 0)
	c.Must(nil, "save.delete", "slot", 4)
	fails(t, c, rpc.NotFound, `no save "slot"`, "save.get", "slot")
	fails(t, c, rpc.NotFound, `no save "slot"`, "save.delete", "slot")
	fails(t, c, rpc.NotFound, `no save "slot"`, "save.delete", "slot", 4)
	stale(0, "save.put", "slot", a, 4)
	put(t, c, 1, "slot", a)
	c.Must(nil, "save.delete", "slot")
	put(t, c, 1, "slot", b, 0)
	saved(t, login(t, s.restart(0), 7), "slot", 1, b)
}

func TestSaveList(t *testing.T) { onStores(t, testSaveList) }

func testSaveList(t *testing.T, s *server) {
	c := login(t, s, 7)
	list := func(c *rpctest.Client, want ...save.Info) {
		t.Helper()
		var got []save.Info
		raw, err := c.Call("save.list")
		if err != nil || len(want) == 0 && !bytes.Equal(raw, []byte{0x90}) {
			t.Errorf("save.list: %x, %v", raw, err)
		}
		if wire.Unmarshal(raw, &got) != nil || !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	list(c)
	now := rpctest.Start.UnixMilli()
	put(t, c, 1, "b", wire.Raw{0xa2, 'x', 'y'})
	s.Advance(5 * time.Millisecond)
	put(t, c, 1, "a", wire.Raw{1})
	put(t, c, 2, "a", wire.Raw{0xa1, 'x'})
	put(t, c, 1, "🐉", wire.Raw{1})
	want := []save.Info{
		{Key: "a", Version: 2, Size: 2, UpdatedMS: now + 5},
		{Key: "b", Version: 1, Size: 3, UpdatedMS: now},
		{Key: "🐉", Version: 1, Size: 1, UpdatedMS: now + 5},
	}
	list(c, want...)
	list(login(t, s, 8)) // nothing of another player's
	s = s.restart(0)
	c = login(t, s, 7)
	list(c, want...)
	c.Must(nil, "save.delete", "b")
	list(c, want[0], want[2])
}

func TestSavesAreOfOnePlayer(t *testing.T) { onStores(t, testSavesAreOfOnePlayer) }

func testSavesAreOfOnePlayer(t *testing.T, s *server) {
	one, two := login(t, s, 1), login(t, s, 2)
	put(t, one, 1, "slot", wire.Raw{1})
	fails(t, two, rpc.NotFound, "no save", "save.get", "slot")
	put(t, two, 1, "slot", wire.Raw{2})
	two.Must(nil, "save.delete", "slot")
	saved(t, one, "slot", 1, wire.Raw{1})
}

// Keys are bytes: what SQL, or a reader, takes for the same is not.
func TestSaveKeysAreExact(t *testing.T) { onStores(t, testSaveKeysAreExact) }

func testSaveKeysAreExact(t *testing.T, s *server) {
	c := login(t, s, 7)
	keys := []string{
		"slot", "Slot", "slot ", " slot", "slo\u0074\u0301", "slót", "slo", "\x00", "a\x00", "%", "_", "'; DROP TABLE saves; --", "\\", "NULL",
		strings.Repeat("🐉", 64), strings.Repeat("x", 64), "\u200b", "\n",
	}
	for i, key := range keys {
		put(t, c, 1, key, wire.Raw{byte(i)})
	}
	s = s.restart(0)
	c = login(t, s, 7)
	for i, key := range keys {
		saved(t, c, key, 1, wire.Raw{byte(i)})
	}
}

func TestSaveLimitOfKeys(t *testing.T) { onStores(t, testSaveLimitOfKeys) }

func testSaveLimitOfKeys(t *testing.T, s *server) {
	c := login(t, s, 7)
	var calls []uint32
	for i := range 100 {
		calls = append(calls, c.Go("save.put", fmt.Sprint("key ", i), i))
	}
	for _, id := range calls {
		if answer := c.Await(id); answer.Err != nil {
			t.Fatal(answer.Err)
		}
	}
	before := s.everything()
	fails(t, c, rpc.FailedPrecondition, "100 saves already", "save.put", "one more", 1)
	fails(t, c, rpc.FailedPrecondition, "100 saves already", "save.put", "one more", 1, 0)
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("a refused put changed %v into %v", before, after)
	}
	put(t, c, 2, "key 7", 1)
	c.Must(nil, "save.delete", "key 8")
	put(t, c, 1, "one more", 1)
	fails(t, c, rpc.FailedPrecondition, "100 saves already", "save.put", "key 8", 1)
}

func TestSaveRefusals(t *testing.T) { onStores(t, testSaveRefusals) }

func testSaveRefusals(t *testing.T, s *server) {
	c := login(t, s, 7)
	put(t, c, 1, "slot", wire.Raw{1})
	before := s.everything()
	for _, test := range []struct {
		words  string
		method string
		params []any
	}{
		{"value must have at most 65536 bytes, got 65537", "save.put", []any{"slot", text(65537)}},
		{"value must have at most 65536 bytes, got 900000", "save.put", []any{"slot", text(900_000)}},
		{"value must be nested at most 29 deep", "save.put", []any{"slot", nested(30)}},
		{"no ext values", "save.put", []any{"slot", wire.Raw{0xd6, 0xff, 0, 0, 0, 0}}},
		{"no ext values", "save.put", []any{"slot", wire.Raw{0x91, 0xd4, 1, 0}}},
		{"if_version must be 0 or more, got -1", "save.put", []any{"slot", 1, -1}},
		{"if_version must be an integer", "save.put", []any{"slot", 1, "1"}},
		{"if_version must be an integer", "save.put", []any{"slot", 1, 1.5}},
		{"if_version must be an integer", "save.put", []any{"slot", 1, uint64(1 << 63)}},
		{"takes 2 to 3 params (key, value, [if_version]), got 1", "save.put", []any{"slot"}},
		{"takes 2 to 3 params (key, value, [if_version]), got 4", "save.put", []any{"slot", 1, 1, 1}},
		{"if_version must be 0 or more, got -1", "save.delete", []any{"slot", -1}},
		{"takes no params", "save.list", []any{"slot"}},
	} {
		fails(t, c, rpc.InvalidArgument, test.words, test.method, test.params...)
	}
	for _, method := range []string{"save.put", "save.get", "save.delete"} {
		for _, test := range []struct {
			key   any
			words string
		}{
			{"", "key must have 1 to 64 characters, got 0"},
			{strings.Repeat("ä", 65), "key must have 1 to 64 characters, got 65"},
			{strings.Repeat("x", 500_000), "key must have 1 to 64 characters, got 500000"},
			{"a\xff", "key must be valid UTF-8"},
			{7, "key must be a string, got integer"},
			{nil, "key must be a string, got nil"},
		} {
			params := []any{test.key, 1}
			if method != "save.put" {
				params = params[:1]
			}
			fails(t, c, rpc.InvalidArgument, test.words, method, params...)
		}
	}
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("refused calls changed %v into %v", before, after)
	}
	saved(t, c, "slot", 1, wire.Raw{1})
}

// What is read while a write waits for its commit is what was stored before, and
// the session's own next call sees what it wrote.
func TestSavePutsInARow(t *testing.T) { onStores(t, testSavePutsInARow) }

func testSavePutsInARow(t *testing.T, s *server) {
	c := login(t, s, 7)
	var puts, gets []uint32
	for i := range 50 {
		puts = append(puts, c.Go("save.put", "slot", i))
		gets = append(gets, c.Go("save.get", "slot"))
	}
	for i := range puts {
		var written save.Written
		var got save.Saved
		if answer := c.Await(puts[i]); answer.Err != nil || wire.Unmarshal(answer.Result, &written) != nil || written.Version != int64(i)+1 {
			t.Errorf("put %d: %+v", i, answer)
		}
		if answer := c.Await(gets[i]); answer.Err != nil || wire.Unmarshal(answer.Result, &got) != nil || got.Version != int64(i)+1 {
			t.Errorf("get %d: %+v", i, answer)
		}
	}
}
