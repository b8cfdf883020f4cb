package client

import (
	"bytes"
	"testing"
)

// What is reserved grows with what has come, not with what is announced.
func TestInbufReservesNothingAhead(t *testing.T) {
	in := inbuf{max: 1<<24 - 1}
	n := copy(in.space(), []byte{0, 0xff, 0xff, 0xff, 1, 2, 3})
	in.filled(n)
	if b, err := in.next(); b != nil || err != nil {
		t.Fatal(b, err)
	}
	if in.space(); cap(in.b) > 2*readBytes {
		t.Errorf("%d bytes for a message of which %d have come", cap(in.b), n)
	}
}

func TestInbufGivesUpWhatItGrew(t *testing.T) {
	in := inbuf{max: 1 << 20}
	stream := append([]byte{0, 0x10, 0, 0}, make([]byte, 1<<20)...)
	stream = append(stream, 0, 0, 0, 2, 'h', 'i')
	var got [][]byte
	for len(stream) > 0 {
		n := copy(in.space(), stream)
		in.filled(n)
		stream = stream[n:]
		for {
			b, err := in.next()
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				break
			}
			got = append(got, bytes.Clone(b))
		}
	}
	if len(got) != 2 || len(got[0]) != 1<<20 || string(got[1]) != "hi" {
		t.Fatalf("got %d messages", len(got))
	}
	if in.space(); cap(in.b) > readBytes {
		t.Errorf("an empty buffer keeps %d bytes", cap(in.b))
	}
}

// Messages that are cut by the end of the buffer are moved, not a reason to grow.
func TestInbufMovesWhatIsCut(t *testing.T) {
	in := inbuf{max: 1 << 20}
	var stream []byte
	for i := range 100 {
		stream = append(stream, 0, 0, 0x13, 0x88)
		stream = append(stream, bytes.Repeat([]byte{byte(i)}, 5000)...)
	}
	got := 0
	for len(stream) > 0 {
		n := copy(in.space(), stream)
		in.filled(n)
		stream = stream[n:]
		for {
			b, err := in.next()
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				break
			}
			if len(b) != 5000 || b[0] != byte(got) || b[4999] != byte(got) {
				t.Fatalf("message %d is wrong", got)
			}
			got++
		}
	}
	if got != 100 || cap(in.b) != readBytes {
		t.Errorf("got %d messages with a buffer of %d bytes", got, cap(in.b))
	}
}

// An inbox that is never empty must not grow with what passed through it.
func TestInboxStaysSmall(t *testing.T) {
	in := newInbox(10, 1000)
	for i := range 10_000 {
		if !in.offer(event{req: &Request{id: uint32(i)}}) {
			t.Fatal("no room")
		}
		if i > 0 {
			if e, _ := in.take(); e.req.id != uint32(i-1) {
				t.Fatalf("got %d, want %d", e.req.id, i-1)
			}
		}
	}
	if cap(in.events) > 40 {
		t.Errorf("room for %d events", cap(in.events))
	}
}

func TestInboxBounds(t *testing.T) {
	in := newInbox(3, 10)
	offer := func(n int) bool { return in.offer(event{req: &Request{params: make(Raw, n)}}) }
	if !offer(100) || offer(1) {
		t.Error("a long one must fit alone, and nothing beside it")
	}
	in.take()
	for i, want := range []bool{true, true, false} {
		if offer(4) != want {
			t.Errorf("event %d of 4 bytes: the bound is 10 bytes", i+1)
		}
	}
	if !offer(2) || offer(0) {
		t.Error("the bounds are 3 events and 10 bytes")
	}
	in.tell(func() {})
	in.close()
	for range 4 {
		if _, ok := in.take(); !ok {
			t.Error("an event is missing")
		}
	}
	if _, ok := in.take(); ok {
		t.Error("there is one more")
	}
}
