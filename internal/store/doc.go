// Package store is the way to what survives the process: an SQL database, which is the truth, and a Redis, which is a cache, an
// index or a queue that can be made again from SQL. Calls are futures, or block with a context.
//
// It knows no table and no rule of the game: statements come from the packages that use it, as constants with ? for every value.
//
// Its one invariant: every call is answered exactly once and in time, whatever the database does: by the deadline that covers
// waiting for a worker and running, at once when too many calls wait already, and by Close.
package store
