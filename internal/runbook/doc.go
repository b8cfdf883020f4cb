// Package runbook holds a test and nothing else: every line that the daemon may
// log at Warn or above has its row in docs/operations.md, which says what to do,
// and every row there a line in the code.
package runbook
