// Package ws is the WebSocket protocol (RFC 6455) of a server as functions on
// bytes: the upgrade of an HTTP/1.1 request, the frames that a client sends, the
// frames that go to it. It reads and writes nothing, starts nothing and knows
// no clock; whoever has the bytes has the connection. Text messages and
// extensions, permessage-deflate among them, are not spoken.
//
// The invariant: cut into whatever pieces, the same bytes give the same events
// and the same error, and what is kept of a connection is at most the message
// that it is in the middle of.
package ws
