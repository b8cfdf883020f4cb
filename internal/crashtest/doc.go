// Package crashtest kills the built gameserverd and its database at random moments, while real clients change players'
// state, and compares what is there afterwards with what the clients were told. It has tests only.
//
// What they hold the daemon to: what was acknowledged is stored, what was refused is not, and what nobody was told of
// is there whole or not at all.
//
// Every test prints its seed; GAMESERVERD_SEED repeats it, as far as what the players do and when the kills come.
// GAMESERVERD_KILLS is the number of kills of the daemon, of all tests together.
package crashtest
