// Package transport is what stands between the bytes of a connection and the
// protocol: the PROXY header of a load balancer, TLS, and WebSocket. A Mux sits
// between the connections of a loop (conn.Set) and the hub above them: to the
// one it is the handler, to the other the connections. What a client speaks is
// decided by the first byte that it sends; what the hub sees is always messages
// in its own framings.
//
// It opens no socket, reads no clock of its own, knows no message and no
// session, and does not say who may log in. A plain connection costs it one look
// at a number of 4 bytes for each event. TLS is crypto/tls as it is: the
// handshake runs on goroutines, so many at a time as NewShared was told, and from
// then on all happens on the loop.
//
// Its one invariant: the hub is offered each byte that the client has sent it,
// in order and once, or the connection ends with a reason; and what the hub has
// not taken, by Pause or Yield, is offered again when it asks for it.
//
// How that is kept with layers that cannot give back a byte they have taken:
// while a stack (a connection with layers) holds something that the hub must be
// offered again, it leaves its last byte with the Set, as a pledge, although it
// has read it. So the Set's own order of things holds: it offers again after
// Resume and Yield, stops while too much output waits, and tells EOF last.
package transport
