package game

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"

	"gameserverd/wire"
)

func TestCheckSaveKey(t *testing.T) {
	for _, key := range []string{"x", strings.Repeat("x", 64), strings.Repeat("🐉", 64), "slot 1/a", "'; DROP TABLE saves; --", "\x00", "%"} {
		if err := CheckSaveKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	refused(t, CheckSaveKey(""), wire.InvalidArgument, "1 to 64 characters, got 0")
	refused(t, CheckSaveKey(strings.Repeat("ä", 65)), wire.InvalidArgument, "1 to 64 characters, got 65")
	refused(t, CheckSaveKey("a\xff"), wire.InvalidArgument, "valid UTF-8")
}

func TestCheckSaveValue(t *testing.T) {
	for _, n := range []int{0, 1, 65536} {
		if err := CheckSaveValue(n); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	refused(t, CheckSaveValue(65537), wire.InvalidArgument, "at most 65536 bytes, got 65537")
}

func TestPutSave(t *testing.T) {
	version := func(v int64) *int64 { return &v }
	value := []byte{1}
	saves := map[string]Save{"slot": {Value: []byte{7}, Version: 3, UpdatedMS: 5}}
	for _, test := range []struct {
		key       string
		ifVersion *int64
		want      int64
	}{
		{"slot", nil, 4}, {"slot", version(3), 4}, {"new", nil, 1}, {"new", version(0), 1}, {"Slot", nil, 1},
	} {
		got, err := PutSave(saves, test.key, value, test.ifVersion, 9)
		if err != nil || !reflect.DeepEqual(got, Save{Value: value, Version: test.want, UpdatedMS: 9}) {
			t.Errorf("put %q: %+v, %v, want version %d", test.key, got, err, test.want)
		}
	}
	for _, test := range []struct {
		key     string
		version int64
		current int64
	}{
		{"slot", 0, 3}, {"slot", 2, 3}, {"slot", 4, 3}, {"slot", math.MaxInt64, 3}, {"new", 1, 0},
	} {
		_, err := PutSave(saves, test.key, value, version(test.version), 9)
		refused(t, err, wire.Aborted, "version")
		var known *wire.Error
		if errors.As(err, &known); !reflect.DeepEqual(known.Data, map[string]any{"version": test.current}) {
			t.Errorf("put %q if version %d: data %v, want version %d", test.key, test.version, known.Data, test.current)
		}
	}
	_, err := PutSave(saves, "slot", value, version(-1), 9)
	refused(t, err, wire.InvalidArgument, "if_version must be 0 or more")
	if len(saves) != 1 || saves["slot"].Version != 3 || !bytes.Equal(saves["slot"].Value, []byte{7}) {
		t.Errorf("the saves are %v", saves)
	}
}

func TestPutSaveKeepsToTheLimit(t *testing.T) {
	saves := make(map[string]Save)
	for i := range MaxSaves {
		s, err := PutSave(saves, fmt.Sprint(i), nil, nil, 0)
		if err != nil {
			t.Fatalf("save %d: %v", i, err)
		}
		saves[fmt.Sprint(i)] = s
	}
	_, err := PutSave(saves, "one more", nil, nil, 0)
	refused(t, err, wire.FailedPrecondition, "100 saves already")
	if s, err := PutSave(saves, "7", nil, nil, 0); err != nil || s.Version != 2 {
		t.Errorf("a save that is there: %+v, %v", s, err)
	}
	full := maps.Clone(saves)
	delete(full, "7")
	if s, err := PutSave(full, "one more", nil, nil, 0); err != nil || s.Version != 1 {
		t.Errorf("after one was deleted: %+v, %v", s, err)
	}
}

func TestFindSave(t *testing.T) {
	saves := map[string]Save{"slot": {Version: 3}}
	if s, err := FindSave(saves, "slot"); err != nil || s.Version != 3 {
		t.Errorf("got %+v, %v", s, err)
	}
	_, err := FindSave(saves, "Slot")
	refused(t, err, wire.NotFound, `there is no save "Slot"`)
	_, err = FindSave(nil, "slot")
	refused(t, err, wire.NotFound, "slot")
}
