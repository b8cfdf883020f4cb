// Package tasks runs background jobs: work that is slow, or for later, and must
// not be lost. A task is a plain function in a folder of this package; docs/tasks.md
// shows how to write one.
//
// A durable task is a row in SQL, written in the same transaction as whatever asks
// for it. asynq, over Redis, only carries its id to a worker, and may lose it, or
// bring it twice: a worker first takes the row, by a compare-and-swap, and whoever
// does not get it does nothing. A reconciler hands over anew what Redis has lost.
// An ephemeral task has no row: it lives in Redis and is lost with it.
//
// It is no place for what must happen at an exact time, or in an order: loops have
// timers, and players have changes.
//
// Its one invariant: a durable task whose row was committed is begun until it has
// ended in a state that says how, and in no moment two workers hold its row.
package tasks
