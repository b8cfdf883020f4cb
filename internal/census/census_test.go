package census

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestClassesAreInOrder(t *testing.T) {
	last := -1
	for size := range 1 << 20 {
		class := Class(size)
		if class != last && class != last+1 {
			t.Fatalf("the class of %d is %d, after %d", size, class, last)
		}
		last = class
	}
	if c := Class(math.MaxInt); c >= classes || c <= last {
		t.Errorf("the class of the largest size is %d", c)
	}
	if Class(-5) != 0 {
		t.Error("a negative size has a class")
	}
	least := make(map[int]int)
	for size := 4; size < 1<<20; size++ {
		c := Class(size)
		if least[c] == 0 {
			least[c] = size
		}
		if size*4 >= least[c]*5 {
			t.Fatalf("%d and %d are in one class", least[c], size)
		}
	}
}

// What is taken by the cut is enough, hardly more, and the largest.
func TestCut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var c Census
		var sizes []int
		sum := 0
		for range 1 + rnd.IntN(200) {
			size := 1 + int(math.Exp(rnd.Float64()*15))
			sizes = append(sizes, size)
			c.Add(size)
			sum += size
		}
		want := 1 + rnd.IntN(sum)
		cut, so := c.Cut(int64(want))
		above, of := 0, 0
		for _, size := range sizes {
			switch {
			case Class(size) > cut:
				above += size
			case Class(size) == cut:
				of += size
			}
		}
		if above >= want || above+of < want || so != int64(want-above) {
			t.Fatalf("%v: to have %d the cut is %d, %d: %d above, %d of it", sizes, want, cut, so, above, of)
		}
		if got, _ := c.Cut(int64(sum + 1)); got != 0 {
			t.Fatalf("%v: to have more than there is the cut is %d", sizes, got)
		}
	}
}
