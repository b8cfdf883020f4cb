package conn

// streamBuffer holds received bytes until they are read. It has no memory while
// it is empty.
type streamBuffer struct {
	b   []byte
	off int // b[:off] was read
}

func (q *streamBuffer) len() int { return len(q.b) - q.off }

// bytes returns what is there; valid until the next append.
func (q *streamBuffer) bytes() []byte { return q.b[q.off:] }

// append adds a copy of p. What was read makes room for it, when there is at
// least as much of that as there is to move: so each byte is moved once or less.
func (q *streamBuffer) append(p []byte) {
	if len(q.b)+len(p) > cap(q.b) && q.off >= q.len() {
		q.b = q.b[:copy(q.b, q.bytes())]
		q.off = 0
	}
	q.b = append(q.b, p...)
}

// take removes the first n bytes, which are the caller's.
func (q *streamBuffer) take(n int) []byte {
	if q.off == 0 && n == len(q.b) && n >= cap(q.b)/2 {
		b := q.b
		q.b = nil
		return b[:n:n]
	}
	b := make([]byte, n)
	copy(b, q.bytes())
	q.drop(n)
	return b
}

// drop removes the first n bytes. A slice that bytes has returned stays as it is
// until the next append.
func (q *streamBuffer) drop(n int) {
	q.off += n
	if q.off == len(q.b) {
		q.b, q.off = nil, 0
	}
}
