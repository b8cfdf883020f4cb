// Package census finds the largest of many sizes without sorting them: count each
// with Add, ask Cut from which class on they make up enough, and go through them
// again. Sizes of one class differ by less than a quarter.
//
// It holds no sizes and no owners.
//
// Its one invariant: a larger size is never in a lower class.
package census

import "math/bits"

// Census counts sizes by class. The zero value is empty.
type Census struct {
	sums [classes]int64
}

const classes = 4 * 64

// Class returns the class of a size; of 0 and less it is 0.
func Class(size int) int {
	if size < 4 {
		return max(size, 0)
	}
	n := bits.Len(uint(size))
	return 4*(n-2) + size>>(n-3)&3
}

// Add counts one size.
func (c *Census) Add(size int) { c.sums[Class(size)] += int64(size) }

// Cut says what to take to have want of the largest: all of the classes above
// class, and of that one so much. When all there is is less than want, class is 0.
func (c *Census) Cut(want int64) (class int, so int64) {
	for class = classes - 1; class > 0; class-- {
		if want <= c.sums[class] {
			break
		}
		want -= c.sums[class]
	}
	return class, want
}
