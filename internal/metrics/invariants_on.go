//go:build invariants

package metrics

// failed stops at a mistake of who fills a batch.
func failed(problem error) { panic(problem) }
