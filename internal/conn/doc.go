// Package conn has the connections of an event loop: bytes in, bytes out, and
// the reason for which each one ended.
//
// A Set holds all connections of one loop on small records without pointers
// and lends them buffers only while bytes wait. A Server accepts connections
// on several addresses and deals them out to the Sets of several loops. A
// Stream is one connection with reads that are answered later, a Dialer opens
// connections.
//
// It knows no messages and no sessions, and it holds no policy: who may stay
// connected, and what is said before a connection is closed, is decided above.
//
// Its one invariant: after Opened a connection's owner sees every byte that was
// received, in order, and then exactly one Closed, last; what was written is
// sent in the order of the writes, and a descriptor is closed exactly once.
package conn
