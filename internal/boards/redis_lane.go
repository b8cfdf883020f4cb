package boards

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

const (
	maxBatch  = 500 // entries of one write: some milliseconds in Redis, which does nothing else meanwhile
	firstWait = 50 * time.Millisecond
	lastWait  = 500 * time.Millisecond
)

// lane is the goroutine through which all writes of a remote go.
type lane struct {
	*remote

	// the lane's goroutine only
	number  int64 // of the last write that was sent
	lookAt  time.Time
	wait    time.Duration // after the next failure
	batch   int           // entries of one write at present
	filled  bool          // somebody has asked for all rows: before that, who will do so at the start is not forestalled
	pass    *pass         // all rows of SQL on their way into the index; nil: none is
	refused bool          // it was logged that Redis refuses
	unread  bool          // it was logged that SQL cannot be read
	readers sync.WaitGroup
}

func (l *lane) run() {
	defer close(l.done)
	l.wait, l.batch = firstWait, maxBatch
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.waitOr(timer)
		if l.step() {
			break
		}
		timer.Reset(time.Until(l.lookAt))
	}
	l.leave()
}

// waitOr returns when there is something to do, and merges a batch of rows if there is one.
func (l *lane) waitOr(timer *time.Timer) {
	if l.pass != nil && len(l.pass.window) > 0 {
		l.merge(true)
		return
	}
	var rows chan []Entry
	if l.pass != nil {
		rows = l.pass.rows
	}
	select {
	case <-l.wake:
	case <-timer.C:
	case <-l.ctx.Done():
	case part, more := <-rows:
		l.pass.window = part
		l.merge(more)
	}
}

// step does what is due. It tells whether the lane is to end.
func (l *lane) step() (end bool) {
	l.mu.Lock()
	away, closing, full := l.away, l.closing, l.full
	asked := len(l.fills) > 0 && (l.pass == nil || l.pass.fill == nil)
	l.mu.Unlock()
	if asked {
		l.again() // one that was asked for does for both
	}
	if full {
		l.again() // the rows under way may be older than what was given up
		l.answerQueue()
	}
	due := !time.Now().Before(l.lookAt)
	switch {
	case closing || l.ctx.Err() != nil:
		if !away {
			l.flush()
		}
		return true
	case away && !due:
		return false
	case asked || full || due:
		l.begin()
	}
	l.flush()
	return false
}

// leave answers everybody and takes the process out of the index.
func (l *lane) leave() {
	l.abort(errAway)
	l.mu.Lock()
	there := l.number > 0 && !l.away
	l.closing, l.away = true, true
	l.mu.Unlock()
	l.answerQueue()
	l.answerFills(errAway)
	l.readers.Wait()
	if there {
		ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
		defer cancel()
		_, _ = l.redis.ExecuteContext(ctx, "HDEL", l.keys[2], l.process) // a field that stays does no harm
	}
}

// write runs a script that writes, until `late` at most.
func (l *lane) write(script *store.Script, late time.Time, args ...any) (answer, error) {
	l.number++
	l.mu.Lock()
	known := l.known
	l.mu.Unlock()
	ctx, cancel := context.WithDeadline(l.ctx, late)
	defer cancel()
	all := append([]any{l.process, known.epoch, known.acked, l.number}, args...)
	reply, err := l.redis.ScriptContext(ctx, script, l.keys, all...)
	var a answer
	if err == nil {
		a, err = parseAnswer(reply)
	}
	if err != nil {
		l.failed(err)
		return answer{}, err
	}
	l.mu.Lock()
	l.away = false
	if a.state != broken {
		l.known.epoch, l.known.acked = a.epoch, l.number
	}
	l.mu.Unlock()
	l.wait = firstWait
	if l.refused {
		l.refused = false
		l.log.Info("redis takes the board's index again")
	}
	if a.state == broken {
		l.lookAt = time.Time{}
	}
	return a, nil
}

// adapt makes batches smaller while a slow Redis needs much of the timeout for one, so that it gets some done.
func (l *lane) adapt(took time.Duration) {
	if took > l.timeout/8 {
		l.batch = max(1, l.batch/2)
	} else if took < l.timeout/32 {
		l.batch = min(maxBatch, 2*l.batch)
	}
}

// failed is told of a write whose effect is not known.
func (l *lane) failed(err error) {
	var refusal *store.ReplyError
	if errors.As(err, &refusal) || errors.Is(err, errAnswer) {
		if !l.refused {
			l.refused = true
			l.log.Warn("redis refuses the board's index", zap.Error(err)) // that it cannot be reached is logged by its health
		}
	}
	l.mu.Lock()
	l.away = true
	l.mu.Unlock()
	l.lookAt = time.Now().Add(l.wait)
	l.wait = min(2*l.wait, lastWait)
	l.abort(forCaller(err))
	l.answerFills(forCaller(err))
	l.answerQueue()
}

func (l *lane) answerFills(err error) {
	l.mu.Lock()
	fills := l.fills
	l.fills = nil
	l.mu.Unlock()
	for _, f := range fills {
		f.done <- err
	}
}

// forCaller is err if it is for clients, else what they may know of it.
func forCaller(err error) error {
	var e *wire.Error
	if errors.As(err, &e) {
		return err
	}
	return errAway
}

// answerQueue tells all in the queue that their rank is not known.
func (l *lane) answerQueue() {
	var waiting []*future.Future[int64]
	l.mu.Lock()
	for i := range l.queue {
		c := &l.queue[i]
		if c.rank != nil {
			waiting = append(waiting, c.rank)
			c.rank = nil
			l.owed = max(l.owed, i+1)
		}
	}
	l.mu.Unlock()
	for _, rank := range waiting {
		rank.Fail(errNoRank)
	}
}

// begin looks at the index, and starts a pass if it lacks something or somebody asked for one.
func (l *lane) begin() {
	l.mu.Lock()
	full := l.full
	l.mu.Unlock()
	l.lookAt = time.Now().Add(lookEvery)
	lacks := "0"
	if full {
		lacks = "1"
	}
	a, err := l.write(beginScript, time.Now().Add(l.timeout), random(), lacks)
	if err != nil || l.pass != nil {
		return
	}
	tick, ok := "", len(a.rest) == 1
	if ok {
		tick, ok = a.rest[0].(string)
	}
	if !ok {
		l.failed(errAnswer)
		return
	}
	l.start(a, tick, full)
}

// flush sends what waits.
func (l *lane) flush() {
	for l.sendSome() {
	}
}

// sendSome sends the head of the queue. It tells whether there may be more to send.
func (l *lane) sendSome() bool {
	l.mu.Lock()
	if l.full || l.away {
		l.mu.Unlock()
		return false
	}
	batch := slices.Clone(l.queue[:min(len(l.queue), l.batch)])
	l.mu.Unlock()
	if len(batch) == 0 {
		return false
	}
	late := time.Now().Add(l.timeout)
	args := make([]any, 0, 5*len(batch))
	for _, c := range batch {
		if c.rank != nil && c.since.Add(l.timeout).Before(late) {
			late = c.since.Add(l.timeout)
		}
		kind := "rank"
		switch {
		case c.onlyName:
			kind = "name"
		case c.rank == nil:
			kind = "best"
		}
		args = append(args, uidText(c.UID), signed(c.Score, l.board.Lowest), cameText(c.Came), c.Name, kind)
	}
	began := time.Now()
	a, err := l.write(putScript, late, args...)
	l.adapt(time.Since(began))
	switch {
	case err != nil || a.state == broken:
		return false
	case len(a.rest) != len(batch):
		l.failed(errAnswer)
		return false
	}
	l.mu.Lock()
	l.queue = l.queue[len(batch):]
	l.owed = max(0, l.owed-len(batch))
	if len(l.queue) == 0 {
		l.queue = nil
	}
	l.mu.Unlock()
	for i, c := range batch {
		before, ok := a.rest[i].(int64)
		switch {
		case c.rank == nil:
		case a.state == whole && ok:
			c.rank.Resolve(before + 1)
		default:
			c.rank.Fail(errNoRank)
		}
	}
	return true
}
