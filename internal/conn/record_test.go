package conn

import (
	"net/netip"
	"reflect"
	"testing"
	"unsafe"
)

func TestRecordIs64BytesWithoutPointers(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n != 64 {
		t.Errorf("a record has %d bytes, want 64", n)
	}
	var look func(typ reflect.Type, path string)
	look = func(typ reflect.Type, path string) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				look(typ.Field(i).Type, path+"."+typ.Field(i).Name)
			}
		case reflect.Array:
			look(typ.Elem(), path+"[]")
		case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int,
			reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		default:
			t.Errorf("%s is a %s: the garbage collector would have to look at it", path, typ.Kind())
		}
	}
	look(reflect.TypeFor[record](), "record")
}

func TestPeerAddressesAreKept(t *testing.T) {
	for _, want := range []netip.AddrPort{
		{},
		netip.MustParseAddrPort("1.2.3.4:5"),
		netip.MustParseAddrPort("[2001:db8::1]:65535"),
		netip.MustParseAddrPort("[::ffff:1.2.3.4]:5"),
		netip.MustParseAddrPort("0.0.0.0:0"),
	} {
		var r record
		r.setPeer(want)
		if got := r.peer(); got != want {
			t.Errorf("peer %v comes back as %v", want, got)
		}
	}
}

// Ids are never given twice, slots are; the slot of an id that has ended answers
// to nothing.
func TestSlotsAreReusedAndIdsAreNot(t *testing.T) {
	s := &Set{free: none, owing: none}
	seen := make(map[uint64]bool)
	var open []uint64
	for round := range 5000 {
		id, r := s.newRecord()
		r.state = stOpen
		if id == 0 || seen[id] {
			t.Fatalf("id %#x was given before", id)
		}
		seen[id] = true
		open = append(open, id)
		if round%3 != 0 {
			old := open[0]
			open = open[1:]
			s.freeRecord(Slot(old), s.lookup(old))
			if s.lookup(old) != nil {
				t.Fatalf("id %#x answers after its end", old)
			}
		}
	}
	for _, id := range open {
		if s.lookup(id) == nil {
			t.Fatalf("id %#x does not answer", id)
		}
	}
	if n := len(s.pages); n != 2 {
		t.Errorf("%d open connections have %d pages", len(open), n)
	}
	for _, id := range []uint64{0, 1 << 32, 7<<32 | 1<<31, ^uint64(0)} {
		if s.lookup(id) != nil && !seen[id] {
			t.Errorf("id %#x, never given, answers", id)
		}
	}
}

func TestGenerationSkipsZero(t *testing.T) {
	s := &Set{free: none, owing: none}
	_, r := s.newRecord()
	r.gen = ^uint32(0)
	s.freeRecord(0, r)
	if id, _ := s.newRecord(); id != 1<<32 {
		t.Errorf("after the last generation comes id %#x, want %#x", id, uint64(1)<<32)
	}
}
