// Package imports holds the table of which package may import which, as a test.
// It has no code that anything uses.
package imports
