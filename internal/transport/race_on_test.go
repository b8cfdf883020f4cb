//go:build race

package transport

// raceEnabled: the race detector makes memory larger.
const raceEnabled = true
