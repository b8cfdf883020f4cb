package wire

import "testing"

func BenchmarkParse(b *testing.B) {
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Parse(sumRequest, DefaultMaxElements); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAndReadArgs(b *testing.B) {
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Parse(sumRequest, DefaultMaxElements); err != nil {
			b.Fatal(err)
		}
		r := NewReader(m.Params)
		_, err1 := r.Array()
		x, err2 := r.Int64()
		y, err3 := r.Int64()
		if err1 != nil || err2 != nil || err3 != nil || x+y != 3 {
			b.Fatal(x, y)
		}
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	out := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		out = BeginFrame(out[:0])
		out = AppendInt(AppendResult(out, 12345), 3)
		EndFrame(out, 0)
	}
}

func BenchmarkCheckMap1K(b *testing.B) {
	v := map[string]any{}
	for _, k := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		v["name_"+k] = []any{1, 200, 70000, 1.5, "some text of a usual length", true, nil, map[string]any{"x": 1, "y": -5}}
	}
	raw, err := Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Check(raw, DefaultMaxElements); err != nil {
			b.Fatal(err)
		}
	}
}

// The same bytes, as a slow sender delivers them.
func BenchmarkWalkBytewise(b *testing.B) {
	b.SetBytes(int64(len(sumRequest)))
	b.ReportAllocs()
	var w Walker
	for b.Loop() {
		w.Reset(DefaultMaxElements)
		for i := range sumRequest {
			if _, err := w.Walk(sumRequest[:i+1]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

type player struct {
	Name  string   `msgpack:"name"`
	Level int32    `msgpack:"level"`
	Items []uint64 `msgpack:"items"`
}

func BenchmarkAppendAnyStruct(b *testing.B) {
	v := &player{"someone", 12, []uint64{1, 2, 3}}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if out, err = AppendAny(out[:0], v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAnyMap(b *testing.B) {
	v := map[string]any{"name": "someone", "level": 12, "items": []any{1, 2, 3}}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if out, err = AppendAny(out[:0], v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalStruct(b *testing.B) {
	raw, err := Marshal(&player{"someone", 12, []uint64{1, 2, 3}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var v player
		if err := Unmarshal(raw, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalAny(b *testing.B) {
	raw, err := Marshal(&player{"someone", 12, []uint64{1, 2, 3}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var v any
		if err := Unmarshal(raw, &v); err != nil {
			b.Fatal(err)
		}
	}
}
