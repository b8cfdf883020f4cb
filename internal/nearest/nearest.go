// Package nearest finds the known name that a mistyped one most likely meant,
// for error messages. It is not a search: it answers with one name or with none.
//
// Invariant: the answer is always one of the known names, or "" when none is
// close enough to be a help.
package nearest

import "strings"

// Name returns the member of known that is closest to word, or "" when all are
// further away than half of word's length. Distance is the number of letters
// to insert, delete, replace or swap with their neighbour, without regard to
// case. A name whose last dotted part is what was meant counts as close: its
// section was forgotten. The first of several equally close names wins. Any
// goroutine.
func Name(word string, known []string) string {
	word = strings.ToLower(word)
	best, bestDistance := "", len(word)/2+1
	for _, name := range known {
		lower := strings.ToLower(name)
		d := distance(word, lower)
		if i := strings.LastIndexAny(lower, "."); i >= 0 {
			d = min(d, distance(word, lower[i+1:])+1)
		}
		if d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// maxLen bounds the words compared: the work is their lengths' product.
const maxLen = 256

// distance is the optimal string alignment distance of a and b in bytes.
func distance(a, b string) int {
	if len(a) > maxLen || len(b) > maxLen {
		return max(len(a), len(b))
	}
	var before, last, row [maxLen + 1]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
