package commit

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
)

// queue holds the changes that were accepted and have not ended, those of the batch under way included. The changes of one key stand
// in the order of Submit, and only the first of each of its keys makes a change ready. So a batch never has a key twice, and picking
// one costs nothing for the changes that cannot be in it yet. Guarded by Group.mu.
type queue struct {
	tails  map[uint64]*link // by key: the last change that has it
	ready  readyHeap        // changes with nothing before them, by number
	number uint64           // of the last change added
	length int              // changes
	bytes  int              // of all of them
}

// link is the place of a change in the order of one of its keys: prev is to end before it, next waits for it.
type link struct {
	key        uint64 // hash: keys that collide wait for each other for nothing, and lose nothing else
	change     *Change
	prev, next *link
}

func newQueue() queue { return queue{tails: make(map[uint64]*link)} }

// add puts c, whose links have their keys, behind all others.
func (q *queue) add(c *Change) {
	q.number++
	q.length++
	q.bytes += c.bytes
	c.number, c.ready, c.blocked = q.number, -1, 0
	for i := range c.links {
		l := &c.links[i]
		l.change = c
		if l.prev = q.tails[l.key]; l.prev != nil {
			l.prev.next = l
			c.blocked++
		}
		q.tails[l.key] = l
	}
	if c.blocked == 0 {
		heap.Push(&q.ready, c)
	}
}

// remove takes c out, wherever it stands, and so may make others ready.
func (q *queue) remove(c *Change) {
	q.length--
	q.bytes -= c.bytes
	if c.ready >= 0 {
		heap.Remove(&q.ready, c.ready)
	}
	for i := range c.links {
		l := &c.links[i]
		switch {
		case l.next != nil:
			l.next.prev = l.prev
		case l.prev != nil:
			q.tails[l.key] = l.prev
		default:
			delete(q.tails, l.key)
		}
		if l.prev != nil {
			l.prev.next = l.next
		} else if l.next != nil {
			q.unblock(l.next.change)
		}
		*l = link{} // a caller may keep a change that has ended; it must not keep its neighbours
	}
	c.links = nil
}

func (q *queue) unblock(c *Change) {
	if c.blocked--; c.blocked == 0 {
		heap.Push(&q.ready, c)
	}
}

// take appends to batch the oldest changes that are ready: at least one if there is any, then as many as have this many rows and
// bytes together. They stay in the queue until remove.
func (q *queue) take(batch []*Change, rows, bytes int) []*Change {
	for len(q.ready) > 0 {
		c := q.ready[0]
		rows -= c.rows
		bytes -= c.bytes
		if len(batch) > 0 && (rows < 0 || bytes < 0) {
			break
		}
		heap.Pop(&q.ready)
		batch = append(batch, c)
	}
	return batch
}

// readyHeap is for container/heap.
type readyHeap []*Change

func (h readyHeap) Len() int           { return len(h) }
func (h readyHeap) Less(i, j int) bool { return h[i].number < h[j].number }
func (h readyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].ready, h[j].ready = i, j
}

// Push is for container/heap.
func (h *readyHeap) Push(x any) {
	c := x.(*Change)
	c.ready = len(*h)
	*h = append(*h, c)
}

// Pop is for container/heap.
func (h *readyHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.ready = -1
	return c
}

// prepare checks a change and fills in what the queue needs of it: its size and its keys.
func (c *Change) prepare(maxRow, maxChange int) error {
	switch {
	case c.Fence > Take:
		return fmt.Errorf("commit: fence %d", c.Fence)
	case c.Home == nil || c.Done == nil:
		return fmt.Errorf("commit: a change needs Home and Done")
	case !reflect.TypeOf(c.Home).Comparable():
		return fmt.Errorf("commit: a Home of type %T, which cannot be compared", c.Home)
	case c.Fence != Take && len(c.Rows) == 0:
		return fmt.Errorf("commit: a change without rows")
	}
	c.bytes, c.rows = changeOverhead, max(1, len(c.Rows))
	c.links = c.inline[:0]
	for i := range c.Rows {
		row := &c.Rows[i]
		size, err := row.check()
		if err != nil {
			return err
		}
		if size > maxRow {
			return fmt.Errorf("commit: table %s: a row of %d bytes, %d are possible", row.Table.name, size, maxRow)
		}
		c.bytes += size
		c.links = append(c.links, link{key: keyOf(row.Table, row.Values)})
	}
	if c.bytes > maxChange {
		return fmt.Errorf("commit: a change of %d bytes, %d are possible", c.bytes, maxChange)
	}
	return c.linkKeys()
}

// linkKeys sorts the keys, so that one that is there twice is found, and adds the fence's: changes that look at the player's row
// keep their order with those that write it.
func (c *Change) linkKeys() error {
	byKey := func(a, b link) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	}
	slices.SortFunc(c.links, byKey)
	for i := 1; i < len(c.links); i++ {
		if c.links[i-1].key == c.links[i].key {
			return fmt.Errorf("commit: a change has one key of one table twice")
		}
	}
	if c.Fence != NoFence {
		fence := link{key: keyOf(players, []any{int64(c.UID)})}
		if _, there := slices.BinarySearchFunc(c.links, fence, byKey); !there {
			c.links = append(c.links, fence)
		}
	}
	return nil
}

// changeOverhead is what a change takes beside its rows: itself, two keys in the queue's map and its place in the heap.
const changeOverhead = 512

// players is the table of the fences, as far as they look at it.
var players = NewTable("players", []string{"uid"}, "version", "seen_ms")

var keySeed = maphash.MakeSeed()

// keyOf hashes a key of a table. A string and the same bytes are one key, as they are in the store.
func keyOf(t *Table, values []any) uint64 {
	var h maphash.Hash
	h.SetSeed(keySeed)
	h.WriteString(t.name)
	var number [9]byte
	for _, v := range values[:len(t.key)] {
		switch v := v.(type) {
		case int64:
			binary.LittleEndian.PutUint64(number[1:], uint64(v))
			h.Write(number[:])
		case string:
			writeLength(&h, len(v))
			h.WriteString(v)
		case []byte:
			writeLength(&h, len(v))
			h.Write(v)
		}
	}
	return h.Sum64()
}

// writeLength keeps ("ab","c") and ("a","bc") apart.
func writeLength(h *maphash.Hash, n int) {
	var length [9]byte
	length[0] = 1
	binary.LittleEndian.PutUint64(length[1:], uint64(n))
	h.Write(length[:])
}
