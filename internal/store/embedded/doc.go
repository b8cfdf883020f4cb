// Package embedded is a Redis that lives in this process: miniredis behind connections in memory, with a clock that runs.
//
// It is not a database: nothing of it is on disk, and what it holds is gone with the process, which is all that this project asks of
// a Redis (SQL is the truth). Nor is it fast with much data: all commands take one lock, sorted sets are sorted when they are read,
// and each tick of the clock walks all keys (3.5 ms with 10,000). docs/storage.md says from which sizes on a real Redis is the choice.
//
// Its one invariant: whatever a command does in there, the process lives. A command that panics costs the data and the connections,
// as if a Redis had crashed and been started again.
package embedded
