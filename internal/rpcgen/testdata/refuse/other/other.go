// Package other has types of another package with parts that cannot be sent.
package other

// Letter is sent by more than one method; its problem is told once.
type Letter struct {
	Text string
	Seal func()
}
