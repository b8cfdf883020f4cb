package tasks

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// epochKey says which Redis this is: one that was emptied or replaced has none, or
	// another.
	epochKey = "gameserverd:tasks:epoch"
	// handingKey is there while, and shortly after, one process begins to hand everything
	// over.
	handingKey = "gameserverd:tasks:handing"
	handingFor = 30 * time.Second
	// handAhead is how long before their time tasks are handed to a Redis that has lost
	// them, half of it at least.
	handAhead = time.Hour
	handSteps = 4 // steps of one look
	// handSkew is how much the clocks of two machines differ, at most.
	handSkew = time.Minute
)

// Statements, by tasks_look, which ends with the primary key: what is to be looked at next,
// and what else at the same time.
const (
	selectNext = `SELECT id, queue, run_ms, look_ms, created_ms FROM tasks WHERE state = 0 AND look_ms > ? AND look_ms <= ? ORDER BY look_ms, id LIMIT 500`
	selectSame = `SELECT id, queue, run_ms, look_ms, created_ms FROM tasks WHERE state = 0 AND look_ms = ? AND id > ? ORDER BY id LIMIT 500`
)

// handing is how far this process is that hands over what waits to a Redis that has lost
// it. It goes through the rows by their next look, which is soon after they are due.
type handing struct {
	mine  bool  // this process does it
	first bool  // it has not come to the end of what is due soon
	began int64 // what was applied later, Redis has; 0: not known
	until int64 // the last look that is handed over for now
	look  int64 // of the last row that was, or until
	id    int64 // of that row, if others of its look may be left; 0: none is
	n     int   // rows that were handed over
}

// checkEpoch hands over what waits if Redis is not the one that had it, in steps. more
// tells that there is more that is due soon.
func (t *Tasks) checkEpoch(s *reconciler) (more bool, err error) {
	client := t.o.Redis.Client()
	epoch, err := client.Get(t.ctx, epochKey).Result()
	if err == redis.Nil {
		fresh := rand.Text() + "." + strconv.FormatInt(t.o.Clock().UnixMilli(), 10)
		if _, err = client.SetNX(t.ctx, epochKey, fresh, 0).Result(); err == nil {
			epoch, err = client.Get(t.ctx, epochKey).Result()
		}
		if s.epoch == "" && epoch == fresh {
			s.epoch = "nothing was in it" // nobody has handed anything over
		}
	}
	if err != nil {
		return false, err
	}
	if s.epoch != "" && s.epoch != epoch {
		// One process does for all. Should it die meanwhile, the others find what is left as
		// they find all that waits for too long.
		mine, err := client.SetNX(t.ctx, handingKey, epoch, handingFor).Result()
		if err != nil {
			return false, err
		}
		s.handing = handing{mine: mine, first: mine, began: epochBegan(epoch)}
	}
	s.epoch = epoch
	return t.handAll(&s.handing)
}

// epochBegan is when Redis was last found empty: all that waited then was handed over
// since. 0: not known.
func epochBegan(epoch string) int64 {
	_, text, _ := strings.Cut(epoch, ".")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return ms
}

// handAll hands over what Redis has lost: some of what is due within handAhead, and then,
// as time passes, what comes to be.
func (t *Tasks) handAll(h *handing) (more bool, err error) {
	ahead := t.o.Clock().Add(handAhead).UnixMilli() + t.handGrace()
	if !h.mine || h.look == h.until && ahead-h.until < handAhead.Milliseconds()/2 {
		return false, nil
	}
	if h.look == h.until {
		h.until = ahead
	}
	for range handSteps {
		done, err := t.handStep(h)
		if err != nil {
			return false, err // the next look goes on from here
		}
		if done {
			if h.first && h.n > 0 {
				t.o.Log.Info("redis was empty: tasks were handed over anew", zap.Int("tasks", h.n))
			}
			h.first = false
			return false, nil
		}
	}
	return true, nil
}

// handStep hands over the next rows; done: there are no more until h.until.
func (t *Tasks) handStep(h *handing) (done bool, err error) {
	query, args := selectNext, []any{h.look, h.until}
	if h.id != 0 {
		query, args = selectSame, []any{h.look, h.id}
	}
	rows, err := t.o.SQL.FetchAllContext(t.ctx, query, args...)
	if err != nil {
		return false, err
	}
	list := make([]delivery, 0, len(rows))
	var d delivery
	var look, created int64
	for _, found := range rows {
		if err := found.Scan(&d.id, &d.queue, &d.runMS, &look, &created); err != nil {
			return false, err
		}
		if h.began == 0 || created <= h.began+handSkew.Milliseconds() {
			list = append(list, d)
		}
	}
	if _, err := t.carrier.deliverAll(t.ctx, list); err != nil {
		return false, err
	}
	h.n += len(list)
	switch {
	case len(rows) == lookStep:
		h.look, h.id = look, d.id
	case h.id != 0:
		h.id = 0
	default:
		h.look = h.until
		return true, nil
	}
	return false, nil
}
