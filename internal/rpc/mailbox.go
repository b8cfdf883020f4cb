package rpc

import (
	"encoding/binary"
	"time"
)

// mailbox holds the messages of a session that wait for their turn, whole and
// in order, in one byte slice:
//
//	| length uint32 | arrival int64 (ns on the hub's clock) | message ... | length ...
//	^ head
type mailbox struct {
	bytes []byte
	head  int
	count int
}

const mailboxHeader = 4 + 8

// size is the number of bytes that wait, headers included.
func (b *mailbox) size() int { return len(b.bytes) - b.head }

// push appends a copy of a message that came at arrived.
func (b *mailbox) push(message []byte, arrived time.Duration) {
	if b.head > len(b.bytes)/2 {
		b.bytes = b.bytes[:copy(b.bytes, b.bytes[b.head:])]
		b.head = 0
	}
	b.bytes = binary.BigEndian.AppendUint32(b.bytes, uint32(len(message)))
	b.bytes = binary.BigEndian.AppendUint64(b.bytes, uint64(arrived))
	b.bytes = append(b.bytes, message...)
	b.count++
}

// pop takes the oldest message out. It is valid until the next push.
func (b *mailbox) pop() (message []byte, arrived time.Duration) {
	header := b.bytes[b.head:]
	n := int(binary.BigEndian.Uint32(header))
	arrived = time.Duration(binary.BigEndian.Uint64(header[4:]))
	message = header[mailboxHeader : mailboxHeader+n]
	b.head += mailboxHeader + n
	b.count--
	if b.count == 0 {
		b.bytes, b.head = b.bytes[:0], 0
	}
	return message, arrived
}

// trim drops the buffer that a burst has left large: a session that is in a room
// keeps its mailbox for hours.
func (b *mailbox) trim() {
	if b.count == 0 && cap(b.bytes) > 4096 {
		b.bytes = nil
	}
}
