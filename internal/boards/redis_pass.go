package boards

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// pass is one reading of all rows of SQL into the index. What is put meanwhile goes between its batches.
type pass struct {
	// immutable
	epoch  string   // in which it began
	tick   string   // when it began: names that were given later are newer than its rows
	fill   *filling // who asked for it; nil: the index lacks rows
	cancel context.CancelFunc
	began  time.Time
	rows   chan []Entry // parts of the board, each in the order of ranks; closed after the last

	// the reader's until rows is closed
	err error

	// the lane's goroutine only
	window []Entry // of a part, what is not merged yet
	merged int
}

var errUnread = errors.New("boards: not all rows were read")

// maxPart is how many rows are put in order before they go to Redis. They come in the order of uids, which there means a place far
// from the last one for each, and takes two or three times as long. At most three parts are in memory, 60 bytes a row and its name.
const maxPart = 200_000

// start begins a pass where there is reason to: a is begin's answer, gaveUp says that the queue was given up before that.
func (l *lane) start(a answer, tick string, gaveUp bool) {
	l.mu.Lock()
	if gaveUp {
		// From here on changes are queued again. What came before was committed before, so it is read.
		l.queue, l.owed, l.full = nil, 0, false
	}
	var f *filling
	if len(l.fills) > 0 {
		f, l.fills = l.fills[0], l.fills[1:]
		l.filled = true
	}
	l.mu.Unlock()
	if f == nil && (a.state == whole && !gaveUp || !l.filled) {
		return
	}
	parent, read := l.ctx, l.read
	if f != nil {
		parent, read = f.ctx, f.read
	} else {
		l.log.Info("the board's index in redis lacks rows: reading all from SQL")
	}
	ctx, cancel := context.WithCancel(parent)
	stop := context.AfterFunc(l.ctx, cancel)
	p := &pass{epoch: a.epoch, tick: tick, fill: f, began: time.Now(), rows: make(chan []Entry, 1), err: errUnread}
	p.cancel = func() {
		stop()
		cancel()
	}
	l.pass = p
	l.readers.Add(1)
	go func() {
		defer l.readers.Done()
		defer close(p.rows)
		p.err = l.readAll(ctx, p, read)
	}()
}

// readAll hands the rows to the lane. It runs on a goroutine of its own, so that SQL may take its time.
func (l *lane) readAll(ctx context.Context, p *pass, read reader) error {
	lowest := l.board.Lowest
	var part []Entry
	hand := func() error {
		slices.SortFunc(part, func(a, b Entry) int { return cmp.Compare(signed(a.Score, lowest), signed(b.Score, lowest)) })
		select {
		case p.rows <- part:
			part = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := read(ctx, func(e Entry) error {
		if part = append(part, e); len(part) == l.part {
			return hand()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return hand()
}

// merge writes a batch of the pass into the index; more is false after the last.
func (l *lane) merge(more bool) {
	p := l.pass
	batch := p.window[:min(len(p.window), maxBatch)]
	p.window = p.window[len(batch):]
	if !more && p.err != nil {
		l.unreadable(p.err)
		return
	}
	a, err := l.write(mergeScript, time.Now().Add(l.timeout), l.mergeArgs(batch, more)...)
	if err != nil || l.pass != p {
		return // it was aborted there
	}
	if a.state == broken {
		l.again() // something was lost since it began: it would end with less than all
		return
	}
	p.merged += len(batch)
	switch {
	case !more:
		l.log.Info("the board's index in redis is whole", zap.Int("rows", p.merged), zap.Duration("took", time.Since(p.began)))
		l.unread = false
		l.end(nil)
	case p.fill == nil && a.state == whole:
		l.log.Info("the board's index in redis is whole, by another process")
		l.end(nil)
	}
}

func (l *lane) mergeArgs(batch []Entry, more bool) []any {
	last := "0"
	if !more {
		last = "1"
	}
	args := append(make([]any, 0, 3+4*len(batch)), l.pass.tick, l.pass.epoch, last)
	var text []byte // of all rows, in one piece
	ends := make([]int, len(batch))
	for i, e := range batch {
		text = appendRow(text, e, signed(e.Score, l.board.Lowest), l.pass.tick)
		ends[i] = len(text)
	}
	all, start := string(text), 0
	for i, e := range batch {
		row := all[start:ends[i]]
		start = ends[i]
		args = append(args, row[cameLen+1:memberLen], signed(e.Score, l.board.Lowest), row[:memberLen], row[memberLen:])
	}
	return args
}

// unreadable is told why the rows of a pass have ended early.
func (l *lane) unreadable(err error) {
	asked := l.pass.fill != nil
	l.abort(err)
	if !asked && !l.unread && !errors.Is(err, context.Canceled) {
		l.unread = true
		l.log.Warn("the board's index in redis lacks rows, and SQL cannot be read", zap.Error(err))
	}
}

// end takes the pass away and tells who asked for it.
func (l *lane) end(err error) {
	p := l.pass
	l.pass = nil
	l.stop(p)
	if p.fill != nil {
		p.fill.done <- err
	}
}

// stop returns when the reader, which is the caller's code, has ended; ctx ends its calls to SQL.
func (l *lane) stop(p *pass) {
	p.cancel()
	l.readers.Wait()
}

// abort ends the pass early, if there is one. Its reader notices.
func (l *lane) abort(err error) {
	if l.pass != nil {
		l.end(err)
	}
}

// again ends the pass early and lets the next begin do it anew.
func (l *lane) again() {
	p := l.pass
	if p == nil {
		return
	}
	l.pass = nil
	l.stop(p)
	l.lookAt = time.Time{}
	if p.fill != nil {
		l.mu.Lock()
		l.fills = append(l.fills, p.fill)
		l.mu.Unlock()
	}
}
