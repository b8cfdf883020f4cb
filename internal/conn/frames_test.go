package conn

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// framer is a handler with frames: a length of 4 bytes, and the payload. It
// consumes whole frames only, at most perCall of them, and yields if more wait.
type framer struct {
	g       *rig
	perCall int
	frames  [][]byte // loop only
	calls   int
	kept    int // the most bytes that were left
}

func (f *framer) data(id uint64, b []byte) int {
	f.calls++
	used := 0
	for n := 0; len(b)-used >= 4; n++ {
		size := int(binary.BigEndian.Uint32(b[used:]))
		if len(b)-used < 4+size {
			break
		}
		if f.perCall > 0 && n == f.perCall {
			f.g.set.Yield(id)
			break
		}
		f.frames = append(f.frames, append([]byte(nil), b[used+4:used+4+size]...))
		used += 4 + size
	}
	f.kept = max(f.kept, len(b)-used)
	return used
}

func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func framesOf(sizes ...int) (stream []byte, payloads [][]byte) {
	for i, n := range sizes {
		p := pattern(n)
		if n > 0 {
			p[0] = byte(i)
		}
		payloads = append(payloads, p)
		stream = append(stream, frame(p)...)
	}
	return stream, payloads
}

func newFramer(t *testing.T, o Options, perCall int) (*rig, *framer) {
	g := newRig(t, o)
	f := &framer{g: g, perCall: perCall}
	g.do(func() { g.onData = f.data })
	return g, f
}

// wantFrames waits for frames and compares them.
func (f *framer) wantFrames(want [][]byte) {
	f.g.t.Helper()
	f.g.until(fmt.Sprintf("%d frames", len(want)), func() bool { return len(f.frames) >= len(want) })
	f.g.do(func() {
		if len(f.frames) != len(want) {
			f.g.t.Fatalf("%d frames, want %d", len(f.frames), len(want))
		}
		for i := range want {
			if string(f.frames[i]) != string(want[i]) {
				f.g.t.Fatalf("frame %d: %s", i, firstDifference(f.frames[i], want[i]))
			}
		}
		f.frames = nil
	})
}

// Invariant 12: frames cut at every byte.
func TestFramesCutAtEveryByte(t *testing.T) {
	g, f := newFramer(t, Options{}, 0)
	id, p := g.pair()
	stream, want := framesOf(10, 0, 300, 1, 60)
	for cut := 1; cut < len(stream); cut++ {
		p.send(stream[:cut])
		g.turns(2)
		p.send(stream[cut:])
		f.wantFrames(want)
	}
	g.do(func() {
		if n := g.set.Buffered(id); n != 0 || g.set.at(Slot(id)).in != 0 {
			t.Errorf("%d bytes and a buffer are kept after whole frames", n)
		}
	})
}

// Invariant 12: one byte at a time, over the sizes at which the buffer changes.
func TestDrip(t *testing.T) {
	g, f := newFramer(t, Options{}, 0)
	id, p := g.pair()
	stream, want := framesOf(2*smallTail, 3)
	for i := range stream {
		p.send(stream[i : i+1])
		if i%97 == 0 { // otherwise as the scheduler has it
			g.until("the byte", func() bool { return i+1 >= 4+2*smallTail || g.set.Buffered(id) == i+1 })
		}
	}
	f.wantFrames(want)
}

// Invariant 12: many frames in one read, and frames larger than the read buffer,
// with every kind of tail between them.
func TestManyAndLargeFrames(t *testing.T) {
	for _, o := range []Options{{}, {ReadChunk: 1000}, {ReadChunk: 7}} {
		t.Run(fmt.Sprint(o.ReadChunk), func(t *testing.T) {
			g, f := newFramer(t, o, 0)
			_, p := g.tcp()
			seed := uint64(time.Now().UnixNano())
			rnd := rand.New(rand.NewPCG(seed, 1))
			sizes := []int{3, 200_000, 0, 65_532, 65_533, 4096, 4092, 1_000_000, 1}
			if o.ReadChunk == 7 {
				sizes = []int{3, 9000, 0, 1}
			}
			for range 300 {
				sizes = append(sizes, rnd.IntN(1+100_000>>rnd.IntN(17)))
				if o.ReadChunk == 7 {
					sizes[len(sizes)-1] %= 50
				}
			}
			stream, want := framesOf(sizes...)
			p.send(stream)
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			f.wantFrames(want)
		})
	}
}

// Invariant 12: input over the limit is not kept; at the limit it is.
func TestInputLimit(t *testing.T) {
	const limit = 100_000
	for _, over := range []int{0, 1} {
		t.Run(fmt.Sprint(over), func(t *testing.T) {
			g, f := newFramer(t, Options{MaxInput: limit}, 0)
			id, p := g.pair()
			stream, want := framesOf(limit) // not complete at the limit: 4 bytes more
			p.send(stream[:limit+over])
			if over > 0 {
				g.wantClosed(id, InputFull, nil)
				return
			}
			g.until("the limit", func() bool { return g.set.Buffered(id) == limit })
			g.wantNothingClosed()
			g.do(func() {
				if b := g.set.Stats().Buffered; b > 2*limit {
					t.Errorf("%d bytes of buffers for %d", b, limit)
				}
			})
			p.send(stream[limit:]) // and now it is
			f.wantFrames(want)
			g.wantNothingClosed()
		})
	}
}
