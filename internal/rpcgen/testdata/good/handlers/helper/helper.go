// Package helper is a folder without handlers, which is no area and no problem.
package helper

// Twice is used by an area.
func Twice(n int64) int64 { return 2 * n }
