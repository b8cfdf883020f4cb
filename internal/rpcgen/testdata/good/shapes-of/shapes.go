// Package shapes has types that handlers of another package send; its name is
// not its folder's.
package shapes

// Point is a place.
//
// It has two parts.
type Point struct {
	X, Y int64 // in tiles
	// Label is for people.
	// It may be empty.
	Label  string `msgpack:"label,omitempty"`
	hidden int
}

// Hidden is a method, which its copies do not have.
func (p Point) Hidden() int { return p.hidden }

// Unit is a distance.
type Unit float32
