package metrics

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestShareCollectsOnce: whoever asks while a collection runs, or soon after, gets
// that one, as a copy of its own.
func TestShareCollectsOnce(t *testing.T) {
	var collections atomic.Int64
	begun, hold := make(chan struct{}, 100), make(chan struct{})
	shared := Share(func(_ context.Context, b *Batch) {
		n := collections.Add(1)
		begun <- struct{}{}
		<-hold
		b.Set(Online, float64(n))
		b.Set(Calls, float64(n), "a", OK)
	}, time.Hour)
	var asking sync.WaitGroup
	batches := make([]Batch, 20)
	for i := range batches {
		asking.Go(func() { shared(context.Background(), &batches[i]) })
	}
	<-begun
	counted := time.Now()
	close(hold)
	asking.Wait()
	var late Batch
	late.Set(Draining, 1) // what is in it is replaced
	shared(context.Background(), &late)
	if n := collections.Load(); n != 1 {
		t.Errorf("%d collections, want 1", n)
	}
	for i, b := range append(slices.Clone(batches), late) {
		if b.Len() != 2 || b.At(0).Value != 1 || b.At(1).Labels[0] != "a" {
			t.Errorf("batch %d: %d samples", i, b.Len())
		}
		if at := b.Time(); !at.Equal(late.Time()) || at.IsZero() || at.After(counted) {
			t.Errorf("batch %d is of %v, and was counted before %v", i, at, counted)
		}
	}
	batches[0].At(1).Labels[0] = "changed"
	shared(context.Background(), &late)
	if got := late.At(1).Labels[0]; got != "a" {
		t.Errorf("a copy is shared: %q", got)
	}
}

// TestShareIsShort: what is old is collected anew; who gives up gets what there was,
// and the collection goes on for the others.
func TestShareIsShort(t *testing.T) {
	var collections atomic.Int64
	hold := make(chan struct{}, 1)
	hold <- struct{}{}
	shared := Share(func(ctx context.Context, b *Batch) {
		<-hold
		if ctx.Err() != nil {
			t.Error("the collection was given up with who asked first")
		}
		b.Set(Online, float64(collections.Add(1)))
	}, time.Nanosecond)
	var b Batch
	shared(context.Background(), &b)
	if b.Len() != 1 || b.At(0).Value != 1 {
		t.Fatalf("%d samples", b.Len())
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	shared(gone, &b)
	if b.Len() != 1 || b.At(0).Value != 1 {
		t.Errorf("who gives up has %d samples", b.Len())
	}
	hold <- struct{}{} // the collection that was begun ends
	eventually(t, "it is over", func() bool {
		select {
		case hold <- struct{}{}:
		default:
		}
		shared(context.Background(), &b)
		return b.Len() == 1 && b.At(0).Value > 1
	})
}

// TestShareWithNothing: who gives up at the very first has nothing.
func TestShareWithNothing(t *testing.T) {
	hold := make(chan struct{})
	shared := Share(func(context.Context, *Batch) { <-hold }, time.Hour)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	b := new(Batch)
	b.Set(Online, 1)
	shared(gone, b)
	if b.Len() != 0 {
		t.Errorf("%d samples, want none", b.Len())
	}
	close(hold)
	shared(context.Background(), b)
}

// TestBatchRefusesMistakes: what does not fit its family is left out, and told.
func TestBatchRefusesMistakes(t *testing.T) {
	for name, set := range map[string]func(b *Batch){
		"too few labels":  func(b *Batch) { b.Set(Calls, 1) },
		"too many labels": func(b *Batch) { b.Set(Online, 1, "x") },
		"no histogram":    func(b *Batch) { b.Set(CallRun, 1, "x") },
		"a histogram":     func(b *Batch) { b.Histogram(Calls, nil, nil, "x") },
	} {
		b := new(Batch)
		func() {
			defer func() { _ = recover() }() // with the invariants on it panics
			set(b)
		}()
		if b.Problem() == nil || b.Len() != 0 {
			t.Errorf("%s: problem %v, %d samples", name, b.Problem(), b.Len())
		}
		b.Reset()
		if b.Problem() != nil {
			t.Errorf("%s: the problem outlives Reset", name)
		}
	}
}
